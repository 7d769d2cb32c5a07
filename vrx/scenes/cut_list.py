"""Cut list files: frame numbers at which scenes begin, as plain lines or CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from vrx.errors import InputError, UsageError
from vrx.files import read_text

MAX_BYTES = 16_000_000
COLUMNS = {"start_frame": 0, "Start Frame": 1}  # of `vrx scenes --csv` and of PySceneDetect: number of the first frame
HINT = "Write one frame number per line, counted from 0"


def read_cuts(path: Path) -> frozenset[int]:
    """Cuts from a file: one frame number per line (`#` comments), or a scene list as CSV.

    Reads the CSV of `vrx scenes --csv` (column `start_frame`, from 0) and of PySceneDetect (column
    `Start Frame`, from 1).  Raises InputError and UsageError.
    """
    try:
        text = read_text(path, MAX_BYTES, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"cannot read the cut list {path}: {reason}") from error
    try:
        return parse_cuts(text)
    except (ValueError, IndexError) as error:
        raise UsageError(f"{path} is not a cut list", HINT) from error
    except csv.Error as error:
        raise UsageError(f"{path} is not a cut list: {error}", HINT) from error


def parse_cuts(text: str) -> frozenset[int]:
    """Frame numbers from 0, without frame 0.  Raises ValueError, IndexError or csv.Error."""
    rows = [row for row in csv.reader(text.splitlines()) if row and not row[0].lstrip().startswith("#")]
    column, first, body = find_column(rows)
    return frozenset(int(row[column]) - first for row in rows[body:]) - {0}


def find_column(rows: list[list[str]]) -> tuple[int, int, int]:
    """Column of frame numbers, the number of the first frame, and the first row after the header."""
    for place, row in enumerate(rows):
        names = [cell.strip() for cell in row]
        for name, first in COLUMNS.items():
            if name in names:
                return names.index(name), first, place + 1
    return 0, 0, 0
