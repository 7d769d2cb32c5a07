"""Goes over the frames of several videos: how they lie, their figures, and what will be shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.errors import InputError
from vrx.media.frame import Frame
from vrx.metrics.fidelity import LumaScale
from vrx.pipeline.colorspace import to_rgb
from vrx.pipeline.compare.damage import DamageLog
from vrx.pipeline.compare.excerpt import ExcerptMaker
from vrx.pipeline.compare.measuring import Apply, Look, Meter, Perceptual, difference
from vrx.pipeline.compare.pairing import Pair
from vrx.pipeline.compare.placing import ALIKE, Placement, Region, place
from vrx.pipeline.compare.results import FrameResult, FrameTable, Shot
from vrx.pipeline.pictures import to_picture
from vrx.pipeline.screen import to_screen

CPU = torch.device("cpu")
MOST_SHOTS = 4
MOST_ROWS = 2000  # of the temporal profile; where there are more frames, every second is left out, again and again


def common_size(sizes: Sequence[tuple[int, int]], referenced: bool) -> tuple[int, int]:
    """Width and height at which videos are compared: the truth's, or those of the larger of two of one shape."""
    first, *others = sizes
    alike = [size for size in others if abs(size[0] * first[1] / (size[1] * first[0]) - 1) <= ALIKE]
    return first if referenced else max([first, *alike], key=lambda size: size[0] * size[1])


@dataclass(frozen=True)
class WalkSettings:
    """`scale`: of luma, for all videos; `transfers`: a name for each video; `perceptual`: networks that measure."""

    scale: LumaScale
    transfers: tuple[str, ...]
    referenced: bool
    perceptual: tuple[Perceptual, ...] = ()


class Profile:
    """The middle row of frames, evenly over time, [T, W, 3] uint8 a video."""

    def __init__(self, videos: int) -> None:
        self._rows: list[list[Tensor]] = [[] for _ in range(videos)]
        self._step, self._count = 1, 0

    def add(self, shown: Sequence[Tensor]) -> None:
        """A frame of every video, colors [3, H, W] in 0..1."""
        if self._count % self._step == 0:
            middle = shown[0].shape[-2] // 2
            for rows, colors in zip(self._rows, shown, strict=True):
                rows.append((colors[:, middle].T * 255).round().to(torch.uint8))
            if len(self._rows[0]) > MOST_ROWS:
                self._rows = [rows[::2] for rows in self._rows]
                self._step *= 2
        self._count += 1

    def result(self) -> tuple[Tensor, ...]:
        """One picture a video."""
        return tuple(torch.stack(rows) for rows in self._rows)


def to_colors(frame: Frame) -> Tensor:
    """A frame's colors [3, H, W] in 0..1."""
    return to_rgb(frame, CPU)[0]


class Walk:
    """Goes over the pairs: finds out how the pictures lie, then measures, and keeps what will be shown."""

    def __init__(self, settings: WalkSettings, apply: Apply = map) -> None:
        """`apply`: works on the frames of all videos, in threads or one after the other."""
        videos = len(settings.transfers)
        self._settings, self._meter = settings, Meter(videos, settings.referenced, settings.perceptual)
        self._apply = apply
        self.placements: list[Placement] = []
        self.region = Region(0, 0, 0, 0)
        self.frames = FrameTable(videos)
        self.damage, self.excerpt, self.profile = DamageLog(), ExcerptMaker(), Profile(videos)
        self.scene = 0
        self._shots: dict[int, Shot] = {}

    def add(self, item: Pair) -> None:
        """One frame of every video."""
        pictures = list(self._apply(to_colors, item.frames))
        if not self.frames:
            self._begin(pictures, item.frames)
        if item.cut or not self.frames:
            self.scene += bool(self.frames)
            self._meter.cut()
            self.damage.cut()
        self.damage.add(pictures)
        looks = list(self._apply(self._look, self.placements, pictures))
        figures = tuple(self._meter.measure(looks, self._apply))
        self.frames.append(FrameResult(item.number, item.time, self.scene, figures))
        self._show(item, looks)

    def _look(self, placement: Placement, picture: Tensor) -> Look:
        return Look.of(self.region.cut(placement.resize(picture), placement), self._settings.scale)

    def _begin(self, pictures: list[Tensor], frames: Sequence[Frame]) -> None:
        size = common_size([(frame.width, frame.height) for frame in frames], self._settings.referenced)
        first = Placement(size)
        canvas = first.resize(pictures[0])
        self.placements = [first, *(place(canvas, other) for other in pictures[1:])]
        self.region = Region.common(size, self.placements)
        if min(self.region.size) < 1:
            raise InputError("the pictures have no part in common", "See: vrx info")

    def _show(self, item: Pair, looks: Sequence[Look]) -> None:
        apart = difference(*looks[-2:])
        pairs = zip(looks, self._settings.transfers, strict=True)
        shown = tuple(to_screen(look.colors, transfer) for look, transfer in pairs)
        known = self._shots.get(self.scene)
        if known is None or apart > known.difference:
            self._shots[self.scene] = Shot(item.number, item.time, self.scene, apart, shown)
            if len(self._shots) > MOST_SHOTS:
                del self._shots[min(self._shots, key=lambda scene: self._shots[scene].difference)]
        self.profile.add(shown)
        self.excerpt.add([to_picture(colors) for colors in shown], item.number, item.time, apart)

    def shots(self) -> tuple[Shot, ...]:
        """Where the last two videos differ most, in order of time."""
        return tuple(sorted(self._shots.values(), key=lambda shot: shot.number))
