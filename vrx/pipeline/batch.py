"""Several jobs: their results compared before the first begins, their model loaded once, what came of each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from vrx import events
from vrx.batches import BatchSettings
from vrx.errors import Exit, StoppedError, UsageError, VrxError, resource_errors
from vrx.events import Note, Watcher, ignore
from vrx.pipeline import paths
from vrx.pipeline.clashes import refuse_clashes
from vrx.pipeline.compare import after_run
from vrx.pipeline.existing import open_unless_done
from vrx.pipeline.jobs import JobResult, JobRunner, as_failure, exit_code_of
from vrx.pipeline.needs import planned_memory
from vrx.pipeline.paths import find_destination
from vrx.pipeline.plan import Plan, make_plan
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.preview import run as preview
from vrx.pipeline.preview.naming import find_files
from vrx.pipeline.preview.run import PreviewResult
from vrx.pipeline.run import RestoreResult
from vrx.pipeline.same_names import name_apart
from vrx.pipeline.session import Session
from vrx.pipeline.side_by_side import SideBySide, make_tasks
from vrx.settings import Job, ModelSettings, RestoreSettings

logger = logging.getLogger(__name__)


class Batch:
    """Jobs that may begin: no result replaces another one, or anything that any of the jobs reads.

    `results` by the number of the job, of those that came to an end.  Raises UsageError where a result would replace
    something, or several jobs cannot be worked on at once, and the error that keeps a model from being chosen.
    """

    def __init__(
        self, jobs: Sequence[Job], watch: Watcher, settings: BatchSettings | None = None, pool: ModelPool | None = None
    ) -> None:
        self._settings = settings or BatchSettings()
        self.jobs, self._watch, self._pool = tuple(map(self._settings.prepare, jobs)), watch, pool or ModelPool()
        self._runner = JobRunner(watch, self._pool, self._settings)
        self.results: dict[int, JobResult] = {}
        self.plan_note: Note | None = None  # about all plans together
        self._outputs: list[Path | None] = []
        self.destinations: list[paths.Destination | None] = []
        self._needs: dict[int, int | None] = {}
        self._side_by_side = SideBySide(self._settings, watch)
        for (model, restore), sources in group_sources(self.jobs).items():
            chosen = self._pool.select(model, restore, sources)
            if self._settings.jobs > 1 and chosen.device.type != "cpu":
                hint = "Add --device cpu, or remove --jobs"
                raise UsageError(f"--jobs is for processors, and {chosen.entry.name} runs on {chosen.device}", hint)
        named, renamed = name_apart(self.jobs, self._find_files)
        self.jobs, results = tuple(job for job, _ in named), []
        for job, files in named:
            self.destinations.append(files[0])
            self._outputs.append(None if files[0] is None else files[0].path)
            results += [(job, file) for file in files]
        refuse_clashes(results, self._settings.trace)
        if renamed is not None:
            watch(events.Noted.of("", renamed))

    def _find_files(self, job: Job) -> Sequence[paths.Destination | None]:
        """What a job writes; None for standard output."""
        source = None if job.source == "-" else Path(job.source)
        model = self._pool.select(job.model, job.restore, (job.source,)).entry.name
        if job.preview is not None:
            return find_files(job, source, model).all
        return [find_destination(job, source, model)]

    @property
    def records_results(self) -> bool:
        """Whether the same command, run again, leaves results alone that are complete."""
        return self.jobs[0].output.skip_existing

    @property
    def stops(self) -> list[events.Stopped]:
        """The events of the jobs that a stop of the batch ended; none for one between two jobs."""
        alone = self._runner.stopped
        return self._side_by_side.stops if alone is None else [alone]

    def restore_all(self) -> Mapping[int, JobResult]:
        """Restore every job; the failure of one is its result, and an event, and does not stop the others.

        What will certainly fail is reported before the first is restored.  Raises the error that all of
        several jobs share, StoppedError and KeyboardInterrupt, and OutputError where a trace cannot be written.
        """
        trace = self._runner.trace
        try:
            with trace.recording():
                return self._restore_all()
        finally:
            if trace.fault:
                text = f"the trace {trace.path} is incomplete: {trace.fault}"
                note = Note("trace-incomplete", text, {"path": str(trace.path)}, "warning")
                self._watch(events.Noted.of("", note))

    def _restore_all(self) -> Mapping[int, JobResult]:
        known = self.failures() if len(self.jobs) > 1 else {}
        for number, error in known.items():
            self.results[number] = self._runner.fail(self.jobs[number], self._outputs[number], error)
        numbers = [number for number in range(len(self.jobs)) if number not in known]
        try:
            if self._settings.jobs > 1 and len(numbers) > 1:
                self._run_side_by_side(numbers)
            else:
                self._run_in_turn(numbers)
        except (KeyboardInterrupt, StoppedError) as stop:
            self._finish(exit_code_of(stop))
            raise
        self._finish(self.exit_code())
        return self.results

    def _run_in_turn(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if self._settings.deadline.passed:
                raise self._settings.deadline.stop()
            try:
                self.results[number] = self._runner.finish(self.jobs[number], self._outputs[number])
            except (KeyboardInterrupt, StoppedError):
                if self._runner.finished is not None:
                    self.results[number] = self._runner.finished
                raise

    def _run_side_by_side(self, numbers: Sequence[int]) -> None:
        tasks = make_tasks(self.jobs, self._outputs, self._needs, numbers)
        self._side_by_side.run(tasks, self.results, lambda task, error: self._runner.fail(task.job, task.output, error))

    def plan_all(self) -> list[Plan | VrxError]:
        """The plan of every job, or its failure, which is an event too."""
        return [self._runner.attempt(job, self._plan) for job in self.jobs]

    def exit_code(self, plans: Sequence[object] = ()) -> Exit:
        """That of the failure of a single job; of several, whether any failed, or the command of --on-done did."""
        found = [*plans, *(done.result for done in self.results.values())]
        errors = [result for result in found if isinstance(result, VrxError)]
        if errors and len(self.jobs) == 1:
            return errors[0].exit_code
        return Exit.BATCH if errors or any(done.command_failed for done in self.results.values()) else Exit.DONE

    def _finish(self, code: Exit) -> None:
        found = [done.result for done in self.results.values()]
        failed = sum(isinstance(result, VrxError) for result in found)
        skipped = sum(not isinstance(result, VrxError) and result.skipped for result in found)
        done = len(found) - failed - skipped
        self._watch(events.BatchFinished(done=done, failed=failed, skipped=skipped, exit_code=int(code)))

    def failures(self) -> dict[int, VrxError]:
        """What is known to fail before anything is restored, by the number of its job.

        Raises the failure that all of them share: then nothing is wrong with any one of the inputs.
        """
        found: dict[int, VrxError] = {}
        for number, job in enumerate(self.jobs):
            if job.source == "-":
                continue  # it can be read only once
            try:
                self._needs[number] = self._check(job)
            except StoppedError:
                raise
            except VrxError as error:
                found[number] = error
            except Exception as error:  # noqa: BLE001 - reported as a failure of that input
                found[number] = as_failure(error, job)
        messages = {str(error) for error in found.values()}
        if len(found) == len(self.jobs) > 1 and len(messages) == 1:
            raise found[0]
        return found

    def _check(self, job: Job) -> int | None:
        """Open a job, as far as it is known without any work whether that will do.  Raises VrxError.

        Returns the bytes of memory that it takes, None where that is unknown.
        """
        if job.preview is not None:
            preview.check(job, self._pool)
            return None
        with resource_errors(), Session(job, ignore, self._pool) as session:
            return None if open_unless_done(session) else planned_memory(session)

    def check_page(self, page: Path) -> None:
        """Refuse, before any work, a page about the only job that cannot be made.  Raises UsageError, OutputError."""
        after_run.check(self.jobs, page)

    def write_page(self, page: Path, command: str) -> None:
        """The source of the only job beside its result, if that is done, as one HTML page that shows the command.

        Raises InputError and OutputError.
        """
        (done,) = self.results.values()
        if isinstance(done.result, RestoreResult) and done.result.path is not None:
            after_run.write(self.jobs[0], done.result.path, page, command, self._watch)

    def restore(self, number: int) -> RestoreResult:
        """Run one job.  Raises VrxError; an earlier file of the result's name is then unchanged."""
        return self._runner.restore(self.jobs[number])

    def preview(self, number: int) -> PreviewResult:
        """Make the preview that a job asks for.  Raises VrxError; earlier files of its names are then unchanged."""
        return self._runner.preview(self.jobs[number])

    def plan(self, number: int) -> Plan:
        """What a run would do, without doing it."""
        return self._plan(self.jobs[number])

    def _plan(self, job: Job) -> Plan:
        if job.preview is not None:
            return preview.plan(job, self._watch, self._pool)
        with resource_errors(), Session(job, self._watch, self._pool) as session:
            session.open()
            return make_plan(session)


def group_sources(jobs: Sequence[Job]) -> dict[tuple[ModelSettings, RestoreSettings], list[str]]:
    """The sources of the jobs that share the settings by which a model is selected."""
    found: dict[tuple[ModelSettings, RestoreSettings], list[str]] = {}
    for job in jobs:
        found.setdefault((job.model, job.restore), []).append(job.source)
    return found
