"""Runs the inputs of a restoring command, or shows what a run would do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vrx import api, events
from vrx.batches import BatchSettings
from vrx.cli import closing, lines, output, render
from vrx.cli.closing import Row
from vrx.cli.progress import ProgressOptions, watcher
from vrx.cli.run_options import ProgressStyle
from vrx.errors import Exit, FailedInputsError, OutputError, StoppedError, UsageError, VrxError
from vrx.files import format_bytes
from vrx.settings import Job

if TYPE_CHECKING:
    from vrx.pipeline.batch import Batch
    from vrx.pipeline.inputs import Input
    from vrx.pipeline.plan import Plan

PLANNED = {
    "write": ("planned", "{}"),
    "replace": ("planned", "{} (replaced)"),
    "skip": ("skipped", "exists"),
    "refuse": ("refused", "{} exists; without -y or -n"),
}


@dataclass(frozen=True)
class Page:
    """A page about a run: its file, and the command that it shows."""

    path: Path
    command: str


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a command runs and what it shows.

    `needs_rate`: whether it has a rate that some input must be of; `written`: files that it writes besides results.
    """

    dry_run: bool
    json: bool
    quiet: bool
    verbose: bool
    progress: ProgressStyle
    recursive: bool = False
    sequence: bool = False
    needs_rate: bool = False
    page: Page | None = None
    written: tuple[Path, ...] = ()
    batch: BatchSettings = field(default_factory=BatchSettings)

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose are mutually exclusive", "Remove one of them")

    @property
    def side_by_side(self) -> bool:
        """Whether several inputs are worked on at once."""
        return self.batch.jobs > 1 or self.batch.ray is not None


def run(words: Sequence[str], template: Job, options: RunOptions) -> None:
    """Restore every input that the words name with the settings of `template`.

    Failures of inputs are shown as they happen, then the process exits: with the code of a single input,
    with 7 for several.
    """
    check_working_folder()
    console = render.err_console()
    quiet = options.quiet or options.dry_run
    shown = ProgressOptions(
        style=options.progress,
        quiet=quiet,
        verbose=options.verbose,
        opening=words[0] if words else "-",
        side_by_side=options.side_by_side,
    )
    with watcher(console, shown, options.json) as watch:
        jobs = api.make_jobs(template, expand(words, template, options, watch), options.needs_rate)
        check_streams(jobs, options)
        batch = api.batch(jobs, planning(watch) if options.dry_run and not options.json else watch, options.batch)
        if options.page is not None:
            batch.check_page(options.page.path)
        shows = len(jobs) > 1 and not options.json and not options.quiet
        error: StoppedError | None = None
        try:
            rows, status = plan(batch, options.json) if options.dry_run else restore(batch)
        except (KeyboardInterrupt, StoppedError) as stop:
            error, rows = interruption(stop, batch), closing.rows_of(batch)
        else:
            if options.page is not None and not options.dry_run and not status:
                batch.write_page(options.page.path, options.page.command)
    if shows:
        closing.show_table(console, rows)
    if error:
        raise error
    if status:
        raise SystemExit(status)


def restore(batch: Batch) -> tuple[list[Row], int]:
    """Restore all jobs; returns the rows of the closing table and the exit code."""
    batch.restore_all()
    return closing.rows_of(batch), int(batch.exit_code())


def plan(batch: Batch, json: bool) -> tuple[list[Row], int]:
    """Show the plans of all jobs; returns as `restore` does."""
    rows = []
    plans = batch.plan_all()
    for job, found in zip(batch.jobs, plans, strict=True):
        if isinstance(found, VrxError):
            rows.append(Row(job.source, "failed", found.message))
            continue
        state, detail = PLANNED[found.action]
        rows.append(Row(job.source, state, detail.format(found.output)))
        if json:
            render.emit_json({"type": "plan", **found.as_dict()})
        else:
            render.emit_table(("", ""), plan_rows(found))
    note = batch.plan_note
    if note is not None and json:
        render.emit_json({"type": "note", **asdict(events.Noted.of("", note))})
    elif note is not None:
        render.emit_table(("", ""), [("cluster", note.text)])
    return rows, int(batch.exit_code(plans))


def planning(watch: events.Watcher) -> events.Watcher:
    """A watcher without the notes of inputs: their plans show them."""

    def pass_on(event: events.Event) -> None:
        if not (isinstance(event, events.Noted) and event.input):
            watch(event)

    return pass_on


