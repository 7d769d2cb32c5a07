"""Compare two videos, alone or each with the one it should be."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from vrx.errors import InputError
from vrx.events import Fact, Note
from vrx.media import ffmpeg
from vrx.media.color import COEFFICIENTS, resolve_color
from vrx.media.frame import Frame
from vrx.media.read import Reader, Span
from vrx.pipeline.colorspace import to_rgb
from vrx.pipeline.compare.measuring import Look, Meter, difference
from vrx.pipeline.compare.pairing import Follower, Opening, Pair, find_delay, pair
from vrx.pipeline.compare.placing import ALIKE, Placement, Region, place
from vrx.pipeline.compare.results import Comparison, FrameResult, Shot, Video

RGB_WEIGHTS = COEFFICIENTS["smpte170m"]  # of luma, for pictures that are stored as RGB: as papers have it
CPU = torch.device("cpu")
MOST_SHOTS = 4
MOST_ROWS = 4000  # frames that the temporal profile shows


def compare(paths: Sequence[Path], referenced: bool) -> Comparison:
    """Compare videos or pictures; the first is the truth if `referenced`, else the first of two.

    Raises InputError for what cannot be read or shows nothing in common.
    """
    notes: list[Note] = []
    delays = find_delays(paths)
    with ExitStack() as stack:
        leader, *others = (stack.enter_context(open_upright(path, notes)) for path in paths)
        followers = [
            Follower(reader, Fraction(delay) / leader.info.video.rate)
            for reader, delay in zip(others, delays[1:], strict=True)
        ]
        walk = Walk(luma_weights(leader), referenced)
        count = 0
        for item in pair(leader, followers):
            walk.add(item)
            count += 1
        if not count:
            raise InputError(f"{paths[0]} and {paths[-1]} have no frames at the same times", "See: vrx info")
        spare = [walk.left_out, *(follower.left_over for follower in followers)]
        sizes = [leader.size, *(reader.size for reader in others)]
        streams = [leader.info.video.index, *(reader.info.video.index for reader in others)]
    found = zip(map(str, paths), streams, sizes, delays, walk.placements, spare, strict=True)
    videos = tuple(Video(*values) for values in found)
    return Comparison(
        videos,
        referenced,
        walk.region,
        add_vmaf(videos, walk),
        (*notes, *remarks(videos, walk.region)),
        walk.shots(),
        walk.profile(),
    )


def open_upright(path: Path, notes: list[Note]) -> Reader:
    """A video whose pictures come as they are shown."""
    reader = Reader(path, Span(), notes.append)
    reader.make_upright()
    return reader


def find_delays(paths: Sequence[Path]) -> list[int]:
    """By how many frames each video's content comes early (above 0) or late; the first has none."""
    openings = []
    for path in paths:
        with open_upright(path, []) as reader:
            openings.append(Opening.read(reader))
    return [0, *(find_delay(openings[0], other) for other in openings[1:])]


def common_size(sizes: Sequence[tuple[int, int]], referenced: bool) -> tuple[int, int]:
    """Width and height at which videos are compared: the truth's, or those of the larger of two of one shape."""
    first, *others = sizes
    alike = [size for size in others if abs(size[0] * first[1] / (size[1] * first[0]) - 1) <= ALIKE]
    return first if referenced else max([first, *alike], key=lambda size: size[0] * size[1])


def luma_weights(reader: Reader) -> tuple[float, float]:
    """Weights of red and blue in a video's luma; all others are measured by the same."""
    matrix = resolve_color(reader.color, reader.layout, reader.size).matrix
    return COEFFICIENTS.get(str(matrix), RGB_WEIGHTS)


