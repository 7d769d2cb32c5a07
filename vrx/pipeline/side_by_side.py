"""Jobs side by side, each in a process of its own, as far as memory reaches.

Processes and not threads: torch's threads, its random numbers and the signals of encoders belong to a process, and
what ends one (a crash, the system's killing when memory runs out) is the failure of one job.  A worker takes one job
after the other, so that it loads its model once.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch

from vrx import events
from vrx.batches import BatchSettings
from vrx.environment import environment_with, set_environment
from vrx.errors import DeviceError, StoppedError, VrxError
from vrx.events import Note, Watcher
from vrx.files import format_bytes
from vrx.pipeline.jobs import JobResult, JobRunner, exit_code_of
from vrx.pipeline.memory import BASE_MEMORY, unswapped_memory
from vrx.pipeline.pool import ModelPool
from vrx.settings import Job

LOOK_AGAIN = 2.0  # seconds after which waiting jobs look for memory again
STOP_SECONDS = 8.0  # that workers have to stop; each waits at most 3 s for a step under way
NEVER = float("inf")


@dataclass(frozen=True)
class Task:
    """A job for a worker: where its result goes, and the bytes of memory it takes."""

    number: int
    job: Job
    output: Path | None
    memory: int


def process_context() -> ForkServerContext | SpawnContext:
    """How processes begin: anew, or, on Linux, as forks of one that has imported all but started no thread.

    A fork of this process would inherit locks of torch's threads; what torch loads on macOS does not survive any fork.
    """
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class Worker:
    """A process that runs jobs, one at a time: `task` is the one at hand."""

    def __init__(self, settings: BatchSettings) -> None:
        context = process_context()
        self.connection, theirs = context.Pipe()
        level = logging.getLogger("vrx").level
        given = (theirs, settings, level, environment_with({}))  # forks have that of the first one's start
        self.process: BaseProcess = context.Process(target=serve, args=given, name="vrx worker")
        self.process.start()
        theirs.close()
        self.task: Task | None = None

    def begin(self, task: Task) -> None:
        """Give it a job."""
        self.task = task
        self.connection.send((task.job, task.output))

    def end(self, seconds: float) -> None:
        """Wait for its end, and kill it after a time."""
        self.connection.close()
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def serve(connection: Connection, settings: BatchSettings, level: int, environment: Mapping[str, str]) -> None:
    """Run the jobs that come through a connection, in a process of its own; events and results go back.

    The terminal's Ctrl-C reaches all processes of a command: the first one alone acts on it, and ends this by SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop_once)
    set_environment(environment)
    if level:
        logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
        logging.getLogger("vrx").setLevel(level)
    runner = JobRunner(connection.send, ModelPool(), settings)
    try:
        while True:
            job, output = connection.recv()
            connection.send(runner.finish(job, output))
    except (EOFError, StoppedError, BrokenPipeError, ConnectionResetError):
        # nothing more to do; the event of the stop is sent; or the process that started this one is gone
        if runner.finished is not None:
            with suppress(OSError):
                connection.send(runner.finished)


def stop_once(number: int, frame: FrameType | None) -> NoReturn:
    """End the job at hand; further signals do not disturb that."""
    signal.signal(number, signal.SIG_IGN)
    raise StoppedError("interrupted")


