"""A progress line at the bottom of a terminal, in the width that it has, gone when the run ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from time import monotonic

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from vrx import events
from vrx.cli import lines
from vrx.events import Event

NARROW = 70  # columns; below it, words are left out
BAR_SHARE = 0.5  # of the columns that the numbers leave, the rest is the name's
MIN_NAME = 6  # columns
MARGIN = 3  # columns at the right that stay free: a terminal writes ^C there, which must not wrap
REFRESHES = 10  # a second
CLUSTER = "\0"  # the key of the line about a cluster, which no input has


@dataclass(frozen=True)
class Line:
    """A progress line: a name, the share that is done (None: unknown), and numbers in order of importance."""

    name: str
    share: float | None = None
    numbers: tuple[str, ...] = ()

    def render(self, width: int, ascii_only: bool = False) -> Text:
        """The line in at most `width` columns: name, bar, percent, numbers."""
        numbers = self.numbers if self.share is None else (f"{self.share:.0%}".rjust(4), *self.numbers)
        tail = join(numbers, width)
        while len(numbers) > 1 and len(tail) > width - MARGIN - MIN_NAME:
            numbers = numbers[:-1]
            tail = join(numbers, width)
        room = max(MIN_NAME, width - MARGIN - len(tail) - 1)
        bar = 0 if self.share is None else round(room * BAR_SHARE)
        name = shorten(self.name, room - bar - 1 if bar else room)
        text = Text(name, no_wrap=True, overflow="crop", end="")
        if bar and self.share is not None:
            done, rest = draw(self.share, room - cell_len(name) - 1, ascii_only)
            text.append(" ").append(done, "green").append(rest, "dim")
        text.append(" " + tail)
        text.truncate(max(1, width - MARGIN))
        return text


@dataclass(frozen=True)
class Download:
    """A file that is being downloaded: when it began, and the bytes that were there then."""

    line: Line
    since: float = field(default_factory=monotonic)
    before: int = 0


class Bar:
    """Shows events on a terminal: a line in motion for each input at work, and each download.  A context manager."""

    def __init__(self, console: Console, verbose: bool = False, opening: str = "") -> None:
        self._console, self._verbose = console, verbose
        self._lines = {"": Line(f"opening {lines.label(opening)}")} if opening else {}
        self._downloads: dict[str, Download] = {}
        self._live = Live(
            console=console, transient=True, refresh_per_second=REFRESHES, get_renderable=self._render, screen=False
        )

    def __enter__(self) -> Bar:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *exc: object) -> None:
        self._lines, self._downloads = {}, {}
        self._live.stop()

    def __call__(self, event: Event) -> None:
        self._show(lines.printable_event(event))

    @singledispatchmethod
    def _show(self, event: Event) -> None:
        """Show an event: one without a method of its own changes no line in motion."""
        self._print(lines.format_event(event, self._verbose))

    @_show.register
    def _(self, event: events.Opening) -> None:
        self._lines.pop("", None)
        self._lines[event.input] = Line(f"opening {lines.label(event.input)}")

    @_show.register
    def _(self, event: events.Started) -> None:
        share = event.resumed_frames / event.frames if event.frames else None
        numbers = (f"{event.resumed_frames}/{event.frames} frames",) if event.frames else ()
        self._lines[event.input] = Line(lines.label(event.input), share, numbers)
        self._downloads = {}

    @_show.register
    def _(self, event: events.Advanced) -> None:
        self._lines[event.input] = Line(lines.label(event.input), *self._numbers(event))

    @_show.register
    def _(self, event: events.ClusterAdvanced) -> None:
        numbers = lines.format_cluster(event).split(", ")
        self._lines = {CLUSTER: Line("cluster", event.share, tuple(numbers))}  # in place of one for each file

    @_show.register
    def _(self, event: events.Fetching) -> None:
        name, size = event.part, event.size
        download = self._downloads.get(name) or Download(Line(name), before=event.done)
        rate = (event.done - download.before) / max(monotonic() - download.since, 1e-3)
        count = f"{event.done / 1e6:.1f}/{size / 1e6:.1f} MB" if size else f"{event.done / 1e6:.1f} MB"
        line = Line(name, event.done / size if size else None, (count, f"{rate / 1e6:.1f} MB/s"))
        self._downloads[name] = replace(download, line=line)

    @_show.register(events.Finished)
    @_show.register(events.Previewed)
    @_show.register(events.Skipped)
    @_show.register(events.Failed)
    @_show.register(events.Stopped)
    def _(self, event: Event) -> None:
        self._lines.pop(event.input, None)
        self._live.refresh()  # or the line would be drawn once more, below the result
        self._print(lines.format_event(event, self._verbose))

    def _numbers(self, event: events.Advanced) -> tuple[float | None, tuple[str, ...]]:
        """The share and the numbers of a run: frames, speed, time left; with --verbose scene and queues."""
        wide = self._console.width >= NARROW
        share = min(1.0, event.done / event.frames) if event.frames else None
        counts = f"{event.done:>{len(str(event.frames))}}/{event.frames}" if event.frames else str(event.done)
        numbers = [f"{counts} frames" if wide or not event.frames else counts]
        numbers += [lines.format_speed(event.fps)] if event.fps > 0 else []
        if event.frames and event.fps > 0:
            left = lines.format_duration((event.frames - event.done) / event.fps)
            numbers.append(f"{left} left" if wide else left)
        if self._verbose:
            queues = " ".join(f"{name}:{count}" for name, count in event.queues.items())
            numbers.append(f"scene {event.scene} {queues}".rstrip())
        return share, tuple(numbers)

    def _print(self, text: str | None) -> None:
        """Print a line above the progress lines."""
        if text is not None:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _render(self) -> Text:
        width, ascii_only = self._console.width, self._console.options.ascii_only
        shown = [*(download.line for download in self._downloads.values()), *self._lines.values()]
        return Text("\n", end="").join(line.render(width, ascii_only) for line in shown)


def join(numbers: tuple[str, ...], width: int) -> str:
    """Numbers in one text, closer together where it is narrow."""
    return "  ".join(numbers) if width >= NARROW else " ".join(number.strip() for number in numbers)


def shorten(name: str, width: int) -> str:
    """A name in at most `width` columns, shortened from the left."""
    if cell_len(name) <= width:
        return name
    while name and cell_len(name) >= width:
        name = name[1:]
    return f"…{name}"


def draw(share: float, width: int, ascii_only: bool) -> tuple[str, str]:
    """A bar in two parts: what is done, and the rest."""
    full, empty = ("=", "-") if ascii_only else ("━", "─")
    done = int(share * width)
    return full * done, empty * (width - done)
