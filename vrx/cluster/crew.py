"""The crew: workers that were asked for, those that are ready, and what each is at.  They must all be alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import inf
from time import monotonic, perf_counter
from typing import Any

from vrx import events
from vrx.cluster import connect
from vrx.cluster.connect import Actor, LostError, Need, Node
from vrx.cluster.files import Task
from vrx.cluster.units import Facts
from vrx.errors import DeviceError, ModelError, UsageError, VrxError
from vrx.events import Note, Watcher
from vrx.pipeline.fitting import output_pixels
from vrx.settings import Job

GRACE = 60.0  # seconds that a run waits for all workers once some are ready, and for a node once all are gone
PATIENCE = 300.0  # seconds that it waits for the first worker, and for another one once all are gone
LOOK_AGAIN = 5.0  # seconds after which new nodes are looked for
MAX_LOST = 5  # workers in a row that end before they are ready
SETTLE = 10.0  # seconds that a run waits at its end for nodes to remove what was shipped
SLOW = 1.5  # times as long as a fresh attempt would take: then the last tasks are begun a second time
MIN_SECONDS = 5.0  # that a task has been worked on by then


@dataclass(eq=False)
class Worker:
    """A worker that is ready, and the `stream` of the task at hand; `done` frames of it since `begun`."""

    name: str
    node: Node
    actor: Actor
    facts: Facts
    task: Task | None = None
    stream: Any = None
    begun: float = 0.0
    done: int = 0

    def begin(self, task: Task) -> None:
        """Have it work on a task."""
        self.task, self.begun, self.done = task, monotonic(), 0
        if task.span is None:  # how long the file waited is not its time
            task.file.begin = perf_counter()
        self.stream = self.actor.begin(task.unit, task.label)


@dataclass
class Tally:
    """What the workers of a node did."""

    workers: int = 0
    spans: int = 0
    frames: int = 0
    seconds: float = 0.0
    failures: int = 0


class Crew:
    """All workers of a run.  `ready` are at work or idle; `asked` are still coming.

    Raises UsageError where nodes differ, and the error of a model that a node lacks, with the names of the nodes.
    """

    def __init__(self, need: Need, job: Job, watch: Watcher, *, shared: bool = True) -> None:
        self._need, self._job, self._watch = need, job, watch
        self._shared, self._pixels = shared, output_pixels(job.source, job.restore)  # which a node may not see
        self._numbers = count(1)
        self._looked, self._lost, self._room = 0.0, 0, 0
        self._manned = monotonic()  # when a worker was ready last
        self._forgetting: list[Any] = []  # references to what nodes are removing
        self.asked: dict[str, Actor] = {}
        self.ready: list[Worker] = []
        self.tallies: dict[str, Tally] = {}
        self.nodes: dict[str, Node] = {}
        self.first: Facts | None = None

    def gather(self, meanwhile: Iterable[bool] = ()) -> None:
        """Wait until all workers are ready that there is room for, or some after a time, and compare them.

        While none is, steps of `meanwhile` are taken, each True.  Raises DeviceError where there is no room for any,
        and VrxError.
        """
        self.look()
        if not self.asked:
            raise DeviceError(*no_room(self._need, list(self.nodes.values())))
        begin, failed, arrived, steps = monotonic(), {}, [], iter(meanwhile)
        while self.asked:
            worker, error = self._next_arrival(0.0 if next(steps, False) else 1.0)
            if worker is not None:
                arrived.append(worker)
            if error is not None:
                failed[error[0]] = error[1]
            waited = monotonic() - begin
            if waited > (GRACE if arrived else PATIENCE):
                break
        if failed:
            raise fail_together(failed)
        if not arrived:
            raise DeviceError("no worker of the cluster became ready", "See: ray status")
        self._agree(arrived)
        check_alike(arrived)
        self.first = arrived[0].facts
        for worker in arrived:
            self._welcome(worker)

    def _agree(self, workers: Sequence[Worker]) -> None:
        """Have none work in 8 bits where only some of the processors do by themselves, and the type was left open."""
        kinds = {worker.facts.means.dtype for worker in workers}
        if len(kinds) == 1 or "int8" not in kinds or self._job.model.dtype != "auto":
            return
        if any(worker.facts.means.device != "cpu" for worker in workers):
            return  # a GPU has 8 bits where its memory is too small for others
        for worker in workers:
            means = replace(worker.facts.means, dtype=worker.facts.means.network_type)
            worker.facts = replace(worker.facts, means=means)
        first = workers[0].facts.means.network_type
        self._job = replace(self._job, model=replace(self._job.model, dtype=first))  # of those that come later

    def look(self, wanted: float = inf) -> None:
        """Ask for as many workers as there is room for, up to as many as are `wanted`; new nodes get theirs."""
        self._looked = monotonic()
        self.nodes = {node.id: node for node in connect.find_nodes()}
        self._room = sum(self._need.places(node) for node in self.nodes.values())
        for _ in range(int(min(self._room, wanted)) - len(self.asked) - len(self.ready)):
            name = f"vrx worker {next(self._numbers)}"
            self.asked[name] = connect.hire(name, self._need, self._job, self._shared, self._pixels)

    def update(self, wanted: float = inf) -> None:
        """Take in workers that became ready meanwhile, and ask for more where nodes came or workers went.

        `wanted` are as many workers as have something to do; none is asked for above that.  Raises DeviceError where
        all workers are gone that there is something to do for, and none has come for a time.
        """
        if monotonic() - self._looked > LOOK_AGAIN:
            self.look(wanted)
        while True:
            worker, error = self._next_arrival(0.0)
            if worker is None and error is None:
                break
            if worker is not None and self.first is not None:
                difference = difference_of(self.first, worker.facts)
                if difference:
                    worker.actor.kill()
                    self._note("worker-refused", worker.name, worker.node.name, f"is not used: {difference}")
                else:
                    self._welcome(worker)
            if error is not None:
                self._note("worker-refused", error[0], error[0], f"is not used: {error[1].message}")
        if self.ready or not wanted:
            self._manned = monotonic()
            return
        waited = monotonic() - self._manned
        if self._lost >= MAX_LOST:
            why = f"the last {self._lost} ended before they were ready"
        elif waited <= (PATIENCE if self._room else GRACE):
            return
        else:
            why = "a node has room, but no worker came" if self._room else "no node with room for one is left"
            why += f" in {waited:.0f} seconds"
        raise DeviceError(f"all workers of the cluster are gone: {why}", "See: ray status; the same command resumes")

    def _next_arrival(self, seconds: float) -> tuple[Worker | None, tuple[str, VrxError] | None]:
        """A worker that became ready, or the node and the error of one that cannot be used."""
        by_reference = {actor.ready: name for name, actor in self.asked.items()}
        for reference in connect.wait(list(by_reference), seconds)[:1]:
            name = by_reference[reference]
            actor = self.asked.pop(name)
            try:
                facts, place = connect.get(actor.ready), connect.get(actor.place)
            except LostError as error:
                self._lost += 1
                self._note("worker-lost", name, "", f"ended before it was ready: {error}")
                return None, (name, DeviceError(f"{name}: {error}")) if self._lost >= MAX_LOST else None
            self._lost = 0
            node = self.nodes.get(place) or next(n for n in connect.find_nodes() if n.id == place)
            self.nodes[node.id] = node
            if isinstance(facts, VrxError):
                actor.kill()
                return None, (node.name, facts)
            return Worker(name, node, actor, facts), None
        return None, None

    def _welcome(self, worker: Worker) -> None:
        self.ready.append(worker)
        self.tallies.setdefault(worker.node.name, Tally()).workers += 1
        means = worker.facts.means
        self._watch(
            events.WorkerJoined(
                worker=worker.name,
                node=worker.node.name,
                pid=worker.facts.pid,
                device=means.device,
                model=means.model,
                versions=worker.facts.versions,
            )
        )

    def lose(self, worker: Worker, why: str) -> None:
        """A worker is gone; the next update asks for another one where it is wanted and there is room."""
        self.ready.remove(worker)
        self.tallies[worker.node.name].failures += 1
        self._note("worker-lost", worker.name, worker.node.name, f"is gone: {why}")
        worker.actor.kill()
        self._looked = -inf

    def dismiss(self, worker: Worker) -> None:
        """End a worker whose work is no longer wanted; the next update asks for another one as after a loss."""
        worker.actor.kill()
        self.ready.remove(worker)
        self._looked = -inf

    def forget(self, keys: Collection[str]) -> None:
        """Have shipments of those keys removed from all nodes."""
        one = {worker.node.id: worker for worker in sorted(self.ready, key=lambda worker: worker.task is None)}
        self._forgetting += [worker.actor.forget(keys) for worker in one.values()]

    def settle(self) -> None:
        """Wait a moment for what nodes are still to remove."""
        end = monotonic() + SETTLE
        while self._forgetting and monotonic() < end:
            done = connect.wait(self._forgetting, end - monotonic())
            self._forgetting = [reference for reference in self._forgetting if reference not in done]

    def kill(self) -> None:
        """End all."""
        for actor in [*self.asked.values(), *(worker.actor for worker in self.ready)]:
            actor.kill()
        self.asked, self.ready = {}, []

    def idle(self) -> Iterator[Worker]:
        """Workers without a task."""
        return (worker for worker in self.ready if worker.task is None)

    def _note(self, code: str, name: str, node: str, text: str) -> None:
        where = f"{name} on {node}" if node and node != name else name
        facts = {"worker": name, "node": node}
        note = {
            "worker-lost": lambda: Note("worker-lost", f"{where} {text}", facts, "warning"),
            "worker-refused": lambda: Note("worker-refused", f"{where} {text}", facts, "warning"),
        }
        self._watch(events.Noted.of("", note[code]()))


def find_slow(workers: Sequence[Worker], idle: Worker, fps: float, now: float) -> Task | None:
    """The task that takes longest, where the idle worker would probably end it sooner; `fps` is that of a worker."""
    slowest: tuple[float, Task] | None = None
    tasks = [worker.task for worker in workers]
    for worker in workers:
        task = worker.task
        if task is None or tasks.count(task) > 1 or idle.name in task.failures:
            continue
        spent, fresh = now - worker.begun, task.frames / fps
        left = (task.frames - worker.done) * spent / worker.done if worker.done else float("inf")
        if spent > max(MIN_SECONDS, fresh) and left > SLOW * fresh and (slowest is None or left > slowest[0]):
            slowest = left, task
    return None if slowest is None else slowest[1]


def no_room(need: Need, nodes: Sequence[Node]) -> tuple[str, str]:
    """The message and the hint where no node has room for a worker."""
    gpus = f", {need.gpus} GPU" if need.gpus else ""
    largest = max((node.memory for node in nodes), default=0)
    return (
        f"no node has room for a worker ({need.threads} CPU{gpus}, {need.memory / 1e9:.1f} GB): "
        f"of {len(nodes)} the largest has {largest / 1e9:.1f} GB",
        "See: ray status; with fewer --threads, or a smaller --scale, less is needed",
    )


def difference_of(one: Facts, other: Facts) -> str:
    """How two workers differ in what decides results, in words; empty for not at all."""
    pairs = [(name, one.versions.get(name), other.versions.get(name)) for name in one.versions | other.versions]
    for name in ("model", "checkpoint", "device", "dtype"):
        pairs.append((name, getattr(one.means, name), getattr(other.means, name)))
    if one.means.dtype == other.means.dtype:
        pairs.append(("dtype of its networks", one.means.network_type, other.means.network_type))
    return ", ".join(f"{name} {first} and {second}" for name, first, second in pairs if first != second)


def check_alike(workers: Sequence[Worker]) -> None:
    """Refuse workers whose results would differ.  Raises UsageError."""
    first = workers[0]
    for worker in workers[1:]:
        difference = difference_of(first.facts, worker.facts)
        if difference:
            raise UsageError(
                f"the nodes {first.node.name} and {worker.node.name} differ: {difference}",
                "Install the same versions on all nodes; name --model and --dtype where those differ",
            )


def fail_together(failed: dict[str, VrxError]) -> VrxError:
    """One error for all nodes that failed."""
    first = next(iter(failed.values()))
    kind: Callable[[str, str], VrxError] = ModelError if isinstance(first, ModelError) else type(first)
    return kind(f"on {', '.join(sorted(failed))}: {first.message}", first.hint)
