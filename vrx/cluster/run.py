"""One run over all files of a batch: tasks handed out, messages taken in, failures tried again, results published."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from pathlib import Path
from queue import SimpleQueue
from time import monotonic, perf_counter, sleep

from vrx import events
from vrx.batches import Deadline
from vrx.cluster import connect
from vrx.cluster.connect import LostError
from vrx.cluster.crew import Crew, Worker, find_slow
from vrx.cluster.files import Backlog, Feeder, FeederSettings, FileRun, Task
from vrx.cluster.pieces import folder_of, piece_prefix, take_in
from vrx.cluster.record import BatchRecord
from vrx.cluster.units import Beat, FileDone, Message, Piece, SpanDone, SpanUnit, TooLong
from vrx.errors import InputError, StoppedError, UsageError, VrxError
from vrx.events import Fact, Note, Watcher
from vrx.pipeline.jobs import JobResult, JobRunner, as_failure, exit_code_of
from vrx.pipeline.paths import Destination
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.run import RestoreResult
from vrx.pipeline.spans.result import Means
from vrx.settings import Job

logger = logging.getLogger(__name__)
ATTEMPTS = 3  # of a task, each on another worker where there is one
TICK = 0.2  # seconds that the driver waits for messages
REPORT_EVERY = 0.5  # seconds between two events about all
LEAST_SHARE = 0.01  # of the work: after less, how long the rest takes is not known
WAITING = 4  # tasks for each worker that wait, at most: more would only take memory


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a run has: its jobs and where their results go, its crew and its model, and where it leaves what came of it.

    After the `deadline` no task is begun.  `on_worker` makes a job one of a worker; `ships`: files travel through the
    cluster.  `long` are the numbers of files that are known to be.
    """

    jobs: Sequence[Job]
    destinations: Sequence[Destination | None]
    outputs: Sequence[Path | None]
    crew: Crew
    deadline: Deadline
    watch: Watcher
    runner: JobRunner
    pool: ModelPool
    means: Means
    on_worker: Callable[[Job], Job]
    ships: bool
    long: Collection[int]
    results: dict[int, JobResult]
    stops: list[events.Stopped]


