"""What a run tells its watchers: frozen values that leave sideways and are never awaited."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

DETAIL = "detail"  # a note's level
Fact = str | int | float | bool | None


@dataclass(frozen=True)
class Note:
    """Something the user should know that ends nothing.

    `code` names the kind for programs (`blur-estimated`), `text` says it to people, `facts` hold its values
    (`{"scene": 1, "sigma": 2.1}`); `level` is `info`, `warning`, or `detail` (shown with --verbose).
    """

    code: str
    text: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    level: str = "info"


Notify = Callable[[Note], None]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all; `kind` is the `type` of its JSON line."""

    kind: ClassVar[str]
    input: str


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """A file begins: `frames` is an estimate, or None for a pipe; sizes are width, height.

    `kept` frames were made by an earlier run.
    """

    kind: ClassVar[str] = "started"
    output: str
    frames: int | None
    source_size: tuple[int, int]
    target_size: tuple[int, int]
    model: str
    device: str
    dtype: str
    kept: int = 0


@dataclass(frozen=True, kw_only=True)
class Noted(Event):
    """Something the user should know that ends nothing; `level` is `info`, `warning`, or `detail` (--verbose)."""

    kind: ClassVar[str] = "note"
    level: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Fetching(Event):
    """A checkpoint's file arrives: bytes here, and in all where that is known."""

    kind: ClassVar[str] = "fetching"
    part: str
    done: int
    size: int | None


@dataclass(frozen=True, kw_only=True)
class SceneBegan(Event):
    """A scene starts at a frame (both count from 0); `soft` where only the guidance is refreshed."""

    kind: ClassVar[str] = "scene"
    number: int
    frame: int
    soft: bool


@dataclass(frozen=True, kw_only=True)
class Advanced(Event):
    """Frames are written; `queues` are how many items wait before each stage."""

    kind: ClassVar[str] = "progress"
    done: int
    frames: int | None
    scene: int
    fps: float
    queues: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """A file stands under its final name; `kept` of its frames were made by an earlier run."""

    kind: ClassVar[str] = "finished"
    output: str
    frames: int
    scenes: int
    seconds: float
    kept: int = 0


@dataclass(frozen=True, kw_only=True)
class Skipped(Event):
    """Nothing was done: the result was there already."""

    kind: ClassVar[str] = "skipped"
    output: str


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """A file failed; nothing stands under its final name that was not there before."""

    kind: ClassVar[str] = "failed"
    message: str
    hint: str
    exit_code: int


Watcher = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The watcher that does not look."""
