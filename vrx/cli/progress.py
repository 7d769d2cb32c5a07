"""Events to a bar, to plain lines, or to JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic

from rich.console import Console

from vrx import events
from vrx.cli import lines
from vrx.cli.render import error_line
from vrx.errors import VrxError
from vrx.events import Event, Watcher
from vrx.settings import Environment

PLAIN_SECONDS = 30.0  # between two lines about one file
PLAIN_SHARE = 0.05  # of a file between two lines


@dataclass(frozen=True, kw_only=True)
class ProgressOptions:
    """How progress is shown: `style` auto, bar, plain or none; `opening` names what is opened first."""

    style: str = "auto"
    quiet: bool = False
    verbose: bool = False
    opening: str = ""


class PlainProgress:
    """Progress as plain lines for logs: at the start, at intervals, at the end."""

    def __init__(self, console: Console, options: ProgressOptions) -> None:
        self._console, self._verbose = console, options.verbose
        self._quiet = options.quiet or options.style == "none"
        self._when, self._share = 0.0, 0.0
        self._parts: dict[str, float] = {}
        if options.opening and console.is_terminal and not self._quiet:
            self._print(f"opening {lines.label(options.opening)}")

    def __call__(self, event: Event) -> None:
        event = lines.printable_event(event)
        important = isinstance(event, events.Failed) or (isinstance(event, events.Noted) and event.level == "warning")
        if self._quiet and not important:
            return
        match event:
            case events.Advanced():
                self._advanced(event)
            case events.Fetching():
                self._fetching(event)
            case _:
                if isinstance(event, events.Started):
                    self._when = monotonic()
                    self._share = event.resumed_frames / event.frames if event.frames else 0.0
                self._print(lines.format_event(event, self._verbose))

    def _advanced(self, event: events.Advanced) -> None:
        """A line every PLAIN_SECONDS or PLAIN_SHARE of the frames."""
        share = event.done / event.frames if event.frames else 0.0
        if monotonic() - self._when > PLAIN_SECONDS or share - self._share >= PLAIN_SHARE:
            self._when, self._share = monotonic(), share
            self._print(lines.format_advanced(event))

    def _fetching(self, event: events.Fetching) -> None:
        """A line every PLAIN_SECONDS, and one when the file is complete."""
        now = monotonic()
        if event.done == event.size or now - self._parts.get(event.part, 0.0) > PLAIN_SECONDS:
            self._parts[event.part] = now
            total = f" of {event.size / 1e6:.1f}" if event.size else ""
            self._print(f"{event.part}: {event.done / 1e6:.1f}{total} MB")

    def _print(self, text: str | None) -> None:
        if text is not None:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def write_event(event: Event) -> None:
    """One JSON line on standard output."""
    sys.stdout.write(json.dumps({"type": event.kind, **asdict(event)}) + "\n")
    sys.stdout.flush()


def write_json(event: Event) -> None:
    """An event as JSON; failures of inputs are on standard error too, where people look."""
    write_event(event)
    if isinstance(event, events.Failed):
        error_line(VrxError(event.message, event.hint))


@contextmanager
def watcher(console: Console, options: ProgressOptions, json_lines: bool) -> Iterator[Watcher]:
    """The watcher that the options, the terminal and the environment select."""
    plain = Environment.read().plain
    bars = console.is_terminal and not console.no_color and not plain
    if json_lines:
        yield write_json
    elif not options.quiet and (options.style == "bar" or (options.style == "auto" and bars)):
        from vrx.cli.bar import Bar  # only where it is shown: it takes a while to import

        with Bar(console, options.verbose, options.opening) as bar:
            yield bar
    else:
        yield PlainProgress(console, options)
