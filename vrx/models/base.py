"""The contract between a model and its driver: a chunk schedule, and stages with states as values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from vrx.events import Note

OPENING_FRAMES = 4  # of a scene, that come together however large they are


@dataclass(frozen=True)
class ChunkSchedule:
    """How many frames a system takes first and then, and which counts its autoencoder can hold.

    A chunk of n frames is padded until (n - `first_offset`) % `multiple` == 0 in a scene's first chunk
    and n % `multiple` == 0 after it: Wan's causal autoencoder has multiple 4 and first offset 1.  The first
    chunk is padded to `least` at least.  `ahead` frames of the scene after the chunk come along for
    lookahead: FlashVSR's features lead its pictures by four frames; `ahead_first` more with a scene's first chunk.
    Where chunks may be of any length, results of more than `large` pixels a frame come one frame at a time, and those
    of more than `alone` without any others that would come along.
    The frames ahead hold at most `ahead_pixels` together, and so do a scene's first and those of `ahead_first`, but for
    OPENING_FRAMES: large ones are fewer.  `spare`: this is a schedule for such results, where memory counts
    more than speed.
    """

    first: int
    next: int
    multiple: int = 1
    first_offset: int = 0
    least: int = 0
    ahead: int = 0
    ahead_first: int = 0
    large: int | None = None
    alone: int | None = None
    ahead_pixels: int | None = None
    spare: bool = False

    def __post_init__(self) -> None:
        if self.large is not None and self.multiple > 1:
            raise ValueError(f"chunks of multiples of {self.multiple} frames cannot be of one frame")
        if self.padding(self.first, True) or self.padding(self.next, False):
            raise ValueError(f"chunks of {self.first} and {self.next} frames do not fit multiples of {self.multiple}")

    def within(self, pixels: int) -> ChunkSchedule:
        """The schedule for results of that many pixels a frame; a scene's first frames come along all the same."""
        if self.ahead_pixels is not None:
            most = self.ahead_pixels // pixels
            first = min(self.ahead_first, max(most, OPENING_FRAMES) - self.first)
            return replace(self, ahead=min(self.ahead, most), ahead_first=first, ahead_pixels=None).within(pixels)
        if self.large is None or pixels <= self.large:
            return self
        if self.alone is not None and pixels > self.alone:
            return replace(self, first=1, next=1, ahead=0, ahead_first=0, large=None, spare=True)
        first = self.ahead_first + self.first - 1
        return replace(self, first=1, next=1, ahead_first=first, large=None, spare=True)

    @property
    def single(self) -> ChunkSchedule | None:
        """The schedule of one frame at a time; None where chunks have their length, or one frame already."""
        if self.large is None or (self.first, self.next) == (1, 1):
            return None
        return replace(self, first=1, next=1, ahead_first=self.ahead_first + self.first - 1, large=None)

    def size(self, index: int) -> int:
        """Frames of a scene's chunk number `index`."""
        return self.next if index else self.first

    def lookahead(self, index: int) -> int:
        """Frames that come along after a scene's chunk number `index`."""
        return self.ahead + (0 if index else self.ahead_first)

    def padding(self, frames: int, first: bool) -> int:
        """Frames to add to a short last chunk."""
        if not first:
            return -frames % self.multiple
        short = max(0, self.least - frames)
        return short + -(frames + short - self.first_offset) % self.multiple


@dataclass(frozen=True)
class SceneStart:
    """Start of a scene: sizes as (height, width) of one frame; `number` counts from 0."""

    number: int
    source: tuple[int, int]
    target: tuple[int, int]


@dataclass(frozen=True)
class DeviceChunk:
    """Frames of one scene on the device: what the first stage takes.

    `frames`: [T, 3, H, W] float in 0..1.  `masks`: [T, 1, H, W], 1 where to fill, or None.
    `refresh`: frames that become the reference of the guidance; a scene's first does, whether it is among them or not.
    `ahead`: [A, 3, H, W] frames that follow, where the schedule asks for them.
    `last`: no frames of the scene follow, where the schedule has frames ahead: without, that is not known yet.
    `chroma_masks`: [T, 1, H, W], the share of a pixel's chroma that is unknown as it was shared with pixels to fill;
    None where that is what the masks say.  `ahead_masks`, `ahead_chroma_masks`: those of the frames ahead.
    `quantizers`: how coarsely each of the frames, and of those ahead, was quantized, on the scale of H.264 (0 to 51);
    None for those whose decoder does not tell.  Empty where none does.
    """

    frames: Tensor
    masks: Tensor | None = None
    refresh: frozenset[int] = frozenset()
    ahead: Tensor | None = None
    chroma_masks: Tensor | None = None
    ahead_masks: Tensor | None = None
    ahead_chroma_masks: Tensor | None = None
    last: bool = False
    quantizers: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class RestoredChunk:
    """What the last stage gives: frames [T, 3, s H, s W] float in 0..1, and notes for the user.

    `unchanged` says that nothing was done to the frames: the result then has the source's own samples.
    """

    frames: Tensor
    notes: tuple[Note, ...] = ()
    unchanged: bool = False


@dataclass(frozen=True)
class CacheUsage:
    """What a stage's state holds of earlier frames.

    `bytes` are read at every step; `full` says that later steps look back no further than the next one.
    """

    bytes: int = 0
    full: bool = True


Input = TypeVar("Input", contravariant=True)
Output = TypeVar("Output", covariant=True)
State = TypeVar("State")


class Stage(ABC, Generic[Input, Output, State]):
    """One step of a model's work on a chunk.  It starts no thread, and scenes never share a state.

    `Input` and `Output` are values of the model's own, one type between two of its stages: the first stage
    takes a `DeviceChunk`, the last one gives a `RestoredChunk`.  Whatever a later stage needs is in them.
    """

    @abstractmethod
    def start(self, scene: SceneStart) -> State:
        """A fresh state."""

    @abstractmethod
    def step(self, chunk: Input, state: State) -> tuple[Output, State]:
        """Process one chunk; the old state must not be used again."""

    @abstractmethod
    def save(self, state: State) -> dict[str, Tensor]:
        """The state as tensors, independent of later steps."""

    @abstractmethod
    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> State:
        """The state that `save` gave."""

    def cache_usage(self, state: State) -> CacheUsage:
        """How much of earlier frames a state holds; nothing unless a stage overrides it."""
        return CacheUsage()


class StatelessStage(Stage[Input, Output, SceneStart]):
    """Base of stages that keep nothing between chunks; their state is the scene with its sizes."""

    def start(self, scene: SceneStart) -> SceneStart:
        """The scene itself."""
        return scene

    def save(self, state: SceneStart) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> SceneStart:
        """The scene itself."""
        return scene


AnyStage = Stage[Any, Any, Any]


class Restorer(Protocol):
    """A model set up for one task and scale.

    `stages` by name (such as encode, generate, decode), in their order, one to three.  Each runs in a thread
    of its own where the driver has threads.  A system whose decoder feeds its generator is one stage.
    """

    schedule: ChunkSchedule
    scale: int
    stages: Mapping[str, AnyStage]
