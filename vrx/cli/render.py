"""Results to tables, JSON or one error line."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vrx.cli.transcript import TRANSCRIPT
from vrx.errors import VrxError
from vrx.settings import format_time

# what a terminal obeys rather than shows: control characters (C0, DEL, C1), line separators, marks that turn the
# direction of writing; and bytes of a name that are no text, which no terminal can be sent
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_WORD = 12  # letters that a table does not break
BYTES = range(0xDC80, 0xDD00)  # surrogates in place of the bytes 0x80 to 0xff


def err_console() -> Console:
    """The console of standard error."""
    return Console(stderr=True, emoji=False)  # or a crop of 200:100:10:32 would show one


def printable(text: str) -> str:
    """Text from outside (names, servers' words) with control characters escaped."""
    return UNSAFE.sub(escape_character, text)


def escape_character(match: re.Match[str]) -> str:
    """The escape sequence of an unsafe character."""
    code = ord(match.group())
    code = code - 0xDC00 if code in BYTES else code
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def to_json_value(value: Any) -> Any:
    """A value that JSON can hold: times become seconds, paths strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_json_value(asdict(value))
    if isinstance(value, dict):
        return {str(k): to_json_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(v) for v in value]
    if isinstance(value, Fraction):
        return float(f"{float(value):.12g}")
    return str(value) if isinstance(value, Path) else value


def emit_json(value: Any) -> None:
    """One JSON line on standard output."""
    sys.stdout.write(json.dumps(to_json_value(value)) + "\n")


def emit_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV on standard output."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)


def emit_table(header: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """A table on standard output."""
    title = escape(printable(title)) if title is not None else None
    table = Table(*header, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(table.columns):
        column.overflow = "fold"  # never cut: hashes and paths are to be copied
        words = [word for row in rows for word in str(row[number]).split()]
        column.min_width = min(LONGEST_WORD, max(map(len, words), default=0))
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*(escape(printable(str(cell))) for cell in row))
    console = Console(emoji=False)
    console.print(table, width=None if console.is_terminal else 200, soft_wrap=not console.is_terminal)


def note_line(text: str) -> None:
    """Print a note on standard error."""
    sys.stderr.write(printable(text) + "\n")
    TRANSCRIPT.info("%s", printable(text))


def error_line(error: VrxError) -> None:
    """Print an error on standard error, in one line, control characters escaped, and into the log."""
    show_error(error)
    TRANSCRIPT.info("vrx: %s", printable(str(error)))


def show_error(error: VrxError) -> None:
    """Print an error on standard error only."""
    sys.stderr.write(f"vrx: {printable(str(error))}\n")


def seconds(value: Fraction | None) -> str:
    """A time as H:MM:SS.mmm."""
    return "unknown" if value is None else format_time(value)