class Run:
    """One run over all files of a batch."""

    def __init__(self, setup: Setup, record: BatchRecord) -> None:
        self._setup, self._record = setup, record
        self._crew, self._watch, self._runner = setup.crew, setup.watch, setup.runner
        self._begin = perf_counter()
        self._frames = 0
        self._ended: SimpleQueue[tuple[FileRun, RestoreResult | VrxError]] = SimpleQueue()
        files = [FileRun(n, job, setup.destinations[n]) for n, job in enumerate(setup.jobs)]
        self._files = [file for file in files if not self._is_done(file)]
        self._backlog = Backlog(find_bound(len(self._crew.ready)))
        settings = FeederSettings(
            watch=self._watch,
            fail=lambda file, error: self._ended.put((file, error)),
            finished=lambda file, result: self._ended.put((file, result)),
            on_worker=setup.on_worker,
            ships=setup.ships,
            long=setup.long,
        )
        self._feeder = Feeder(self._files, self._backlog, setup.pool, setup.means, settings)
        self._joining: dict[Future[RestoreResult], FileRun] = {}
        self._spans_done = 0
        self._reported = 0.0

    def _is_done(self, file: FileRun) -> bool:
        """Whether an earlier run of the same batch made the result; then it stays."""
        frames = self._record.frames_of(file.number)
        if frames is None:
            return False
        path = self._setup.outputs[file.number]
        file.result = RestoreResult(path, frames, 0, 0.0)
        self._setup.results[file.number] = JobResult(file.result, 0.0)
        self._watch(
            events.Finished(
                input=file.job.source, output=str(path), frames=frames, scenes=0, seconds=0.0, resumed_frames=frames
            )
        )
        return True

    def run(self) -> None:
        """Restore all files.  Raises StoppedError and KeyboardInterrupt."""
        self._feeder.start()
        with ThreadPoolExecutor(1, "vrx joiner") as self._joiner:
            try:
                while any(file.result is None for file in self._files):
                    self._step()
                self._crew.settle()
                self._report(last=True)
            except (KeyboardInterrupt, StoppedError) as stop:
                self._crew.kill()
                self._backlog.close()
                for future in list(self._joining):  # what is being published is complete in a moment
                    self._joined(future)
                self._stop(stop)
                raise
            finally:
                self._crew.kill()
                self._backlog.close()
                self._feeder.join()
                for file in self._files:
                    file.close()

    def _step(self) -> None:
        over = self._setup.deadline.passed
        busy = sum(worker.task is not None for worker in self._crew.ready)
        self._crew.update(0 if over else count_wanted(self._files, len(self._backlog), busy))
        names = [worker.name for worker in self._crew.ready]
        for worker in [] if over else list(self._crew.idle()):
            task = self._backlog.take(worker.name, names)
            if task is not None:
                self._start(worker, task, "begun")
            elif self._feeder.idle and not len(self._backlog):
                self._double(worker)
        self._receive()
        while not self._ended.empty():
            self._end(*self._ended.get())
        for file in self._backlog.complete(self._files):
            if file not in self._joining.values():
                self._joining[self._joiner.submit(file.finish, self._record)] = file
        for future in [future for future in self._joining if future.done()]:
            self._joined(future)
        self._report()
        at_work = self._joining or any(worker.task is not None for worker in self._crew.ready)
        if over and not at_work and any(file.result is None for file in self._files):
            raise self._setup.deadline.stop()

    def _start(self, worker: Worker, task: Task, state: str) -> None:
        worker.begin(task)
        self._change(worker, task, state)

    def _change(self, worker: Worker, task: Task, state: str, reason: str = "") -> None:
        self._watch(
            events.UnitChanged(
                input=task.file.job.source,
                span=task.span,
                state=state,
                worker=worker.name,
                node=worker.node.name,
                frames=task.frames,
                reason=reason,
            )
        )

    # ------------------------------------------------------------ messages

    def _receive(self) -> None:
        """Take in what workers send."""
        by_stream = {worker.stream: worker for worker in self._crew.ready if worker.task is not None}
        for stream in connect.wait(list(by_stream), TICK):
            worker = by_stream[stream]
            if worker.task is None or worker not in self._crew.ready:
                continue  # ended by what another one sent
            try:
                message: Message = connect.next_message(stream)
            except LostError as error:
                task, worker.task = worker.task, None
                self._crew.lose(worker, str(error))
                self._retry(worker, task, VrxError(f"{worker.name} on {worker.node.name} is gone: {error}"))
                continue
            self._take(worker, worker.task, message)
        if not self._crew.ready:
            sleep(TICK)  # until one comes
        elif not by_stream:
            self._backlog.wait(TICK)

    def _take(self, worker: Worker, task: Task, message: Message) -> None:
        if isinstance(message, Beat):
            worker.done = message.done
            for note in message.notes:
                self._watch(events.Noted.of(task.file.job.source, note))
            return
        if isinstance(message, Piece):
            if not task.settled and task.file.result is None:
                with self._failures(worker, task):
                    take_in(folder_of(task), piece_prefix(worker), message)
            return
        tally, worker.task = self._crew.tallies[worker.node.name], None
        tally.seconds += monotonic() - worker.begun
        if task.settled or task.file.result is not None:
            return
        if isinstance(message, SpanDone | FileDone):
            tally.spans += 1
            tally.frames += message.frames
            with self._failures(worker, task):
                self._accept(worker, task, message)
        elif isinstance(message, TooLong):
            task.settled = True
            self._feeder.divide(task.file)
        else:
            tally.failures += 1
            self._retry(worker, task, message.error)

    def _accept(self, worker: Worker, task: Task, outcome: SpanDone | FileDone) -> None:
        if self._setup.ships:
            folder = folder_of(task)
            for name in (outcome.name,) if isinstance(outcome, SpanDone) else outcome.names:
                (folder / f"{piece_prefix(worker)}{name}").replace(folder / name)
        task.file.accept(task, outcome)
        self._frames += outcome.frames
        self._spans_done += 1
        self._change(worker, task, "done")
        for other in [other for other in self._crew.ready if other.task is task]:
            other.task = None  # a second attempt, which is not needed any more
            self._crew.dismiss(other)

    def _failures(self, worker: Worker, task: Task) -> ExitStack:
        """Errors of the body as failures of the file: its disk is the driver's own."""
        stack = ExitStack()

        def end(kind: type[BaseException] | None, error: BaseException | None, *_: object) -> bool:
            if isinstance(error, OSError | VrxError):
                failure = error if isinstance(error, VrxError) else as_failure(error, task.file.job)
                self._end(task.file, failure)
                return True
            return False

        stack.push(end)
        return stack

    def _retry(self, worker: Worker, task: Task, error: VrxError) -> None:
        """Try a task again elsewhere, or let its file fail."""
        if task.settled or task.file.result is not None:
            return
        self._change(worker, task, "failed", error.message)
        task.failures.append(worker.name)
        if any(other.task is task for other in self._crew.ready):
            return  # a second attempt is under way
        hopeless = isinstance(error, InputError | UsageError) and not isinstance(task.unit, SpanUnit)
        if hopeless or len(task.failures) >= ATTEMPTS:
            why = (
                error
                if hopeless
                else type_of(error)(f"{task.label} failed {len(task.failures)} times: {error.message}", error.hint)
            )
            self._end(task.file, why)
            return
        text = f"{task.label} is tried again elsewhere: {error.message}"
        facts: dict[str, Fact] = {"worker": worker.name, "attempt": len(task.failures) + 1}
        self._watch(events.Noted.of(task.file.job.source, Note("unit-retried", text, facts, "warning")))
        self._backlog.put_back(task)

    def _double(self, worker: Worker) -> None:
        """Begin the slowest of the last tasks a second time, where that is likely to end sooner."""
        tallies = self._crew.tallies.values()
        frames, seconds = sum(t.frames for t in tallies), sum(t.seconds for t in tallies)
        if not frames or not seconds:
            return
        task = find_slow(self._crew.ready, worker, frames / seconds, monotonic())
        if task is not None:
            self._start(worker, task, "doubled")

    # ------------------------------------------------------------ ends

    def _joined(self, future: Future[RestoreResult]) -> None:
        file = self._joining.pop(future)
        try:
            result: RestoreResult | VrxError = future.result()
        except VrxError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - reported as a failure of that input
            result = as_failure(error, file.job)
        self._end(file, result)

    def _end(self, file: FileRun, result: RestoreResult | VrxError) -> None:
        """A file has come to its end."""
        if file.result is not None:
            return
        if file.spanned is not None and isinstance(result, VrxError) and file.spanned.journal.frames:
            frames = file.spanned.journal.frames
            text = f"{frames} frames saved; rerun the same command to resume"
            self._watch(events.Noted.of(file.job.source, Note("frames-saved", text, {"frames": frames})))
        file.result = result
        for worker in [w for w in self._crew.ready if w.task is not None and w.task.file is file]:
            worker.task = None
            self._crew.dismiss(worker)
        if file.shipped:
            self._crew.forget(file.shipped)
        if file.fed or not isinstance(result, VrxError):
            file.close()
        seconds = perf_counter() - file.begin
        output = self._setup.outputs[file.number]
        if isinstance(result, VrxError):
            self._runner.report(file.job, result)
        elif not result.skipped:
            resumed = file.spanned.saved if file.spanned is not None else 0
            self._record.add(file.number, result.frames)
            if result.seconds:
                self._watch(finished(file.job, result, resumed))
        elif result.skipped and file.session is None:
            self._watch(events.Skipped(input=file.job.source, output=str(output)))
        failed = not self._runner.run_command(file.job, output, result)
        self._setup.results[file.number] = JobResult(result, seconds, failed)
        self._feeder.finish()

    def _stop(self, stop: BaseException) -> None:
        """Say what is saved of the files that were begun."""
        for file in self._files:
            if file.result is None and (file.tasks or file.spanned is not None):
                saved = file.spanned.journal.frames if file.spanned is not None else 0
                event = events.Stopped(
                    input=file.job.source,
                    done=file.done,
                    frames=file.expected or None,
                    saved=saved,
                    exit_code=int(exit_code_of(stop)),
                )
                self._setup.stops.append(event)
                self._watch(event)

    def _report(self, last: bool = False) -> None:
        """Send how far all is, and at the end what each node did."""
        now = monotonic()
        if not last and now - self._reported < REPORT_EVERY:
            return
        self._reported = now
        seconds = max(1e-9, perf_counter() - self._begin)
        at_work = sum(w.done for w in self._crew.ready if w.task is not None)
        total = sum(file.bytes for file in self._files)
        share = sum(file.bytes * self._share(file) for file in self._files) / total if total else 1.0
        self._watch(
            events.ClusterAdvanced(
                files_done=sum(file.result is not None for file in self._files),
                files=len(self._files),
                spans_done=self._spans_done,
                spans=sum(file.tasks for file in self._files),
                workers=len(self._crew.ready),
                fps=(self._frames + at_work) / seconds,
                share=share,
                seconds_left=estimate_left(seconds, share),
            )
        )
        if last:
            for node, tally in sorted(self._crew.tallies.items()):
                self._watch(events.NodeFinished(node=node, **vars(tally)))

    def _share(self, file: FileRun) -> float:
        if not file.expected or file.result is not None:
            return file.share
        running = {id(w.task): w.done for w in self._crew.ready if w.task is not None and w.task.file is file}
        return min(1.0, file.share + sum(running.values()) / file.expected)


def count_wanted(files: Sequence[FileRun], waiting: int, busy: int) -> float:
    """How many workers have something to do, with so many tasks `waiting` and `busy` workers; no limit while files
    are still to be divided.
    """
    return inf if any(file.result is None and not file.fed for file in files) else waiting + busy


def find_bound(workers: int) -> int:
    """How many tasks wait at most; a few more where there are few workers, for the heaviest to come first."""
    return WAITING * max(2, workers)


def estimate_left(seconds: float, share: float) -> float | None:
    """Seconds that the rest takes, after so many for a share of the work; None while too little is done to say."""
    return seconds * (1 - share) / share if share > LEAST_SHARE else None


def finished(job: Job, result: RestoreResult, resumed: int) -> events.Finished:
    """The event of a result that is complete."""
    return events.Finished(
        input=job.source,
        output=str(result.path),
        frames=result.frames,
        scenes=result.scenes,
        seconds=result.seconds,
        resumed_frames=resumed,
    )


def type_of(error: VrxError) -> type[VrxError]:
    """The kind of an error that others are worded with."""
    return type(error) if type(error).__init__ is VrxError.__init__ else VrxError
