"""Several jobs, one after the other: their results compared before the first begins, their model loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vrx.errors import StoppedError, VrxError, resource_errors
from vrx.events import Watcher, ignore
from vrx.pipeline.clashes import refuse_clashes
from vrx.pipeline.existing import open_unless_done
from vrx.pipeline.paths import find_destination
from vrx.pipeline.plan import Plan, make_plan
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.run import RestoreResult, run
from vrx.pipeline.session import Session
from vrx.settings import Job


class Batch:
    """Jobs that may begin: no result replaces another one, or anything that any of the jobs reads.

    Raises UsageError where one would, and whatever keeps the model from being chosen.
    """

    def __init__(self, jobs: Sequence[Job], watch: Watcher) -> None:
        self.jobs, self._watch, self._pool = tuple(jobs), watch, ModelPool()
        results = []
        for job in self.jobs:
            source = None if job.source == "-" else Path(job.source)
            entry = self._pool.select(job.model, job.restore, job.source).entry
            results.append((job, find_destination(job, source, entry.name)))
        refuse_clashes(results)

    def failures(self) -> dict[int, VrxError]:
        """What is known to fail before anything is restored, by the number of its job.

        Raises the failure that all of them share: then nothing is wrong with any one of the inputs.
        """
        found: dict[int, VrxError] = {}
        for number, job in enumerate(self.jobs):
            if job.source == "-":
                continue  # it can be read only once
            try:
                with resource_errors(), Session(job, ignore, self._pool) as session:
                    open_unless_done(session)
            except StoppedError:
                raise
            except VrxError as error:
                found[number] = error
            except Exception as error:  # noqa: BLE001 - of one input, and told with it
                found[number] = as_failure(error, job)
        messages = {str(error) for error in found.values()}
        if len(found) == len(self.jobs) > 1 and len(messages) == 1:
            raise found[0]
        return found

    def restore(self, number: int) -> RestoreResult:
        """Run one job.  Raises VrxError; whatever stood under the result's name then still stands."""
        try:
            with resource_errors(), Session(self.jobs[number], self._watch, self._pool) as session:
                return run(session)
        except BaseException:
            self._pool.drop()
            raise

    def plan(self, number: int) -> Plan:
        """What `restore` would do, without doing it."""
        with resource_errors(), Session(self.jobs[number], self._watch, self._pool) as session:
            session.open()
            return make_plan(session)


def as_failure(error: Exception, job: Job) -> VrxError:
    """A bug that one input of a batch brought out, as a failure of that input."""
    return VrxError(f"a fault of ours with {job.source}: {type(error).__name__}: {error}", "Run it alone with --debug")
