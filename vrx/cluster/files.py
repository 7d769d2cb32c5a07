"""The files of a batch on a cluster: opened one after the other, divided into tasks, published when these are done."""

from __future__ import annotations

import logging
import shutil
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Condition, Thread
from time import perf_counter

from vrx import events
from vrx.cluster.record import BatchRecord
from vrx.cluster.shipping import Shipment, ship, source_size
from vrx.cluster.units import FileDone, FileUnit, SpanDone, SpanUnit, Unit
from vrx.errors import StoppedError, VrxError, resource_errors
from vrx.events import Watcher
from vrx.media.atomic import commit, make_folder
from vrx.media.partial_files import partial_folder
from vrx.media.segments import Segment
from vrx.pipeline import paths
from vrx.pipeline.existing import open_unless_done, refuse
from vrx.pipeline.jobs import as_failure
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.resume import published
from vrx.pipeline.resume.workspace import claim
from vrx.pipeline.resume.writer import SEGMENT_FRAMES
from vrx.pipeline.run import RestoreResult, report_existing
from vrx.pipeline.session import Session
from vrx.pipeline.spans.part import SpanWork
from vrx.pipeline.spans.result import Means, SpannedResult, divisible, span_marks
from vrx.settings import MAX_FRAMES, Job

logger = logging.getLogger(__name__)
LARGE = 64 << 20  # bytes; larger files are opened by the driver at once, smaller ones only if a worker finds them long


@dataclass(eq=False)
class Task:
    """A unit of a file: `weight` for the order, `frames` at most; `failures` are the workers of earlier attempts."""

    file: FileRun
    unit: Unit
    weight: float
    frames: int
    label: str
    span: int | None = None
    failures: list[str] = field(default_factory=list)
    settled: bool = False


class FileRun:
    """One job of the batch on its way to its result.

    `tasks` were made of it, and once it is `fed` no more are: both change under the backlog's condition.  `ended` of
    them are done.  `bytes` is its weight, 1 where it has no size.  `shipped` are the keys of what nodes have copies of.
    `result` is its end.
    """

    def __init__(self, number: int, job: Job, destination: paths.Destination | None) -> None:
        self.number, self.job, self.destination = number, job, destination
        self.begin = perf_counter()
        self.stack = ExitStack()
        self.session: Session | None = None
        self.spanned: SpannedResult | None = None
        self.staging: Path | None = None
        self.tasks = self.ended = self.expected = 0
        self.fed = False
        self.shipped: set[str] = set()
        self.bytes = max(1, source_size(job))
        self.result: RestoreResult | VrxError | None = None
        self._whole: FileDone | None = None  # what came of it where it was restored at once

    @property
    def done(self) -> int:
        """Frames that are finished."""
        if self.spanned is not None:
            return self.spanned.done
        return 0 if self._whole is None else self._whole.frames

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        if self.result is not None:
            return 1.0
        return min(1.0, self.done / self.expected) if self.expected else 0.0

    @property
    def complete(self) -> bool:
        """Whether every task of it is done."""
        return self.fed and self.ended == self.tasks and self.result is None

    def accept(self, task: Task, outcome: SpanDone | FileDone) -> None:
        """Take in a finished task.  Raises OutputError."""
        task.settled = True
        self.ended += 1
        if isinstance(outcome, FileDone):
            self._whole, self.expected = outcome, outcome.frames
            return
        assert self.spanned is not None
        assert isinstance(task.unit, SpanUnit)
        segment = Segment(self.spanned.folder / outcome.name, outcome.frames, outcome.begin)
        self.spanned.accept(task.unit.work.span, segment)

    def finish(self, record: BatchRecord) -> RestoreResult:
        """Publish the result of a file whose tasks are all done, and record it.  Raises OutputError."""
        if self.spanned is not None:
            return self.spanned.finish()
        assert self.destination is not None
        assert self.staging is not None
        assert self._whole is not None
        path, whole = self.destination.path, self._whole
        for name in whole.names:  # recorded first: a driver that is killed in between has made it
            record.add(self.number, whole.frames, self.staging / name)
            commit(self.staging / name, path.with_name(name), self.job.output.overwrite)
        return RestoreResult(path, whole.frames, whole.scenes, perf_counter() - self.begin)

    def close(self) -> None:
        """Release what it holds: its lock, its session; what was staged goes."""
        if self.staging is not None:
            shutil.rmtree(self.staging, ignore_errors=True)
        self.stack.close()


