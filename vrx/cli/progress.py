"""Events to a bar, to plain lines, or to JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from time import monotonic

from rich.console import Console

from vrx import events
from vrx.cli import lines, transcript
from vrx.cli.render import show_error
from vrx.environment import Environment
from vrx.errors import VrxError
from vrx.events import Event, Watcher

PLAIN_SECONDS = 30.0  # between two lines about one file
PLAIN_SHARE = 0.05  # of a file between two lines


@dataclass(frozen=True, kw_only=True)
class ProgressOptions:
    """How progress is shown: `style` auto, bar, plain or none; `opening` names what is opened first.

    `side_by_side`: several inputs are worked on at once.
    """

    style: str = "auto"
    quiet: bool = False
    verbose: bool = False
    opening: str = ""
    side_by_side: bool = False


@dataclass
class Reported:
    """When progress of an input was reported last, and at which share."""

    when: float = 0.0
    share: float = 0.0


class PlainProgress:
    """Progress as plain lines: at the start of each input, at intervals, at its end; `say` takes them."""

    def __init__(self, say: Callable[[str], object], options: ProgressOptions) -> None:
        self._say, self._verbose = say, options.verbose
        self._quiet = options.quiet or options.style == "none"
        self._reported: dict[str, Reported] = {}
        self._parts: dict[str, float] = {}
        if options.opening and not self._quiet:
            self._say(f"opening {lines.label(options.opening)}")

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
            case events.ClusterAdvanced():
                self._clustered(event)
            case _:
                if isinstance(event, events.Started):
                    share = event.resumed_frames / event.frames if event.frames else 0.0
                    self._reported[event.input] = Reported(monotonic(), share)
                text = lines.format_event(event, self._verbose)
                if text is not None:
                    self._say(text)

    def _advanced(self, event: events.Advanced) -> None:
        """A line every PLAIN_SECONDS or PLAIN_SHARE of the frames."""
        share, last = event.done / event.frames if event.frames else 0.0, self._reported.get(event.input, Reported())
        if monotonic() - last.when > PLAIN_SECONDS or share - last.share >= PLAIN_SHARE:
            self._reported[event.input] = Reported(monotonic(), share)
            self._say(lines.format_advanced(event))

    def _clustered(self, event: events.ClusterAdvanced) -> None:
        """A line about all files every PLAIN_SECONDS or PLAIN_SHARE of them."""
        last = self._reported.setdefault("", Reported(monotonic()))
        if monotonic() - last.when > PLAIN_SECONDS or event.share - last.share >= PLAIN_SHARE:
            self._reported[""] = Reported(monotonic(), event.share)
            self._say(lines.format_cluster(event))

    def _fetching(self, event: events.Fetching) -> None:
        """A line every PLAIN_SECONDS, and one when the file is complete."""
        now = monotonic()
        if event.done == event.size or now - self._parts.get(event.part, 0.0) > PLAIN_SECONDS:
            self._parts[event.part] = now
            total = f" of {event.size / 1e6:.1f}" if event.size else ""
            self._say(f"{event.part}: {event.done / 1e6:.1f}{total} MB")


def write_event(event: Event) -> None:
    """One JSON line on standard output."""
    sys.stdout.write(json.dumps({"type": event.kind, **asdict(event)}) + "\n")
    sys.stdout.flush()


def write_json(event: Event) -> None:
    """An event as JSON; failures of inputs are on standard error too, where people look."""
    write_event(event)
    if isinstance(event, events.Failed):
        show_error(VrxError(event.message, event.hint))


class Naming:
    """A watcher that sees notes with the names of their inputs: several are at work at once."""

    def __init__(self, watch: Watcher) -> None:
        self._watch = watch

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        if isinstance(event, events.Noted) and event.input not in event.text:
            event = replace(event, text=f"{lines.label(event.input)}: {event.text}")
        self._watch(event)


class Both:
    """Two watchers as one."""

    def __init__(self, first: Watcher, second: Watcher) -> None:
        self._watchers = first, second

    def __call__(self, event: Event) -> None:
        """Pass an event to both."""
        for watch in self._watchers:
            watch(event)


@contextmanager
def watcher(console: Console, options: ProgressOptions, json_lines: bool) -> Iterator[Watcher]:
    """The watcher that the options, the terminal and the environment select; the log, where there is one, sees all."""
    with visible_watcher(console, options, json_lines) as watch:
        if transcript.active():
            log = PlainProgress(transcript.TRANSCRIPT.info, ProgressOptions(verbose=options.verbose))
            yield Both(Naming(log) if options.side_by_side else log, watch)
        else:
            yield watch


@contextmanager
def visible_watcher(console: Console, options: ProgressOptions, json_lines: bool) -> Iterator[Watcher]:
    """What is shown on standard error, or with --json written to standard output."""
    plain = Environment.read().plain
    bars = console.is_terminal and not console.no_color and not plain
    if json_lines:
        yield write_json
    elif not options.quiet and (options.style == "bar" or (options.style == "auto" and bars)):
        from vrx.cli.bar import Bar  # only where it is shown: it takes a while to import

        with Bar(console, options.verbose, options.opening) as bar:
            yield Naming(bar) if options.side_by_side else bar
    else:
        shown = options if console.is_terminal else replace(options, opening="")
        written = PlainProgress(partial(console.print, highlight=False, markup=False, soft_wrap=True), shown)
        yield Naming(written) if options.side_by_side else written
