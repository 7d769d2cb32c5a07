"""The table that ends a batch: what became of each input, in how long, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vrx import events
from vrx.cli import lines
from vrx.cli.render import printable
from vrx.cli.transcript import TRANSCRIPT
from vrx.errors import VrxError
from vrx.events import format_count

if TYPE_CHECKING:
    from vrx.pipeline.batch import Batch
    from vrx.pipeline.jobs import JobResult

STATES = ("done", "skipped", "failed", "stopped", "not begun", "planned", "refused")
MIN_NAME, MIN_DETAIL = 12, 24  # columns


@dataclass(frozen=True)
class Row:
    """What became of an input: one of STATES, in how many seconds, and more."""

    source: str
    state: str
    detail: str = ""
    seconds: float | None = None


def rows_of(batch: Batch) -> list[Row]:
    """The rows of a batch that came to an end, perhaps before all of its jobs."""
    return [
        row_of(job.source, batch.results[number]) if number in batch.results else unfinished(job.source, batch.stops)
        for number, job in enumerate(batch.jobs)
    ]


def row_of(source: str, done: JobResult) -> Row:
    """The row of a job that came to an end."""
    result = done.result
    failed = "; --on-done failed" if done.command_failed else ""
    if isinstance(result, VrxError):
        return Row(source, "failed", result.message + failed, done.seconds or None)
    if result.skipped:
        return Row(source, "skipped", "exists")
    detail = f"{format_count(result.frames, 'frame')} to {result.path or 'standard output'}"
    return Row(source, "done", detail + failed, done.seconds)


def unfinished(source: str, stops: Sequence[events.Stopped]) -> Row:
    """The row of a job that a stop ended, or kept from beginning."""
    stopped = next((stop for stop in stops if stop.input == source), None)
    if stopped is None:
        return Row(source, "not begun")
    total = f" of {stopped.frames}" if stopped.frames else ""
    return Row(source, "stopped", f"after {stopped.done}{total} frames, {stopped.saved} saved")


def show_table(console: Console, rows: Sequence[Row]) -> None:
    """Print the table and the counts on standard error, and into the log."""
    table = Table("input", "result", "time", "", box=None, pad_edge=False, header_style="bold")
    table.columns[0].overflow = table.columns[3].overflow = "fold"
    table.columns[0].min_width, table.columns[3].min_width = MIN_NAME, MIN_DETAIL
    table.columns[1].no_wrap = table.columns[2].no_wrap = True
    table.columns[2].justify = "right"
    for row in rows:
        time = "" if row.seconds is None else lines.format_duration(row.seconds)
        cells = (lines.label(row.source), row.state, time, row.detail)
        table.add_row(*(escape(printable(cell)) for cell in cells))
        TRANSCRIPT.info("%s", ", ".join(printable(cell) for cell in cells if cell))
    console.print(table, width=None if console.is_terminal else 200, soft_wrap=not console.is_terminal)
    text = counts(rows)
    console.print(text, highlight=False)
    TRANSCRIPT.info("%s", text)


def counts(rows: Sequence[Row]) -> str:
    """`3 of 5 done, 1 skipped, 1 failed`."""
    numbers = {state: sum(row.state == state for row in rows) for state in STATES}
    first = next((state for state in ("planned",) if numbers[state]), "done")
    others = [f"{number} {state}" for state, number in numbers.items() if number and state != first]
    return ", ".join([f"{numbers[first]} of {len(rows)} {first}", *others])
