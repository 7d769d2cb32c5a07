"""Nodes of the cluster that was joined, and actors on them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from vrx.cluster.worker import VrxWorker
from vrx.settings import Job


@dataclass(frozen=True)
class Node:
    """A machine of the cluster: what it has for actors; memory in bytes."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory: float


@dataclass(frozen=True)
class Need:
    """What a worker takes of its node: threads of the processor, bytes of memory, and GPUs."""

    threads: int
    memory: int
    gpus: int = 0

    def places(self, node: Node) -> int:
        """How many workers a node has room for."""
        rooms = [node.cpus // self.threads, node.memory // max(1, self.memory)]
        rooms += [node.gpus // self.gpus] if self.gpus else []
        return int(min(rooms))


def plan_workers(nodes: Sequence[Node], memory: int, threads: int | None, device: str = "auto") -> Need:
    """What a worker takes: a GPU where the cluster has any; else as many threads as leave none idle in its memory.

    `memory`: bytes that a worker takes; `threads` and `device` that the user wants.
    """
    if device != "cpu" and any(node.gpus >= 1 for node in nodes):
        of = [node for node in nodes if node.gpus >= 1]
        return Need(threads or max(1, int(min(node.cpus // node.gpus for node in of))), memory, gpus=1)
    if threads is None:
        rooms = [(node.cpus, node.memory // max(1, memory)) for node in nodes]
        threads = max([1, *(int(-(-cpus // room)) for cpus, room in rooms if room >= 1)])
    return Need(threads, memory)


def find_nodes() -> list[Node]:
    """The nodes that are alive, by names that people know: where several have one name, a part of its id is added."""
    import ray

    found = []
    rows = [row for row in ray.nodes() if row["Alive"]]
    names = [host_of(row) for row in rows]
    for row, name in zip(rows, names, strict=True):
        own = row["Resources"]
        name = name if names.count(name) == 1 else f"{name}/{row['NodeID'][:4]}"
        found.append(Node(row["NodeID"], name, own.get("CPU", 0), own.get("GPU", 0), own.get("memory", 0)))
    return found


def host_of(row: dict[str, Any]) -> str:
    """What a node is called."""
    return str(row.get("NodeName") or row.get("NodeManagerHostname") or row["NodeManagerAddress"])


@dataclass(frozen=True)
class Actor:
    """A worker that was asked for: `ready` refers to its facts, `place` to the id of its node, once it runs."""

    handle: Any
    ready: Any
    place: Any

    def begin(self, unit: object, label: str) -> Any:
        """Have it work on a unit: a stream of references to messages."""
        return self.handle.work.options(name=label).remote(unit)

    def forget(self, keys: Collection[str]) -> Any:
        """Have it remove its node's copies of shipments, once it is idle: a reference."""
        return self.handle.forget.remote(tuple(keys))

    def kill(self) -> None:
        """End it, whatever it is doing."""
        import ray

        ray.kill(self.handle)


def hire(name: str, need: Need, job: Job, shared: bool, pixels: int) -> Actor:
    """Ask for a worker of a name, wherever there is room; see `VrxWorker.prepare`."""
    import ray

    made = ray.remote(VrxWorker).options(
        name=name,
        num_cpus=need.threads,
        num_gpus=need.gpus,
        memory=need.memory,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy="SPREAD",
    )
    handle = made.remote(logging.getLogger("vrx").level)
    return Actor(handle, ready=handle.prepare.remote(job, shared, pixels), place=handle.node.remote())


def wait(references: Sequence[Any], seconds: float) -> list[Any]:
    """Those references and streams that have something."""
    import ray

    if not references:
        return []
    ready, _ = ray.wait(list(references), num_returns=len(references), timeout=0)
    if not ready:
        ready, _ = ray.wait(list(references), num_returns=1, timeout=seconds)
    return list(ready)


class LostError(Exception):
    """A worker, or its node, is gone: why, in a line."""


def get(reference: Any) -> Any:
    """What a reference refers to.  Raises LostError."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        raise LostError(reason(error)) from error


def next_message(stream: Any) -> Any:
    """The next message of a stream that has one.  Raises LostError."""
    import ray

    try:
        return ray.get(next(stream))
    except StopIteration:
        raise LostError("the worker ended without an answer") from None
    except ray.exceptions.RayError as error:
        raise LostError(reason(error)) from error


def reason(error: Exception) -> str:
    """Why an actor is gone, in a line."""
    text = str(error)
    if "node" in text and ("died" in text or "dead" in text) and "terminated" in text:
        return "its node is gone"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    detail = next((line for line in lines if "exit" in line.lower() or "killed" in line.lower()), "")
    return "its process ended" + (f" ({detail[:160]})" if detail else "")
