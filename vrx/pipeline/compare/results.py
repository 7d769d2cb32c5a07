"""What a comparison found."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import overload

from torch import Tensor

from vrx.events import Note
from vrx.models.embedded.damage import SceneDamage
from vrx.pipeline.compare.excerpt import Excerpt
from vrx.pipeline.compare.measuring import FRAME_FIGURES, Figures, Means
from vrx.pipeline.compare.placing import Placement, Region


@dataclass(frozen=True)
class Video:
    """One of the compared videos, and how it was brought to the first one's clock and place.

    `stream`: its number in the file; `size` (width, height); `delay` in frames of the first video; `left_over`:
    frames without a counterpart; `transfer`: ffmpeg's name of its transfer function, empty where untagged; `aspect`:
    width by height of a pixel, 0 where unknown.
    """

    path: str
    stream: int
    size: tuple[int, int]
    delay: int
    placement: Placement
    left_over: int = 0
    transfer: str = ""
    aspect: Fraction = Fraction(0)

    @property
    def shape(self) -> Fraction:
        """Width by height of a picture as it is shown."""
        return Fraction(*self.size) * (self.aspect or 1)


@dataclass(frozen=True)
class FrameResult:
    """Figures of every video for one frame; `number` counts from 0 in the first video, `time` in seconds.

    `scene` counts from 0.
    """

    number: int
    time: Fraction
    scene: int
    figures: tuple[Figures, ...]


class FrameTable(Sequence[FrameResult]):
    """Results of all frames, of `videos` videos each: a few hundred bytes a frame, whatever the length."""

    def __init__(self, videos: int) -> None:
        self._videos = videos
        self._numbers, self._scenes = array("q"), array("q")
        self._times: list[Fraction] = []
        self._values = array("d")  # [frames, videos, FRAME_FIGURES], NaN where there is none

    @property
    def _stride(self) -> int:
        return self._videos * len(FRAME_FIGURES)

    def append(self, frame: FrameResult) -> None:
        """One frame more."""
        assert len(frame.figures) == self._videos
        self._numbers.append(frame.number)
        self._scenes.append(frame.scene)
        self._times.append(frame.time)
        for figures in frame.figures:
            values = (getattr(figures, name) for name in FRAME_FIGURES)
            self._values.extend(math.nan if value is None else value for value in values)

    def fill(self, video: int, name: str, values: Sequence[float]) -> None:
        """One figure of one video in every frame."""
        assert len(values) == len(self)
        for place, value in enumerate(values):
            self._values[place * self._stride + video * len(FRAME_FIGURES) + FRAME_FIGURES.index(name)] = value

    def column(self, video: int, name: str) -> array[float]:
        """One figure of one video, NaN where there is none."""
        return self._values[video * len(FRAME_FIGURES) + FRAME_FIGURES.index(name) :: self._stride]

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> FrameResult: ...
    @overload
    def __getitem__(self, place: slice) -> list[FrameResult]: ...
    def __getitem__(self, place: int | slice) -> FrameResult | list[FrameResult]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        row = self._values[place * self._stride : (place + 1) * self._stride]
        width = len(FRAME_FIGURES)
        figures = tuple(to_figures(row[video * width : (video + 1) * width]) for video in range(self._videos))
        return FrameResult(self._numbers[place], self._times[place], self._scenes[place], figures)

    def __iter__(self) -> Iterator[FrameResult]:
        return (self[place] for place in range(len(self)))


def to_figures(values: Sequence[float]) -> Figures:
    """Figures of one frame from numbers, NaN where there is none."""
    pairs = zip(FRAME_FIGURES, values, strict=True)
    return Figures(**{name: value for name, value in pairs if not math.isnan(value)})


@dataclass(frozen=True)
class Shot:
    """Pictures of all videos at a frame, colors [3, H, W] in 0..1; `difference` of the last two.

    `scene` counts from 0.
    """

    number: int
    time: Fraction
    scene: int
    difference: float
    pictures: tuple[Tensor, ...]


@dataclass(frozen=True)
class Comparison:
    """`videos[0]` is what the others are measured against: the truth if `referenced`, else the first of two.

    `region`: what was compared, of the first video's pictures; `missing`: figures that were not measured, by name,
    with the reason; `shots`: the frame of each scene where the last two videos differ most; `profile`: the middle row
    of frames of every video, [T, W, 3] uint8 each; `damage`: of every scene, every video's as found before it was
    resized; `excerpt`: a short video of all, or why there is none.
    """

    videos: tuple[Video, ...]
    referenced: bool
    region: Region
    frames: Sequence[FrameResult]
    notes: tuple[Note, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    shots: tuple[Shot, ...] = ()
    profile: tuple[Tensor, ...] = ()
    damage: tuple[tuple[SceneDamage, ...], ...] = ()
    excerpt: Excerpt | str = ""
    overall: tuple[Figures, ...] = field(init=False)
    scenes: tuple[tuple[Figures, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        count = max((frame.scene for frame in self.frames), default=0) + 1
        sums = [[Means() for _ in self.videos] for _ in range(count + 1)]  # of every scene, then over all
        for frame in self.frames:
            for place in (frame.scene, -1):
                for means, figures in zip(sums[place], frame.figures, strict=True):
                    means.add(figures)
        *scenes, overall = (with_reference(means) for means in sums)
        object.__setattr__(self, "scenes", tuple(scenes))
        object.__setattr__(self, "overall", overall)


def with_reference(means: Sequence[Means]) -> tuple[Figures, ...]:
    """Means of every video, those of the others beside the first one's."""
    first = means[0].result()
    return (first, *(other.result(first) for other in means[1:]))
