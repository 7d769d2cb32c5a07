"""Running one job: its events, its failure as a result, and the command that the user wants run after it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from vrx import events
from vrx.batches import BatchSettings
from vrx.environment import Environment
from vrx.errors import Exit, MemoryExhaustedError, StoppedError, VrxError, resource_errors
from vrx.events import Watcher
from vrx.pipeline import on_done
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.preview import run as preview
from vrx.pipeline.preview.run import PreviewResult
from vrx.pipeline.run import RestoreResult, run
from vrx.pipeline.session import Conduct, Session
from vrx.pipeline.trace import Trace
from vrx.settings import Job

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True)
class JobResult:
    """What became of a job: its result or its failure, after how many seconds.

    `command_failed`: whether the command of --on-done did.
    """

    result: RestoreResult | PreviewResult | VrxError
    seconds: float
    command_failed: bool = False


class JobRunner:
    """Runs jobs one after the other; `stopped` is the event of the stop that ended the latest, if one did.

    `finished` is the result of the latest while its command runs, which a stop may end.
    """

    def __init__(self, watch: Watcher, pool: ModelPool, settings: BatchSettings) -> None:
        self._watch, self._pool, self._settings = watch, pool, settings
        self.trace = Trace(settings.trace)
        self.stopped: events.Stopped | None = None
        self.finished: JobResult | None = None

    def finish(self, job: Job, output: Path | None) -> JobResult:
        """Run a job, and then the user's command; a failure is its result and an event.  Raises StoppedError."""
        begin = perf_counter()
        with self.trace.span("job", input=job.source):
            result = self.attempt(job, self.work)
        self.finished = JobResult(result, perf_counter() - begin, command_failed=True)
        failed = not self.run_command(job, output, result)
        self.finished = None
        return JobResult(result, perf_counter() - begin, failed)

    def fail(self, job: Job, output: Path | None, error: VrxError) -> JobResult:
        """Report a failure that was found before a job began, and run the user's command."""
        self.report(job, error)
        return JobResult(error, 0.0, not self.run_command(job, output, error))

    def attempt(self, job: Job, action: Callable[[Job], Result]) -> Result | VrxError:
        """The result of an action on a job, or its failure.  Raises StoppedError."""
        try:
            return action(job)
        except StoppedError:
            raise
        except VrxError as error:
            return self.report(job, error)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug that one input shows is reported as a failure of that input
            return self.report(job, as_failure(error, job))

    def report(self, job: Job, error: VrxError) -> VrxError:
        """Send the event of a failure."""
        logger.debug("%s failed", job.source, exc_info=error)
        self.trace.mark(f"failed: {error.message}", input=job.source)
        code = int(error.exit_code)
        self._watch(events.Failed(input=job.source, message=error.message, hint=error.hint, exit_code=code))
        return error

    def work(self, job: Job) -> RestoreResult | PreviewResult:
        """Run a job, or make its preview.  Raises VrxError."""
        return self.restore(job) if job.preview is None else self.preview(job)

    def restore(self, job: Job) -> RestoreResult:
        """Run a job.  Raises VrxError; an earlier file of the result's name is then unchanged."""
        return self._guard(job, self._restore)

    def preview(self, job: Job) -> PreviewResult:
        """Make the preview that a job asks for.  Raises VrxError; earlier files of its names are then unchanged."""
        return self._guard(job, lambda job: preview.preview(job, self._watch_stop, self._pool))

    def _restore(self, job: Job) -> RestoreResult:
        conduct = Conduct(self._settings.deadline, self.trace)
        while True:
            try:
                with resource_errors(), Session(job, self._watch_stop, self._pool, conduct=conduct) as session:
                    return run(session)
            except MemoryExhaustedError:
                if not self._change_model(job):
                    raise

    def _change_model(self, job: Job) -> bool:
        """Choose the next model for a job and those after it; whether there is one, and all can be done again."""
        piped = job.source == "-" or job.output.path == "-"  # read once, or partly written
        if piped or not Environment.read().fallback:
            return False
        note = self._pool.exclude(job.model, job.restore, job.source)
        if note is not None:
            self._watch(events.Noted.of(job.source, note))
        return note is not None

    def _guard(self, job: Job, action: Callable[[Job], Result]) -> Result:
        """Run a job; a stop is an event, and no model outlives a failure."""
        self._watch(events.Opening(input=job.source))
        try:
            return action(job)
        except (KeyboardInterrupt, StoppedError) as stop:
            if self.stopped is None:  # before the first frame
                code = int(exit_code_of(stop))
                self._watch_stop(events.Stopped(input=job.source, done=0, frames=None, saved=0, exit_code=code))
            self._pool.drop()
            raise
        except BaseException:
            self._pool.drop()
            raise

    def _watch_stop(self, event: events.Event) -> None:
        """Pass an event on, and remember the stop."""
        if isinstance(event, events.Stopped):
            self.stopped = event
        self._watch(event)

    def run_command(self, job: Job, output: Path | None, result: RestoreResult | PreviewResult | VrxError) -> bool:
        """Run the user's command, unless a job was skipped; whether it succeeded."""
        command, error = self._settings.on_done, result if isinstance(result, VrxError) else None
        if command is None or (not isinstance(result, VrxError) and result.skipped):
            return True
        return on_done.run_command(command, job.source, on_done.describe(job, output, error), self._watch)


def as_failure(error: Exception, job: Job) -> VrxError:
    """A bug that one input of a batch shows, as a failure of that input."""
    found = VrxError(
        f"internal error with {job.source}: {type(error).__name__}: {error}", "Rerun it with --debug, and report it"
    )
    found.__cause__ = error
    return found


def exit_code_of(stop: BaseException) -> Exit:
    """The exit code of a stop: interrupted (Ctrl-C) or terminated."""
    return stop.exit_code if isinstance(stop, StoppedError) else Exit.INTERRUPTED
