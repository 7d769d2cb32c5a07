"""What the pipeline may ask of a restoring system: its schedule, and three stages with their states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

State = Any  # a stage's own; only that stage looks inside


@dataclass(frozen=True)
class ChunkSchedule:
    """How many frames a system takes first and then, and which counts its codec can hold.

    A chunk of n frames is padded until (n - `first_offset`) % `multiple` == 0 in a scene's first chunk
    and n % `multiple` == 0 after it: Wan's causal codec has multiple 4 and first offset 1.  The first
    chunk is padded to `least` at least.  `ahead` frames of the scene after the chunk come along to be
    looked at: FlashVSR's features lead its pictures by four frames.
    """

    first: int
    next: int
    multiple: int = 1
    first_offset: int = 0
    least: int = 0
    ahead: int = 0

    def __post_init__(self) -> None:
        if self.padding(self.first, True) or self.padding(self.next, False):
            raise ValueError(f"chunks of {self.first} and {self.next} frames do not fit multiples of {self.multiple}")

    def size(self, index: int) -> int:
        """Frames of a scene's chunk number `index`."""
        return self.next if index else self.first

    def padding(self, frames: int, first: bool) -> int:
        """Frames to add to a short last chunk."""
        if not first:
            return -frames % self.multiple
        short = max(0, self.least - frames)
        return short + -(frames + short - self.first_offset) % self.multiple


@dataclass(frozen=True)
class SceneStart:
    """What a stage learns when a scene begins: sizes as (height, width) of one frame."""

    number: int
    source: tuple[int, int]
    target: tuple[int, int]


@dataclass
class Pixels:
    """A chunk on its way through the stages.

    `frames`: [T, 3, H, W] float in 0..1 on the device.  `masks`: [T, 1, H, W] 1 where to fill, or None.
    `ahead`: [A, 3, H, W] frames that follow, where the schedule asks for them.
    `refresh`: frames that become the reference of the guidance; a scene's first does, whether it is among them or not.
    `carry` is what decode needs of encode; `latents` what generate works on; `notes` are for the user.
    """

    frames: Tensor
    masks: Tensor | None
    refresh: frozenset[int]
    ahead: Tensor | None = None
    latents: Tensor | None = None
    carry: dict[str, Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Stage(Protocol):
    """One of encode, generate, decode.  Does no threading; several scenes never share a state."""

    def start(self, scene: SceneStart) -> State:
        """A fresh state."""

    def step(self, chunk: Pixels, state: State) -> tuple[Pixels, State]:
        """One chunk on; the old state is spent."""

    def save(self, state: State) -> dict[str, Tensor]:
        """The state as tensors, independent of later steps."""

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> State:
        """The state that `save` gave."""


class Restorer(Protocol):
    """A system that restores: three stages, and what they need to know of a stream's shape as data."""

    name: str
    schedule: ChunkSchedule
    scale: int
    encode: Stage
    generate: Stage
    decode: Stage
