"""What a comparison found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from torch import Tensor

from vrx.events import Note
from vrx.pipeline.compare.measuring import Figures, mean, with_ratio
from vrx.pipeline.compare.placing import Placement, Region


@dataclass(frozen=True)
class Video:
    """One of the compared videos, and how it was brought to the first one's clock and place.

    `stream`: its number in the file; `size` (width, height); `delay` in frames of the first video; `left_over`:
    frames without a counterpart.
    """

    path: str
    stream: int
    size: tuple[int, int]
    delay: int
    placement: Placement
    left_over: int = 0


@dataclass(frozen=True)
class FrameResult:
    """Figures of every video for one frame; `number` counts from 0 in the first video, `time` in seconds."""

    number: int
    time: Fraction
    scene: int
    figures: tuple[Figures, ...]


@dataclass(frozen=True)
class Shot:
    """Pictures of all videos at a frame, colors [3, H, W] in 0..1; `difference` of the last two."""

    number: int
    time: Fraction
    difference: float
    pictures: tuple[Tensor, ...]


@dataclass(frozen=True)
class Comparison:
    """`videos[0]` is what the others are measured against: the truth if `referenced`, else the first of two.

    `region`: what was compared, of the first video's pictures; `shots`: the frame of each scene where the last two
    videos differ most; `profile`: the middle row of every frame of every video, [T, W, 3] uint8 each.
    """

    videos: tuple[Video, ...]
    referenced: bool
    region: Region
    frames: tuple[FrameResult, ...]
    notes: tuple[Note, ...] = ()
    shots: tuple[Shot, ...] = ()
    profile: tuple[Tensor, ...] = ()
    overall: tuple[Figures, ...] = field(init=False)
    scenes: tuple[tuple[Figures, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "overall", self.means(self.frames))
        count = max((frame.scene for frame in self.frames), default=0) + 1
        scenes = [self.means([f for f in self.frames if f.scene == scene]) for scene in range(count)]
        object.__setattr__(self, "scenes", tuple(scenes))

    def means(self, frames: Sequence[FrameResult]) -> tuple[Figures, ...]:
        """Of every video over some frames."""
        found = [mean(frame.figures[number] for frame in frames) for number in range(len(self.videos))]
        return tuple(with_ratio(figures, found[0]) for figures in found)
