"""Running the inputs of one command: one failure does not stop the rest, a table ends the run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vrx import api, events
from vrx.cli import output, render
from vrx.cli.progress import Look, watcher
from vrx.errors import Exit, OutputError, UsageError, VrxError
from vrx.settings import Job

if TYPE_CHECKING:
    from vrx.pipeline.batch import Batch
    from vrx.pipeline.inputs import Input
    from vrx.pipeline.plan import Plan

STYLES = ("auto", "bar", "plain", "none")
SKIPPED = "skipped: there already"
PLANNED = {
    "write": "planned: {}",
    "replace": "planned: {} (replaced)",
    "skip": SKIPPED,
    "refuse": "would be refused: {} exists",
}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a command runs and shows what it does."""

    dry_run: bool
    json: bool
    quiet: bool
    verbose: bool
    progress: str
    recursive: bool = False

    def __post_init__(self) -> None:
        if self.progress not in STYLES:
            raise UsageError(f"unknown progress style {self.progress!r}", f"Choose {', '.join(STYLES)}")
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose exclude each other", "Leave one out")


def run(words: Sequence[str], template: Job, options: RunOptions) -> None:
    """Restore every input that the words name as `template` says.

    Raises the failure of a single input; a batch with failures exits with 7.
    """
    check_working_folder()
    console = render.err_console()
    look = Look(style=options.progress, quiet=options.quiet or options.dry_run, verbose=options.verbose)
    with watcher(console, look, options.json) as watch:
        jobs = [placed(template, found) for found in expanded(words, template, options, watch)]
        check_streams(jobs, options.json)
        rows = work(api.batch(jobs, watch), options, watch)
    if len(jobs) > 1 and not options.json and not options.quiet:
        render.closing_table(console, rows)
    if any(failed(row) for row in rows):
        raise SystemExit(int(Exit.BATCH))


def check_working_folder() -> None:
    """Refuse to work in a folder that was removed: libraries end the process there.  Raises UsageError."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the current folder does not exist any more", "Change into one that does") from error


def expanded(words: Sequence[str], template: Job, options: RunOptions, watch: events.Watcher) -> Sequence[Input]:
    """The inputs of the command line; standard input where there are none and it is a pipe.

    All words that name nothing are reported before any is restored.  Raises the failure of a single one.
    """
    if not words:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no input", "Name a video, or pipe one in; see --help")
        words = ["-"]
    expansion = api.expand(words, options.recursive, template.output.path)
    for word, note in expansion.notes:
        watch(events.Noted(input=word, code="inputs-left-out", text=note))
    for word, error in expansion.problems:
        watch(failure(word, error))
        if len(expansion.problems) == 1:
            raise error
        render.error_line(error)
    if expansion.problems:
        raise SystemExit(int(Exit.INPUT))
    return expansion.inputs


def failure(source: str, error: VrxError) -> events.Failed:
    """The event of a failure."""
    return events.Failed(input=source, message=error.message, hint=error.hint, exit_code=int(error.exit_code))


def placed(template: Job, found: Input) -> Job:
    """The job of one input."""
    return api.in_subfolder(replace(template, source=found.source), found.subfolder)


def check_streams(jobs: Sequence[Job], json: bool) -> None:
    """Refuse a result on a terminal, on a closed stream, or among events.  Raises UsageError and OutputError."""
    piped = [job for job in jobs if job.output.path == "-" or (job.output.path is None and job.source == "-")]
    if not piped:
        return
    if json:
        raise UsageError(
            "--json and a result on standard output exclude each other", "Name a file with -o, or leave --json out"
        )
    if not output.takes_bytes():
        raise OutputError("cannot write standard output: it is closed", "Name a file with -o")
    if sys.stdout.isatty():
        raise UsageError("the result would go to the terminal", "Name a file with -o")


def work(batch: Batch, options: RunOptions, watch: events.Watcher) -> list[tuple[str, str]]:
    """Restore or plan every job; returns the rows of the closing table.  Raises the failure of a single one."""
    alone = len(batch.jobs) == 1
    known = {} if alone or options.dry_run else batch.failures()
    rows: dict[int, str] = {}
    for number, error in known.items():
        rows[number] = report(batch.jobs[number].source, error, watch)
    for number, job in enumerate(batch.jobs):
        if number in known:
            continue
        try:
            rows[number] = one(batch, number, options)
        except VrxError as error:
            if error.exit_code in (Exit.INTERRUPTED, Exit.TERMINATED):
                raise
            if alone:
                watch(failure(job.source, error))
                raise
            rows[number] = report(job.source, error, watch)
        except Exception as error:  # a bug is, in a batch, a failure of one input like any other
            if alone:
                raise
            rows[number] = report(job.source, api.as_failure(error, job), watch)
    return [(job.source, rows[number]) for number, job in enumerate(batch.jobs)]


def report(source: str, error: VrxError, watch: events.Watcher) -> str:
    """Say at once what failed; returns what the closing table says."""
    watch(failure(source, error))
    render.error_line(error)
    return f"failed: {error.message}"


def failed(row: tuple[str, str]) -> bool:
    """Whether a row of the closing table is that of a failure."""
    return row[1].startswith("failed: ")


def one(batch: Batch, number: int, options: RunOptions) -> str:
    """Restore or plan one input; returns what the closing table says."""
    if not options.dry_run:
        outcome = batch.restore(number)
        return SKIPPED if outcome.skipped else f"{outcome.frames} frames to {outcome.path or 'standard output'}"
    plan = batch.plan(number)
    if options.json:
        render.emit_json({"type": "plan", **plan.as_dict()})
    else:
        render.emit_table(("", ""), plan_rows(plan))
    return PLANNED[plan.action].format(plan.output)


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
    if plan.action != "write":
        rows.append(("exists", PLANNED[plan.action].format(plan.output)))
    return rows + [("note", note) for note in plan.notes]