def check_working_folder() -> None:
    """Refuse to work in a folder that was removed: libraries end the process there.  Raises UsageError."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the current folder does not exist any more", "Change to one that does") from error


def expand(words: Sequence[str], template: Job, options: RunOptions, watch: events.Watcher) -> Sequence[Input]:
    """The inputs of the command line; standard input if none is named and it is a pipe.

    Raises UsageError, and the failures of all words that name nothing, before any input is restored.
    """
    if not words:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no input", "Name a video, or pipe one in; see --help")
        words = ["-"]
    expansion = api.expand(words, options.recursive, options.sequence, template, options.written)
    for word, note in expansion.notes:
        if options.dry_run and not options.quiet and not options.json:  # whose watcher shows warnings only
            render.note_line(note.text)
        else:
            watch(events.Noted.of(word, note))
    if expansion.problems:
        raise FailedInputsError(expansion.problems, Exit.INPUT)
    return expansion.inputs


def check_streams(jobs: Sequence[Job], options: RunOptions) -> None:
    """Refuse a result on a terminal, on a closed stream, or among events, and pipes that a later run would continue.

    Raises UsageError and OutputError.
    """
    piped = [job for job in jobs if job.output.path == "-" or (job.output.path is None and job.source == "-")]
    piped = [job for job in piped if job.preview is None]
    reads = any(job.source == "-" for job in jobs)
    if options.batch.jobs > 1 and len(jobs) > 1 and reads:
        raise UsageError("--jobs and standard input are mutually exclusive", "Save it to a file, or remove --jobs")
    if not piped:
        return
    if options.json:
        raise UsageError(
            "--json and a result on standard output are mutually exclusive", "Name a file with -o, or remove --json"
        )
    if not output.takes_bytes():
        raise OutputError("cannot write standard output: it is closed", "Name a file with -o")
    if sys.stdout.isatty():
        raise UsageError("the result would go to the terminal", "Name a file with -o")


def interruption(stop: BaseException, batch: Batch) -> StoppedError:
    """The error line of a stop: how far the run came, and what the same command does next."""
    kind = type(stop) if isinstance(stop, StoppedError) else StoppedError
    word = str(stop) or "interrupted"
    begun = [found for found in batch.stops if found.done]
    saved = sum(found.saved for found in begun)
    if len(begun) == 1 and len(batch.stops) == 1:
        total = f" of {begun[0].frames}" if begun[0].frames else ""
        word += f" after {begun[0].done}{total} frames"
    elif batch.results or begun:
        word += f" after {len(batch.results)} of {len(batch.jobs)} inputs"
    written = any(not isinstance(done.result, VrxError) for done in batch.results.values())
    command = "the same command" if not written or batch.records_results else "the same command with -n"
    if saved:
        several = f" frames of {len(begun)} inputs" if len(begun) > 1 else ""
        return kind(word, f"{saved}{several} saved; {command} resumes there")
    if batch.results and not begun:
        return kind(word, f"{command[:1].upper()}{command[1:]} does the rest")
    return kind(word, f"No frames saved; {command} starts again")


def memory_words(plan: Plan) -> str:
    """What a run takes, what it can make do with, and what is there."""
    words = [f"about {format_bytes(plan.memory)}"] if plan.memory else ["unknown"]
    if plan.memory and plan.least_memory and plan.least_memory < plan.memory:
        words.append(f"{format_bytes(plan.least_memory)} at least")
    if plan.free_memory is not None:
        words.append(f"{format_bytes(plan.free_memory)} are free")
    return ", ".join(words)


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """A plan for people."""
    rows = [
        ("input", lines.label(plan.source)),
        ("output", plan.output),
        ("model", f"{plan.model} ({plan.checkpoint})"),
        ("runs on", f"{plan.device}, {plan.dtype}"),
        ("frames", str(plan.frames or "unknown")),
        ("size", "{}x{} to {}x{}".format(*plan.source_size, *plan.target_size)),
        ("encoder", ", ".join(filter(None, (plan.encoder, plan.preset, plan.pix_fmt, plan.container)))),
        ("scenes", plan.scenes),
        ("chunk", f"{plan.chunk} frames"),
        ("memory", memory_words(plan)),
    ]
    if plan.seconds is not None:
        rows.append(("time", f"about {plan.seconds:.0f} s"))
    if plan.action != "write":
        rows.append(("exists", "{}: {}".format(*PLANNED[plan.action]).format(plan.output)))
    return rows + [("note", note) for note in plan.notes]
