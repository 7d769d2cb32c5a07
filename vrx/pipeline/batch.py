"""Several jobs, one after the other: their results compared before the first begins, their model loaded once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from vrx import events
from vrx.errors import Exit, StoppedError, VrxError, resource_errors
from vrx.events import Watcher, ignore
from vrx.pipeline.clashes import refuse_clashes
from vrx.pipeline.existing import open_unless_done
from vrx.pipeline.paths import find_destination
from vrx.pipeline.plan import Plan, make_plan
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.preview import run as preview
from vrx.pipeline.preview.naming import find_files
from vrx.pipeline.preview.run import PreviewResult
from vrx.pipeline.run import RestoreResult, run
from vrx.pipeline.session import Session
from vrx.settings import Job

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class Batch:
    """Jobs that may begin: no result replaces another one, or anything that any of the jobs reads.

    `stopped` is the event of the stop that ended it, if one did.  Raises UsageError where a result would
    replace something, and the error that keeps a model from being chosen.
    """

    def __init__(self, jobs: Sequence[Job], watch: Watcher) -> None:
        self.jobs, self._watch, self._pool = tuple(jobs), watch, ModelPool()
        self.stopped: events.Stopped | None = None
        results = []
        for job in self.jobs:
            source = None if job.source == "-" else Path(job.source)
            entry = self._pool.select(job.model, job.restore, job.source).entry
            files = [find_destination(job, source, entry.name)] if job.preview is None else []
            files += [] if job.preview is None else find_files(job, source, entry.name).all
            results += [(job, file) for file in files]
        refuse_clashes(results)

    def restore_all(self) -> list[RestoreResult | PreviewResult | VrxError]:
        """Restore every job; the failure of one is its result, and an event, and does not stop the others.

        What will certainly fail is reported before the first is restored.  Raises the error that all of
        several jobs share, StoppedError and KeyboardInterrupt.
        """
        results: list[RestoreResult | PreviewResult | VrxError] = []
        known = self.failures() if len(self.jobs) > 1 else {}
        for number, error in known.items():
            self._report(self.jobs[number], error)
        try:
            for number in range(len(self.jobs)):
                results.append(known[number] if number in known else self._attempt(number, self.work))
        except (KeyboardInterrupt, StoppedError) as stop:
            self._finish(results, exit_code_of(stop))
            raise
        self._finish(results, self.exit_code(results))
        return results

    def plan_all(self) -> list[Plan | VrxError]:
        """The plan of every job, or its failure, which is an event too."""
        return [self._attempt(number, self.plan) for number in range(len(self.jobs))]

    def exit_code(self, results: Sequence[object]) -> Exit:
        """That of the failure of a single job; of several, whether any failed."""
        errors = [result for result in results if isinstance(result, VrxError)]
        if not errors:
            return Exit.DONE
        return errors[0].exit_code if len(self.jobs) == 1 else Exit.BATCH

    def _attempt(self, number: int, action: Callable[[int], Result]) -> Result | VrxError:
        """The result of an action on one job, or its failure.  Raises StoppedError."""
        job = self.jobs[number]
        try:
            return action(number)
        except StoppedError:
            raise
        except VrxError as error:
            return self._report(job, error)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug that one input shows is reported as a failure of that input
            return self._report(job, as_failure(error, job))

    def _report(self, job: Job, error: VrxError) -> VrxError:
        logger.debug("%s failed", job.source, exc_info=error)
        code = int(error.exit_code)
        self._watch(events.Failed(input=job.source, message=error.message, hint=error.hint, exit_code=code))
        return error

    def _finish(self, results: Sequence[RestoreResult | PreviewResult | VrxError], code: Exit) -> None:
        failed = sum(isinstance(result, VrxError) for result in results)
        skipped = sum(not isinstance(result, VrxError) and result.skipped for result in results)
        done = len(results) - failed - skipped
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
                self._check(job)
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

    def _check(self, job: Job) -> None:
        """Open a job, as far as it is known without any work whether that will do.  Raises VrxError."""
        if job.preview is not None:
            preview.check(job, self._pool)
            return
        with resource_errors(), Session(job, ignore, self._pool) as session:
            open_unless_done(session)

    def restore(self, number: int) -> RestoreResult:
        """Run one job.  Raises VrxError; an earlier file of the result's name is then unchanged."""
        return self._run(self.jobs[number], self._restore)

    def preview(self, number: int) -> PreviewResult:
        """Make the preview that a job asks for.  Raises VrxError; earlier files of its names are then unchanged."""
        return self._run(self.jobs[number], lambda job: preview.preview(job, self._watch_stop, self._pool))

    def work(self, number: int) -> RestoreResult | PreviewResult:
        """Run one job, or make its preview.  Raises VrxError."""
        return self.restore(number) if self.jobs[number].preview is None else self.preview(number)

    def _restore(self, job: Job) -> RestoreResult:
        with resource_errors(), Session(job, self._watch_stop, self._pool) as session:
            return run(session)

    def _run(self, job: Job, action: Callable[[Job], Result]) -> Result:
        """Run one job; a stop is an event, and no model outlives a failure."""
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

    def plan(self, number: int) -> Plan:
        """What a run would do, without doing it."""
        if self.jobs[number].preview is not None:
            return preview.plan(self.jobs[number], self._watch, self._pool)
        with resource_errors(), Session(self.jobs[number], self._watch, self._pool) as session:
            session.open()
            return make_plan(session)


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
