"""Running the inputs of one command: one failure does not stop the rest, a table ends the run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vrx import api, events
from vrx.cli import render
from vrx.cli.progress import Look, watcher
from vrx.errors import Exit, UsageError, VrxError
from vrx.settings import Job

if TYPE_CHECKING:
    from vrx.pipeline.plan import Plan

STYLES = ("auto", "bar", "plain", "none")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of the Run panel."""

    dry_run: bool
    json: bool
    quiet: bool
    verbose: bool
    progress: str

    def __post_init__(self) -> None:
        if self.progress not in STYLES:
            raise UsageError(f"unknown progress style {self.progress!r}", f"Choose {', '.join(STYLES)}")
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose cannot both be", "Leave one out")


def given(inputs: list[str] | None) -> list[str]:
    """The inputs of the command line; standard input where there are none and it is a pipe."""
    if inputs:
        return api.expand(inputs)
    if sys.stdin is not None and not sys.stdin.isatty():
        return ["-"]
    raise UsageError("no input", "Name a video, or pipe one in; see --help")


def to_pipe(job: Job) -> Job:
    """Without -o, what came through a pipe leaves through one; a terminal is no place for it."""
    if job.source == "-" and job.output.path in (None, "-") and sys.stdout.isatty():
        raise UsageError("the result would go to the terminal", "Name a file with -o")
    return job


def run(inputs: list[str] | None, make: Callable[[str], Job], options: RunOptions) -> None:
    """Restore every input.  Raises the failure of a single one; a batch with failures exits with 7."""
    console = render.err_console()
    sources = given(inputs)
    jobs = [to_pipe(make(source)) for source in sources]
    check_names(jobs)
    rows: list[tuple[str, str]] = []
    failed = False
    look = Look(style=options.progress, quiet=options.quiet or options.dry_run, verbose=options.verbose)
    with watcher(console, look, options.json) as watch:
        for job in jobs:
            try:
                rows.append((job.source, guarded(job, watch, options, alone=len(jobs) == 1)))
            except VrxError as error:
                if error.exit_code in (Exit.INTERRUPTED, Exit.TERMINATED):
                    raise
                watch(
                    events.Failed(
                        input=job.source, message=error.message, hint=error.hint, exit_code=int(error.exit_code)
                    )
                )
                if len(jobs) == 1:
                    raise
                failed = True
                render.error_line(error)
                rows.append((job.source, f"failed: {error.message}"))
    if len(jobs) > 1 and not options.json and not options.quiet:
        render.closing_table(console, rows)
    if failed:
        raise SystemExit(int(Exit.BATCH))


def guarded(job: Job, watch: events.Watcher, options: RunOptions, alone: bool) -> str:
    """As `one`; in a batch our own faults are failures of one input like any other."""
    try:
        return one(job, watch, options)
    except VrxError:
        raise
    except Exception as error:
        if alone:
            raise
        raise VrxError(f"a fault of ours with {job.source}: {type(error).__name__}: {error}") from error


def one(job: Job, watch: events.Watcher, options: RunOptions) -> str:
    """Restore or plan one input; returns what the closing table says."""
    if not options.dry_run:
        outcome = api.restore(job, watch)
        return f"{outcome.frames} frames to {outcome.output or 'standard output'}"
    plan = api.plan(job, watch)
    if options.json:
        render.emit_json({"type": "plan", **plan.as_dict()})
    else:
        render.emit_table(("", ""), plan_rows(plan))
    return f"planned: {plan.output}"


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """A plan for people."""
    rows = [
        ("input", plan.source),
        ("output", plan.output),
        ("model", f"{plan.model} ({plan.checkpoint})"),
        ("runs on", f"{plan.device}, {plan.dtype}"),
        ("frames", str(plan.frames or "unknown")),
        ("size", "{}x{} to {}x{}".format(*plan.source_size, *plan.target_size)),
        ("encoder", f"{plan.encoder}, {plan.pix_fmt}, {plan.container}"),
        ("scenes", plan.scenes),
        ("chunk", f"{plan.chunk} frames"),
        ("memory", f"about {render.size(plan.memory)}" if plan.memory else "unknown"),
    ]
    if plan.seconds is not None:
        rows.append(("time", f"about {plan.seconds:.0f} s"))
    return rows + [("note", note) for note in plan.notes]


def check_names(jobs: list[Job]) -> None:
    """Refuse a batch whose results would share one file."""
    path = jobs[0].output.path
    if len(jobs) < 2 or path is None or path.endswith("/") or Path(path).is_dir() or "{stem}" in path:
        return
    raise UsageError(f"{len(jobs)} inputs cannot share the output {path}", "Name a folder, or use {stem}")
