"""Events to a bar, to plain lines, or to JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from time import monotonic
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vrx import events
from vrx.events import Event, Watcher
from vrx.settings import Environment

PLAIN_SECONDS = 30.0  # between two lines about one file
PLAIN_SHARE = 0.05  # of a file between two lines


class Bar:
    """A bar on a terminal's standard error, one file at a time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.fields[frames]} frames"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("scene {task.fields[scene]} [dim]{task.fields[queues]}[/dim]"),
            console=console,
            transient=False,
        )
        self._task: Any = None

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.Started):
            self._task = self._bar.add_task(
                escape(event.input), total=event.frames, frames=event.frames or "?", rate="", scene=1, queues=""
            )
        elif isinstance(event, events.Advanced):
            queues = " ".join(f"{name}:{count}" for name, count in event.queues.items())
            self._bar.update(
                self._task,
                completed=event.done,
                total=event.frames,
                rate=pace(event.fps),
                scene=event.scene + 1,
                queues=queues,
            )
        elif isinstance(event, events.Finished):
            self._bar.update(self._task, completed=event.frames, total=event.frames, frames=event.frames)
            self._console.print(finished(event), highlight=False, markup=False)
        elif isinstance(event, events.Noted):
            self._console.print(event.text, highlight=False, markup=False)


class Plain:
    """Lines for logs: at the start, now and then, at the end."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._when, self._share = 0.0, 0.0

    def __call__(self, event: Event) -> None:
        if self._quiet:
            if isinstance(event, events.Noted) and event.level == "warning":
                self._say(event.text)
            return
        if isinstance(event, events.Started):
            self._when, self._share = monotonic(), 0.0
            frames = f"{event.frames} frames, " if event.frames else ""
            sizes = "{}x{} to {}x{}".format(*event.source_size, *event.target_size)
            self._say(f"{event.input}: {frames}{sizes}, {event.model} on {event.device} ({event.dtype})")
        elif isinstance(event, events.Advanced):
            share = event.done / event.frames if event.frames else 0.0
            if monotonic() - self._when > PLAIN_SECONDS or share - self._share >= PLAIN_SHARE:
                self._when, self._share = monotonic(), share
                of = f" of {event.frames}" if event.frames else ""
                self._say(f"{event.input}: {event.done}{of} frames, {pace(event.fps)}, scene {event.scene + 1}")
        elif isinstance(event, events.Finished):
            self._say(finished(event))
        elif isinstance(event, events.Noted):
            self._say(event.text)

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


def finished(event: events.Finished) -> str:
    """The line about a finished file."""
    scenes = f"{event.scenes} scene{'s' if event.scenes != 1 else ''}"
    name = "standard output" if event.output == "-" else event.output
    fps = pace(event.frames / max(event.seconds, 1e-9))
    return f"{name}: {event.frames} frames, {scenes}, {event.seconds:.1f} s ({fps})"


@contextmanager
def watcher(console: Console, style: str, quiet: bool, json_lines: bool) -> Iterator[Watcher]:
    """The watcher that the options, the terminal and the environment ask for."""
    plain = Environment.read().plain
    if json_lines:
        yield as_json
    elif quiet or style == "none":
        yield Plain(console, quiet=True)
    elif style == "bar" or (style == "auto" and console.is_terminal and not console.no_color and not plain):
        with Bar(console) as bar:
            yield bar
    else:
        yield Plain(console, quiet=False)