class Walk:
    """Goes over the pairs: finds out how the pictures lie, then measures, and keeps what will be shown."""

    def __init__(self, weights: tuple[float, float], referenced: bool) -> None:
        self._weights, self._referenced, self._meter = weights, referenced, Meter(referenced)
        self.placements: list[Placement] = []
        self.region = Region(0, 0, 0, 0)
        self.frames: list[FrameResult] = []
        self._shots: dict[int, Shot] = {}
        self._rows: list[list[Tensor]] = []
        self._scene = self._last = 0

    def add(self, item: Pair) -> None:
        """One frame of every video."""
        pictures = [to_rgb(frame, CPU)[0] for frame in item.frames]
        if not self.frames:
            self._begin(pictures, item.frames)
        if item.cut:
            self._scene += bool(self.frames)
            self._meter.cut()
        placed = [p.resize(picture) for p, picture in zip(self.placements, pictures, strict=True)]
        cut = [self.region.cut(picture, p) for p, picture in zip(self.placements, placed, strict=True)]
        looks = [Look.of(colors, self._weights) for colors in cut]
        figures = tuple(self._meter.measure(looks))
        self.frames.append(FrameResult(item.number, item.time, self._scene, figures))
        self._last = item.number
        self._keep(item, looks)

    @property
    def left_out(self) -> int:
        """Frames of the first video that were not compared, up to the last that was."""
        return self._last + 1 - len(self.frames)

    def _begin(self, pictures: list[Tensor], frames: Sequence[Frame]) -> None:
        size = common_size([(frame.width, frame.height) for frame in frames], self._referenced)
        first = Placement(size)
        canvas = first.resize(pictures[0])
        self.placements = [first, *(place(canvas, other) for other in pictures[1:])]
        self.region = Region.common(size, self.placements)
        if min(self.region.size) < 1:
            raise InputError("the pictures have no part in common", "See: vrx info")
        self._rows = [[] for _ in pictures]

    def _keep(self, item: Pair, looks: Sequence[Look]) -> None:
        apart = difference(*looks[-2:])
        known = self._shots.get(self._scene)
        if known is None or apart > known.difference:
            colors = tuple(look.colors.clamp(0, 1) for look in looks)
            self._shots[self._scene] = Shot(item.number, item.time, apart, colors)
            if len(self._shots) > MOST_SHOTS:
                del self._shots[min(self._shots, key=lambda scene: self._shots[scene].difference)]
        if len(self.frames) <= MOST_ROWS:
            middle = looks[0].luma.shape[0] // 2
            for rows, look in zip(self._rows, looks, strict=True):
                rows.append((look.colors[:, middle].T.clamp(0, 1) * 255).round().to(torch.uint8))

    def shots(self) -> tuple[Shot, ...]:
        """Where the last two videos differ most, in order of time."""
        return tuple(sorted(self._shots.values(), key=lambda shot: shot.number))

    def profile(self) -> tuple[Tensor, ...]:
        """The middle row of every frame, one picture a video."""
        return tuple(torch.stack(rows) for rows in self._rows)


def add_vmaf(videos: Sequence[Video], walk: Walk) -> tuple[FrameResult, ...]:
    """The frames with VMAF, where this ffmpeg computes it and the videos lie on each other as they are."""
    frames = list(walk.frames)
    first = videos[0]
    for number, video in enumerate(videos[1:], start=1):
        plain = video.placement == first.placement and not video.delay
        if not plain or first.left_over or video.left_over or len(frames) < 2:
            continue
        pair = ((Path(first.path), first.stream), (Path(video.path), video.stream))
        scores = ffmpeg.vmaf(*pair, first.placement.size)
        if len(scores) == len(frames):
            frames = [with_vmaf(frame, number, score) for frame, score in zip(frames, scores, strict=True)]
    return tuple(frames)


def with_vmaf(frame: FrameResult, number: int, score: float) -> FrameResult:
    """A frame's results with one video's VMAF."""
    figures = list(frame.figures)
    figures[number] = replace(figures[number], vmaf=score)
    return replace(frame, figures=tuple(figures))


def remarks(videos: Sequence[Video], region: Region) -> list[Note]:
    """What was done to bring the videos together, and what was left out."""
    first, found = videos[0], []
    for video in videos:
        facts: dict[str, Fact] = {"path": video.path}
        if video.delay:
            early = "early" if video.delay > 0 else "late"
            text = f"{video.path}: its pictures come {abs(video.delay)} frames {early}; compared with those they match"
            found.append(Note("delay-found", text, {**facts, "frames": video.delay}))
        if video.placement.size != first.placement.size and (video.placement.left or video.placement.top):
            text = f"{video.path}: a part of the picture; {describe(region)} are compared"
            found.append(Note("compared-part", text, facts))
        elif video.placement.left or video.placement.top:
            text = f"{video.path}: moved by {video.placement.left}, {video.placement.top} pixels to lie on {first.path}"
            found.append(Note("shift-found", text, facts))
        if video.size != video.placement.size:
            width, height = video.placement.size
            text = f"{video.path}: resized to {width}x{height} for the comparison"
            found.append(Note("compared-resized", text, facts))
    for video in videos:
        if video.left_over:
            text = f"{video.path}: {video.left_over} frames have no counterpart at their times"
            found.append(Note("frames-left-over", text, {"path": video.path, "frames": video.left_over}))
    return found


def describe(region: Region) -> str:
    """A region in words."""
    return f"columns {region.left} to {region.right - 1}, rows {region.top} to {region.bottom - 1}"
