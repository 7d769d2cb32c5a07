"""A cluster whose workers are threads of this process: all but Ray is real, and nothing has to start."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Condition, Thread
from typing import Any

import pytest

from vrx.cluster import connect, start
from vrx.cluster.connect import Need, Node
from vrx.cluster.units import Message, Unit
from vrx.cluster.worker import VrxWorker
from vrx.settings import Job

NODES = [Node(name, name, cpus=1, gpus=0, memory=8 << 30) for name in ("a", "b")]


@dataclass(eq=False)
class Answer:
    """A reference to something that is there."""

    value: Any

    def empty(self) -> bool:
        return False


class ThreadCluster:
    """Two nodes with room for one worker each; it stands for the functions of `connect` that call Ray."""

    def __init__(self) -> None:
        self.sent = Condition()  # a message of any worker
        self.actors: list[ThreadActor] = []

    def find_nodes(self) -> list[Node]:
        return NODES

    def hire(self, name: str, need: Need, job: Job, shared: bool, pixels: int) -> ThreadActor:
        alive = [actor.place.value for actor in self.actors if actor.alive]
        made = ThreadActor(self.sent, next(node.id for node in NODES if node.id not in alive), job, shared, pixels)
        self.actors.append(made)
        return made

    def wait(self, references: Sequence[Any], seconds: float) -> list[Any]:
        def ready() -> list[Any]:
            return [reference for reference in references if not reference.empty()]

        with self.sent:
            self.sent.wait_for(lambda: not references or ready(), seconds)
            return ready()


class ThreadActor:
    """A worker that was asked for: ready at once, it works in a thread."""

    def __init__(self, sent: Condition, node: str, job: Job, shared: bool, pixels: int) -> None:
        self._sent, self._worker, self._thread = sent, VrxWorker(), Thread()
        self.alive = True
        self.ready, self.place = Answer(self._worker.prepare(job, shared, pixels)), Answer(node)

    def begin(self, unit: Unit, label: str) -> SimpleQueue[Message]:
        stream: SimpleQueue[Message] = SimpleQueue()
        self._thread = Thread(target=self._work, args=(unit, stream), name=label)
        self._thread.start()
        return stream

    def _work(self, unit: Unit, stream: SimpleQueue[Message]) -> None:
        for message in self._worker.work(unit):
            with self._sent:
                stream.put(message)
                self._sent.notify_all()

    def forget(self, keys: Collection[str]) -> Answer:
        self._worker.forget(tuple(keys))
        return Answer(None)

    def kill(self) -> None:
        """Let it finish its unit, unheard: a thread cannot be ended."""
        self.alive = False
        if self._thread.is_alive():
            self._thread.join()


def use_threads(patch: pytest.MonkeyPatch) -> None:
    """Any address leads to a new cluster of threads."""
    cluster = ThreadCluster()
    for name in ("find_nodes", "hire", "wait"):
        patch.setattr(connect, name, getattr(cluster, name))
    patch.setattr(connect, "get", lambda answer: answer.value)
    patch.setattr(connect, "next_message", lambda stream: stream.get())
    patch.setattr(start, "connect", lambda *_: nullcontext("threads"))
