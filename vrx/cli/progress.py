"""Events to a bar, to plain lines, or to JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from time import monotonic
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vrx import events
from vrx.cli.render import printable
from vrx.events import Event, Watcher
from vrx.settings import Environment

PLAIN_SECONDS = 30.0  # between two lines about one file
PLAIN_SHARE = 0.05  # of a file between two lines


@dataclass(frozen=True, kw_only=True)
class Look:
    """How progress is shown: `style` auto, bar, plain or none; `verbose` with details."""

    style: str = "auto"
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True)
class Part:
    """A file that arrives: its bar, and the bytes that were here when it was first told of."""

    task: Any
    done: int
    since: float


class Bar:
    """A bar on a terminal's standard error, one file at a time."""

    def __init__(self, console: Console, verbose: bool) -> None:
        self._console, self._verbose = console, verbose
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[place]}"),
            console=console,
            transient=True,  # the line about the result stays, not a full bar
        )
        self._task: Any = None
        self._parts: dict[str, Part] = {}

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        event = shown(event)
        if isinstance(event, events.Started):
            self._task = self._bar.add_task(
                escape(event.input), total=event.frames, completed=event.resumed_frames, count="", rate="", place=""
            )
        elif isinstance(event, events.Advanced):
            queues = " ".join(f"{name}:{count}" for name, count in event.queues.items())
            self._bar.update(
                self._task,
                completed=event.done,
                total=event.frames,
                count=f"{event.done}/{event.frames or '?'} frames",
                rate=pace(event.fps),
                place=f"scene {event.scene} [dim]{queues}[/dim]",
            )
        elif isinstance(event, events.Finished):
            self._bar.remove_task(self._task)
            self._console.print(finished(event), highlight=False, markup=False)
        elif isinstance(event, events.Fetching):
            if event.part not in self._parts:
                task = self._bar.add_task(escape(event.part), count="", rate="", place="")
                self._parts[event.part] = Part(task, event.done, monotonic())
            part = self._parts[event.part]
            count = f"{event.done / 1e6:.1f}/{event.size / 1e6:.1f} MB" if event.size else f"{event.done / 1e6:.1f} MB"
            rate = f"{(event.done - part.done) / 1e6 / max(monotonic() - part.since, 1e-3):.1f} MB/s"
            self._bar.update(part.task, completed=event.done, total=event.size, count=count, rate=rate)
        elif isinstance(event, events.Skipped):
            self._console.print(skipped(event), highlight=False, markup=False)
        elif isinstance(event, events.Stopped):
            self._console.print(stopped(event), highlight=False, markup=False)
        elif isinstance(event, events.Noted) and (self._verbose or event.level != events.DETAIL):
            self._console.print(event.text, highlight=False, markup=False)


class Plain:
    """Lines for logs: at the start, now and then, at the end."""

    def __init__(self, console: Console, look: Look) -> None:
        self._console, self._verbose = console, look.verbose
        self._quiet = look.quiet or look.style == "none"
        self._when, self._share = 0.0, 0.0
        self._parts: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        event = shown(event)
        if self._quiet:
            if isinstance(event, events.Noted) and event.level == "warning":
                self._say(event.text)
            return
        if isinstance(event, events.Started):
            self._when, self._share = monotonic(), event.resumed_frames / event.frames if event.frames else 0.0
            frames = f"{counted(event.frames, 'frame')}, " if event.frames else ""
            sizes = "{}x{} to {}x{}".format(*event.source_size, *event.target_size)
            self._say(f"{event.input}: {frames}{sizes}, {event.model} on {event.device} ({event.dtype})")
        elif isinstance(event, events.Advanced):
            share = event.done / event.frames if event.frames else 0.0
            if monotonic() - self._when > PLAIN_SECONDS or share - self._share >= PLAIN_SHARE:
                self._when, self._share = monotonic(), share
                of = f" of {event.frames}" if event.frames else ""
                self._say(f"{event.input}: {event.done}{of} frames, {pace(event.fps)}, scene {event.scene}")
        elif isinstance(event, events.Fetching):
            self._fetching(event)
        elif isinstance(event, events.Finished):
            self._say(finished(event))
        elif isinstance(event, events.Skipped | events.Stopped):
            self._say(skipped(event) if isinstance(event, events.Skipped) else stopped(event))
        elif isinstance(event, events.Noted) and (self._verbose or event.level != events.DETAIL):
            self._say(event.text)

    def _fetching(self, event: events.Fetching) -> None:
        now = monotonic()
        if event.done == event.size or now - self._parts.get(event.part, 0.0) > PLAIN_SECONDS:
            self._parts[event.part] = now
            of = f" of {event.size / 1e6:.1f}" if event.size else ""
            self._say(f"{event.part}: {event.done / 1e6:.1f}{of} MB")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def as_json(event: Event) -> None:
    """One line on standard output."""
    sys.stdout.write(json.dumps({"type": event.kind, **asdict(event)}) + "\n")
    sys.stdout.flush()


def pace(fps: float) -> str:
    """Frames a second, or seconds a frame where it is slow."""
    if fps <= 0:
        return ""
    return f"{fps:.1f} fps" if fps >= 1 else f"{1 / fps:.1f} s/frame"


def counted(number: int, thing: str) -> str:
    """A number of things: `1 frame`, `2 frames`."""
    return f"{number} {thing}{'s' if number != 1 else ''}"


def stopped(event: events.Stopped) -> str:
    """The line about a run that was stopped."""
    following = "nothing saved; the same command starts again"
    if event.saved:
        following = f"{counted(event.saved, 'frame')} saved; rerun the same command to resume"
    return f"{event.input}: stopped after {event.done} of {event.frames or '?'} frames, {following}"


def finished(event: events.Finished) -> str:
    """The line about a finished file."""
    name = "standard output" if event.output == "-" else event.output
    fps = pace((event.frames - event.resumed_frames) / max(event.seconds, 1e-9))
    kept = f" ({event.resumed_frames} of an earlier run)" if event.resumed_frames else ""
    facts = [counted(event.frames, "frame") + kept, counted(event.scenes, "scene")]
    return f"{name}: {', '.join(facts)}, {event.seconds:.1f} s{f' ({fps})' if fps else ''}"


def skipped(event: events.Skipped) -> str:
    """The line about a result that was there."""
    return f"{event.input}: skipped, {event.output} is there already"


@contextmanager
def watcher(console: Console, look: Look, json_lines: bool) -> Iterator[Watcher]:
    """The watcher that the options, the terminal and the environment ask for."""
    plain = Environment.read().plain
    bars = console.is_terminal and not console.no_color and not plain
    if json_lines:
        yield as_json
    elif not look.quiet and (look.style == "bar" or (look.style == "auto" and bars)):
        with Bar(console, look.verbose) as bar:
            yield bar
    else:
        yield Plain(console, look)


def shown(event: Event) -> Event:
    """The event as a terminal may see it: names from outside cannot steer it."""
    texts = {field.name: getattr(event, field.name) for field in fields(event)}
    return replace(event, **{name: printable(text) for name, text in texts.items() if isinstance(text, str)})