class Backlog:
    """Tasks that wait, the heaviest first.  Whoever adds one waits while there are `bound`."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._tasks: list[Task] = []
        self.changed = Condition()
        self.closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def put(self, task: Task, last: bool = False) -> None:
        """Add a task of a file, its only one or its `last`, once there is room.  Raises StoppedError when closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or len(self._tasks) < self.bound)
            self.check()
            task.file.tasks += 1
            task.file.fed = task.file.fed or last
            self._tasks.append(task)
            self.changed.notify_all()

    def put_back(self, task: Task) -> None:
        """Add a task again, whatever the room."""
        with self.changed:
            self._tasks.append(task)
            self.changed.notify_all()

    def end_file(self, file: FileRun) -> None:
        """No more tasks of a file are added."""
        with self.changed:
            file.fed = True
            self.changed.notify_all()

    def reopen_file(self, file: FileRun) -> None:
        """Forget the tasks of a file; others are going to be added."""
        with self.changed:
            file.tasks = file.ended = 0
            file.fed = False
            self.changed.notify_all()

    def complete(self, files: Iterable[FileRun]) -> list[FileRun]:
        """Those of the files whose every task is done, and that have not come to their end yet."""
        with self.changed:
            return [file for file in files if file.complete]

    def take(self, worker: str, workers: Collection[str]) -> Task | None:
        """The heaviest task for a worker: one that it has not failed at, or that all `workers` have.  None for none."""
        with self.changed:
            self._tasks = [task for task in self._tasks if not task.settled and task.file.result is None]
            fitting = [task for task in self._tasks if worker not in task.failures or {*workers} <= {*task.failures}]
            if not fitting:
                return None
            task = max(fitting, key=lambda task: task.weight)
            self._tasks.remove(task)
            self.changed.notify_all()
            return task

    def wait(self, seconds: float) -> None:
        """Wait for a task, for at most some seconds."""
        with self.changed:
            self.changed.wait_for(lambda: bool(self._tasks), seconds)

    def check(self) -> None:
        """Raise StoppedError when closed."""
        if self.closed:
            raise StoppedError("stopped")

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class Feeder:
    """Makes tasks of files, in a thread of its own: opens them, looks through those that are divided into spans.

    The largest files come first.  What fails here is the failure of its file, told to `fail`.
    """

    def __init__(
        self,
        files: Sequence[FileRun],
        backlog: Backlog,
        pool: ModelPool,
        means: Means,
        settings: FeederSettings,
    ) -> None:
        self._pending = deque(sorted(files, key=lambda file: -file.bytes))
        self._long: deque[FileRun] = deque()
        self._backlog, self._pool, self._means, self._settings = backlog, pool, means, settings
        self._left = len(files)
        self._thread = Thread(target=self._run, name="vrx feeder", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def divide(self, file: FileRun) -> None:
        """Restore a file in spans after all; what was staged of it goes."""
        file.close()
        file.staging, file.stack = None, ExitStack()
        self._backlog.reopen_file(file)
        with self._backlog.changed:
            self._long.append(file)
            self._backlog.changed.notify_all()

    def finish(self) -> None:
        """One file more has come to its end."""
        with self._backlog.changed:
            self._left -= 1
            self._backlog.changed.notify_all()

    @property
    def idle(self) -> bool:
        """Whether every file is divided."""
        return not self._pending and not self._long

    def _run(self) -> None:
        with suppress(StoppedError):
            while (file := self._next()) is not None:
                try:
                    with resource_errors():
                        self._feed(*file)
                except StoppedError:
                    raise
                except VrxError as error:
                    self._settings.fail(file[0], error)
                except Exception as error:  # noqa: BLE001 - reported as a failure of that input
                    self._settings.fail(file[0], as_failure(error, file[0].job))

    def _next(self) -> tuple[FileRun, bool] | None:
        """The next file, and whether it is known to be long."""
        condition = self._backlog.changed
        with condition:
            condition.wait_for(lambda: self._backlog.closed or self._pending or self._long or self._left <= 0)
            self._backlog.check()
            if self._long:
                return self._long.popleft(), True
            return (self._pop(), False) if self._pending else None

    def _pop(self) -> FileRun:
        """The largest file that is left; while few tasks wait, one that takes no first pass, if there is any."""
        largest = self._pending[0]
        if len(self._backlog) < self._backlog.bound // 2:
            largest = next((file for file in self._pending if file.number not in self._settings.long), largest)
        self._pending.remove(largest)
        return largest

    def _feed(self, file: FileRun, long: bool) -> None:
        file.begin = perf_counter() if not long else file.begin
        destination = file.destination
        assert destination is not None
        published_before = published.find(destination.path) is not None
        long = long or file.number in self._settings.long
        if not long and not destination.sequence and file.bytes <= LARGE and not published_before:
            if file.job.output.skip_existing and destination.existing():
                self._settings.finished(file, RestoreResult(destination.path, 0, 0, 0.0, skipped=True))
                return
            if not file.job.output.overwrite:
                refuse(destination)
            self._feed_whole(file, SEGMENT_FRAMES)
        else:
            self._open(file)

    def _open(self, file: FileRun) -> None:
        """Open a file here, and make tasks of its spans; of all of it where it cannot be divided."""
        session = file.stack.enter_context(Session(file.job, self._settings.watch, self._pool))
        existing = open_unless_done(session, lambda opened: span_marks(opened, self._means))
        if existing is not None:
            self._settings.finished(file, report_existing(session, existing))
            return
        if not divisible(session, SEGMENT_FRAMES):
            session.close_source()
            self._feed_whole(file, MAX_FRAMES)
            return
        file.session = session
        file.spanned = file.stack.enter_context(SpannedResult(session, self._means))
        file.expected = session.frames or 0
        self._settings.watch(started(file, session, self._means))
        shipments = self._ship(file, self._settings.on_worker(file.job))
        for work in file.spanned.works(lambda: self._check(file)):
            self._backlog.put(self._span_task(file, work, shipments))
        assert file.spanned.found is not None
        file.expected = file.spanned.found.frames
        self._backlog.end_file(file)

    def _ship(self, file: FileRun, job: Job) -> tuple[Shipment, ...]:
        """What a job of a file reads, where files travel."""
        shipments = ship(job, file.number) if self._settings.ships else ()
        file.shipped |= {shipment.key for shipment in shipments}
        return shipments

    def _check(self, file: FileRun) -> None:
        """Look through no file that has failed meanwhile."""
        self._backlog.check()
        if file.result is not None:
            raise VrxError(f"{file.job.source} has failed")

    def _span_task(self, file: FileRun, work: SpanWork, shipments: tuple[Shipment, ...]) -> Task:
        assert file.spanned is not None
        job = self._settings.on_worker(work.job)
        work = replace(work, job=job, target=replace(work.target, threads=job.model.threads))
        folder = file.spanned.folder.absolute()
        unit = SpanUnit(work=work, folder=folder, shipments=shipments, returns=self._settings.ships)
        weight = file.bytes * work.span.frames / max(file.expected, work.span.frames)
        number = work.span.number
        return Task(file, unit, weight, work.span.frames, f"{Path(file.job.source).name} span {number + 1}", number)

    def _feed_whole(self, file: FileRun, limit: int) -> None:
        """Make one task of a file; its result is staged beside where it goes."""
        assert file.destination is not None
        path = file.destination.path
        if file.staging is None:
            paths.make_folder(file.destination)
            file.stack.enter_context(claim(path))
            file.staging = partial_folder(path)
            make_folder(file.staging)
        output = replace(
            file.job.output,
            path=str((file.staging / path.name).absolute()),
            overwrite=True,
            skip_existing=False,
            resume=False,
        )
        job = self._settings.on_worker(replace(file.job, output=output, model=self._means.settings(file.job.model)))
        shipments = self._ship(file, job)
        unit = FileUnit(job=job, limit=limit, shipments=shipments, returns=self._settings.ships)
        self._backlog.put(
            Task(file, unit, file.bytes, min(limit, SEGMENT_FRAMES), Path(file.job.source).name), last=True
        )


@dataclass(frozen=True, kw_only=True)
class FeederSettings:
    """How a feeder tells what it finds; `ships`: whether files travel; `on_worker` makes a job that of a worker.

    `long` are the numbers of files that are known to be.
    """

    watch: Watcher
    fail: Callable[[FileRun, VrxError], None]
    finished: Callable[[FileRun, RestoreResult], None]
    on_worker: Callable[[Job], Job]
    ships: bool = False
    long: Collection[int] = ()


def started(file: FileRun, session: Session, means: Means) -> events.Started:
    """The event of a file whose spans are about to be restored."""
    assert file.spanned is not None
    return events.Started(
        input=file.job.source,
        output=str(session.output),
        frames=session.frames,
        source_size=session.reader.size,
        target_size=session.target.size,
        model=means.model,
        device=means.device,
        dtype=means.dtype,
        resumed_frames=file.spanned.saved,
    )