class SideBySide:
    """Runs jobs in several processes; `stops` are the events of the stops that ended some of them."""

    def __init__(self, settings: BatchSettings, watch: Watcher, spare: Callable[[], float] = unswapped_memory) -> None:
        self._settings, self._watch, self._spare = settings, watch, spare
        self._workers: list[Worker] = []
        self._announced: set[int] = set()
        self._code: int | None = None
        self.stops: list[events.Stopped] = []

    def run(
        self, tasks: Sequence[Task], results: dict[int, JobResult], fail: Callable[[Task, VrxError], JobResult]
    ) -> None:
        """Run tasks; results come by number as they come.  Raises StoppedError and KeyboardInterrupt.

        `fail` makes the result of a task whose worker ended.
        """
        count = min(self._settings.jobs, len(tasks))
        waiting = [divide_threads(task, count) for task in tasks]
        budget = self._spare()
        try:
            while waiting or self._busy():
                if waiting and self._settings.deadline.passed:
                    waiting.clear()
                self._begin(waiting, count, budget)
                self._receive(results, fail, LOOK_AGAIN if waiting else None)
            if self._settings.deadline.passed and len(results) < len(tasks):
                raise self._settings.deadline.stop()
        except (KeyboardInterrupt, StoppedError) as stop:
            self._stop(stop, results)
            raise
        finally:
            for worker in self._workers:
                if worker.task is not None:
                    worker.process.kill()
                worker.end(STOP_SECONDS)

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.task is not None]

    def _begin(self, waiting: list[Task], count: int, budget: float) -> None:
        """Begin as many jobs as there are workers for, and memory; one always begins."""
        for task in list(waiting):
            busy = self._busy()
            if len(busy) >= count:
                return
            taken = sum(worker.task.memory for worker in busy if worker.task is not None)
            if busy and task.memory > min(budget - taken, self._spare()):
                self._announce_wait(task, busy)
                continue
            idle = [worker for worker in self._workers if worker.task is None]
            worker = idle[0] if idle else Worker(self._settings)
            if not idle:
                self._workers.append(worker)
            worker.begin(task)
            waiting.remove(task)

    def _announce_wait(self, task: Task, busy: Sequence[Worker]) -> None:
        """Say once of a job that it waits."""
        if task.number in self._announced:
            return
        self._announced.add(task.number)
        names = ", ".join(worker.task.job.source for worker in busy if worker.task is not None)
        text = f"{task.job.source}: waits for memory ({format_bytes(task.memory)}) that {names} may need"
        note = Note("waiting-for-memory", text, {"bytes": task.memory})
        self._watch(events.Noted.of(task.job.source, note))

    def _receive(
        self,
        results: dict[int, JobResult],
        fail: Callable[[Task, VrxError], JobResult],
        seconds: float | None,
    ) -> None:
        """Take in what workers send, for at most some seconds."""
        by_connection = {worker.connection: worker for worker in self._busy()}
        for connection in wait(list(by_connection), seconds):
            worker = by_connection[connection]  # type: ignore[index]
            task = worker.task
            assert task is not None
            try:
                message = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                self._workers.remove(worker)
                worker.end(STOP_SECONDS)
                if task.job.source not in {stop.input for stop in self.stops}:
                    results[task.number] = fail(task, death_of(worker.process.exitcode, task.job))
                continue
            if isinstance(message, JobResult):
                worker.task, results[task.number] = None, message
            else:
                self._pass_on(message)

    def _pass_on(self, event: events.Event) -> None:
        if isinstance(event, events.Stopped):
            event = event if self._code is None else replace(event, exit_code=self._code)
            self.stops.append(event)
        self._watch(event)

    def _stop(self, stop: BaseException, results: dict[int, JobResult]) -> None:
        """Stop every worker as one process is stopped, and pass on what they say at their end."""
        self._code = int(exit_code_of(stop))
        for worker in self._busy():
            worker.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while (busy := self._busy()) and time.monotonic() < deadline:
            self._drain(busy, deadline - time.monotonic(), results)

    def _drain(self, busy: Iterable[Worker], seconds: float, results: dict[int, JobResult]) -> None:
        by_connection = {worker.connection: worker for worker in busy}
        for connection in wait(list(by_connection), seconds):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                worker.task = None
                continue
            if not isinstance(message, JobResult):
                self._pass_on(message)
            elif worker.task is not None:
                results[worker.task.number] = message


def divide_threads(task: Task, count: int) -> Task:
    """A task that takes its share of the processor's threads, unless the user says how many."""
    if task.job.model.threads is not None:
        return task
    threads = max(1, torch.get_num_threads() // count)
    return replace(task, job=replace(task.job, model=replace(task.job.model, threads=threads)))


def death_of(status: int | None, job: Job) -> VrxError:
    """The failure of a job whose process ended by itself."""
    if status is not None and -status == signal.SIGKILL:
        return DeviceError(
            f"the process for {job.source} was killed, as the system does when memory runs out", "Use fewer --jobs"
        )
    return VrxError(f"internal error with {job.source}: its process ended with status {status}", "Rerun it alone")


def make_tasks(
    jobs: Sequence[Job], outputs: Sequence[Path | None], needs: Mapping[int, int | None], numbers: Iterable[int]
) -> list[Task]:
    """The tasks of some jobs by their numbers; `needs` are bytes of memory, by number."""
    return [Task(number, jobs[number], outputs[number], needs.get(number) or BASE_MEMORY) for number in numbers]
