"""A command on a pseudo-terminal, and the screen that a person sees."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT
from tests.forked import COMMAND, Forked
from tests.held import HeldEncoder

SECONDS = 120  # for anything that a command should show
TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


@dataclass
class Screen:
    """The few control sequences that rich writes: carriage return, cursor up, erase line; colors are ignored."""

    width: int
    rows: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    cursor_shown: bool = True

    def feed(self, text: str) -> None:
        """Show a piece of output."""
        for match in TOKEN.finditer(text):
            numbers, command, back, down, letters = match.groups()
            if back:
                self.column = 0
            elif down:
                self._down()
            elif letters:
                for letter in letters:
                    self._put(letter)
            elif command == "A":
                self.row = max(0, self.row - int(numbers or 1))
            elif command == "K":
                self.rows[self.row] = "" if numbers == "2" else self.rows[self.row][: self.column]
            elif numbers == "?25":
                self.cursor_shown = command == "h"

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")

    def _put(self, letter: str) -> None:
        if self.column == self.width:
            self.column = 0
            self._down()
        line = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = line[: self.column] + letter + line[self.column + 1 :]
        self.column += 1

    def lines(self) -> list[str]:
        """What is to be seen, without empty lines."""
        return [row.rstrip() for row in self.rows if row.strip()]


@dataclass(frozen=True)
class Shown:
    """A finished command: exit code, the last screen, and each screen on the way with its seconds since the start."""

    status: int
    screen: Screen
    frames: list[tuple[float, list[str]]]

    def first(self, text: str) -> float:
        """Seconds until a text was to be seen."""
        return next(seconds for seconds, lines in self.frames if any(text in line for line in lines))


@dataclass(frozen=True)
class Moment:
    """What the screen shows when something is to be done, and what that is; the terminal is for what is typed."""

    shows: Callable[[list[str]], bool]
    act: Callable[[int], object]


def press_ctrl_c(terminal: int) -> None:
    """Type it."""
    os.write(terminal, b"\x03")


def run_on_terminal(
    folder: Path, columns: int, *words: str, moment: Moment | None = None, held: HeldEncoder | None = None
) -> Shown:
    """Run vrx on a terminal of some columns, with an encoder that may wait; a `moment` must come."""
    terminal, child_end = pty.openpty()
    fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "COLUMNS", "LINES")}
    env |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "VRX_HOME": str(folder / ".home")}
    env |= held.env if held else {}
    begin = time.monotonic()
    terminal_of_session = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    child = Forked(
        words, cwd=folder, env=env, stdin=child_end, stderr=child_end, new_session=True,
        program=terminal_of_session + COMMAND,
    )  # fmt: skip
    os.close(child_end)
    screen, frames, rest = Screen(columns), [], b""
    try:
        while select.select([terminal], [], [], SECONDS)[0]:
            assert moment is None or time.monotonic() - begin < SECONDS, screen.lines()
            try:
                data = os.read(terminal, 65536)
            except OSError:  # the command has ended
                break
            if not data:
                break
            rest += data
            text, rest = split_text(rest)
            screen.feed(text)
            frames.append((time.monotonic() - begin, screen.lines()))
            if moment is not None and moment.shows(screen.lines()):
                moment.act(terminal)
                moment = None
    finally:
        os.close(terminal)  # hangs up: a command that still runs ends
        status = child.wait(60)
    return Shown(status, screen, frames)


def split_text(data: bytes) -> tuple[str, bytes]:
    """The text of some bytes as far as letters and control sequences are whole, and the rest."""
    cut = len(data)
    escape = data.rfind(b"\x1b")
    if escape >= 0 and not re.match(rb"\x1b\[[?\d;]*[A-Za-z]", data[escape:]):
        cut = escape
    while True:
        try:
            return data[:cut].decode(), data[cut:]
        except UnicodeDecodeError as error:
            cut = error.start
