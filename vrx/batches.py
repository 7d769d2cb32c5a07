"""Settings of a batch: until when, what is run when an input is done, and how many are worked on at once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from vrx.errors import StoppedError, UsageError
from vrx.settings import Job

MAX_JOBS = 64


@dataclass(frozen=True)
class Deadline:
    """A moment of the clock, with its zone, at which runs stop so that they can be resumed; None for never."""

    moment: datetime | None = None

    @property
    def passed(self) -> bool:
        """Whether it is there, or over."""
        return self.moment is not None and datetime.now(self.moment.tzinfo) >= self.moment

    def stop(self) -> StoppedError:
        """The error that ends a run."""
        return StoppedError(f"stopped at {self.moment:%H:%M}")


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How jobs are run: until when, what is run when one is done or has failed (`on_done`, for the shell), how many at
    once, and on which Ray cluster: `ray` is auto, local or its address; with `ship` files travel through it.  `gpus`:
    numbers of the only ones of this machine that a local one has, () for all.  `trace` is the file of what the threads
    do.
    """

    deadline: Deadline = field(default_factory=Deadline)
    on_done: str | None = None
    jobs: int = 1
    ray: str | None = None
    ship: bool = False
    gpus: tuple[int, ...] = ()
    trace: Path | None = None

    def __post_init__(self) -> None:
        if self.trace is not None and self.jobs > 1:
            raise UsageError("--trace and --jobs are mutually exclusive", "Trace one input at a time")
        if self.trace is not None and self.ray is not None:
            raise UsageError("--trace and --ray are mutually exclusive", "Trace a run on one machine")
        if not 1 <= self.jobs <= MAX_JOBS:
            raise UsageError(f"--jobs {self.jobs} is out of range", f"Use 1 to {MAX_JOBS}")
        if self.on_done is not None and not self.on_done.strip():
            raise UsageError("--on-done is empty", "Name a command; a shell variable may be unset")
        if self.on_done is not None and os.name == "nt":
            raise UsageError("--on-done needs a POSIX shell", "Remove it, and use the exit code or --json")

    def prepare(self, job: Job) -> Job:
        """A job as it is run: until a moment, what a later run of the same command can continue.

        Results that exist are then skipped.  Raises UsageError for a job that would start over, or cannot continue.
        """
        if self.deadline.moment is None:
            return job
        if job.preview is not None:
            raise UsageError("--until is for runs that a later one resumes, and previews are not", "Remove it")
        if "-" in (job.source, job.output.path):
            raise UsageError("--until and pipes are mutually exclusive", "Name the input, and the result with -o")
        for option, value in (("--overwrite (-y)", job.output.overwrite), ("--no-resume", not job.output.resume)):
            if value:
                raise UsageError(f"--until and {option} are mutually exclusive", "Remove one of them")
        return replace(job, output=replace(job.output, skip_existing=True))
