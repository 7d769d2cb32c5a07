"""Streaming cut detection with PySceneDetect's detectors, fed one frame at a time.

Frames come out in order and marked, a few frames late: a detector may look back.  Counts frames, never
seconds, so variable frame rates do not move a cut.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import ContentDetector, FrameTimecode

from vrx.errors import InputError, UsageError
from vrx.files import read_text
from vrx.media.color import COEFFICIENTS, resolve_color
from vrx.media.frame import Frame, Kind
from vrx.scenes.color_noise import ColorTrust, denoise

LARGEST_LIST = 16_000_000  # bytes of a cut list
CUT_THRESHOLD = 27.0  # content score; PySceneDetect's default
LEAST_SCENE = 15  # frames; PySceneDetect's default: flashes closer together are one cut
THUMB_WIDTH = 256  # pixels; PySceneDetect looks at pictures of about this width
REFRESH_AFTER = 15  # frames that a reference lasts at least (InfVSR, A.3)
REFRESH_EVERY = 4  # frames between looks whether the reference still fits
NOMINAL_RATE = Fraction(25)  # detectors want one; only frame numbers are used


class Turn(Enum):
    """What begins at a frame."""

    NONE = "none"
    SOFT = "soft"  # the picture has drifted away from the reference: refresh the guidance
    HARD = "hard"  # a new scene: start the stream state over


@dataclass(frozen=True)
class Marked:
    """A frame and what begins with it."""

    frame: Frame
    turn: Turn


@dataclass(frozen=True)
class Scene:
    """Frames `start` to before `end`, counted from 0, and when they are shown, in seconds; `number` counts from 1."""

    number: int
    start: int
    end: int
    start_time: Fraction
    end_time: Fraction


def thumbnail(frame: Frame) -> NDArray[np.uint8]:
    """The picture as 8-bit BGR of about THUMB_WIDTH pixels a row."""
    factor = max(1, frame.width // THUMB_WIDTH)
    size = (max(1, round(frame.width / factor)), max(1, round(frame.height / factor)))
    planes = [cv2.resize(p, size, interpolation=cv2.INTER_LINEAR) for p in frame.planes[:3]]
    peak = frame.layout.peak
    if frame.layout.kind is Kind.RGB:
        stack = np.stack(planes[::-1], -1).astype(np.float32) * (255 / peak)
    elif frame.layout.kind is Kind.GRAY:
        stack = np.stack([planes[0]] * 3, -1).astype(np.float32) * (255 / peak)
    else:
        stack = to_bgr(frame, [p.astype(np.float32) for p in planes])
    picture: NDArray[np.uint8] = np.clip(np.rint(stack), 0, 255).astype(np.uint8)
    return picture


def to_bgr(frame: Frame, planes: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """YUV planes of one size, as the file holds them, to BGR 0..255."""
    color = resolve_color(frame.color, frame.layout, (frame.width, frame.height))
    red, blue = COEFFICIENTS[color.matrix]
    unit = 1 << (frame.layout.depth - 8)
    if color.full_range:
        y = planes[0] * (255 / frame.layout.peak)
        u, v = ((p - 128 * unit) * (255 / frame.layout.peak) for p in planes[1:])
    else:
        y = (planes[0] - 16 * unit) * (255 / 219 / unit)
        u, v = ((p - 128 * unit) * (255 / 224 / unit) for p in planes[1:])
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.stack([b, g, r], -1)


def fires(detector: ContentDetector, frame: int, picture: NDArray[np.uint8]) -> list[int]:
    """The cuts a detector finds with this frame, as frame numbers."""
    found = detector.process_frame(FrameTimecode(frame, NOMINAL_RATE), picture)
    return [cut.frame_num for cut in found]


class CutFinder:
    """Finds cuts by color and by brightness at once; `is_cut` says which of the two counts at a frame."""

    def __init__(self, threshold: float) -> None:
        self.trust = ColorTrust(LEAST_SCENE)
        self._by_color = CutDetector(threshold, luma_only=False)
        self._by_luma = CutDetector(threshold, luma_only=True)

    def add(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Take in the next frame's thumbnail."""
        self.trust.add(number, picture)
        self._by_color.add(number, picture)
        self._by_luma.add(number, denoise(picture))

    def finish(self, number: int) -> None:
        """Find what the last frame, `number`, leaves open."""
        self._by_color.finish(number)
        self._by_luma.finish(number)

    def is_cut(self, number: int) -> bool:
        """Whether a scene begins at a frame at most LEAST_SCENE before the newest."""
        detector = self._by_color if self.trust.trusted(number) else self._by_luma
        return number > 0 and number in detector.cuts


class CutDetector:
    """PySceneDetect's content detector of one kind, and the cuts it has found, as frame numbers."""

    def __init__(self, threshold: float, luma_only: bool) -> None:
        self.cuts: set[int] = set()
        self._steady = ContentDetector(threshold, min_scene_len=LEAST_SCENE, luma_only=luma_only)
        self._opening = ContentDetector(threshold, min_scene_len=0, luma_only=luma_only)  # the first scene may be short

    def add(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Take in the next frame's thumbnail."""
        self.cuts.update(fires(self._steady, number, picture))
        if number < LEAST_SCENE:
            self.cuts.update(fires(self._opening, number, picture))
        self.cuts = {cut for cut in self.cuts if cut > number - 2 * LEAST_SCENE}

    def finish(self, number: int) -> None:
        """Find what the last frame leaves open."""
        self.cuts.update(cut.frame_num for cut in self._steady.post_process(FrameTimecode(number, NOMINAL_RATE)))


def mark(frames: Iterator[Frame], threshold: float = CUT_THRESHOLD) -> Iterator[Marked]:
    """Mark hard cuts and worn-out references; at most LEAST_SCENE + 1 frames wait.

    The first frame begins a scene and is not marked.
    """
    waiting: deque[tuple[int, Frame, NDArray[np.uint8]]] = deque()
    finder, references = CutFinder(threshold), References(threshold)
    number = 0
    for number, frame in enumerate(frames):
        picture = thumbnail(frame)
        finder.add(number, picture)
        waiting.append((number, frame, picture))
        if len(waiting) > LEAST_SCENE:
            yield references.judge(*waiting.popleft(), finder)
    finder.finish(number)
    while waiting:
        yield references.judge(*waiting.popleft(), finder)


class References:
    """Whether the scene's reference frame still resembles the picture (InfVSR, A.3)."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._at = 0
        self._picture: NDArray[np.uint8] | None = None

    def judge(self, number: int, frame: Frame, picture: NDArray[np.uint8], finder: CutFinder) -> Marked:
        """Mark a frame, given all cuts known so far."""
        turn = Turn.NONE
        if finder.is_cut(number):
            turn = Turn.HARD
        elif self._worn(number, picture, colors=finder.trust.trusted(number)):
            turn = Turn.SOFT
        if turn is not Turn.NONE or self._picture is None:
            self._at, self._picture = number, picture
        return Marked(frame, turn)

    def _worn(self, number: int, picture: NDArray[np.uint8], colors: bool) -> bool:
        age = number - self._at
        if self._picture is None or age < REFRESH_AFTER or age % REFRESH_EVERY:
            return False
        if self._picture.shape != picture.shape:
            return True
        judge = ContentDetector(threshold=self._threshold, min_scene_len=0, luma_only=not colors)
        before, now = (p if colors else denoise(p) for p in (self._picture, picture))
        fires(judge, 0, before)
        return bool(fires(judge, 1, now))


def mark_at(frames: Iterator[Frame], cuts: frozenset[int]) -> Iterator[Marked]:
    """Mark the given cuts only; none for one scene."""
    for number, frame in enumerate(frames):
        yield Marked(frame, Turn.HARD if number and number in cuts else Turn.NONE)


def read_cuts(path: Path) -> frozenset[int]:
    """Cuts from a file: a frame number a line (`#` comments), or a scene list as CSV.

    Takes the CSV of `vrx scenes --csv` (column `start_frame`, from 0) and of PySceneDetect (column
    `Start Frame`, from 1).  Raises InputError and UsageError.
    """
    try:
        text = read_text(path, LARGEST_LIST, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the cut list {path}: {getattr(error, 'strerror', None) or 'no text'}") from error
    try:
        rows = [row for row in csv.reader(text.splitlines()) if row and not row[0].lstrip().startswith("#")]
    except csv.Error as error:
        raise UsageError(f"{path} is no cut list: {error}", "Write one frame number a line, counted from 0") from error
    offset, column = 0, 0
    for place, row in enumerate(rows):
        names = [cell.strip() for cell in row]
        for name, first in (("start_frame", 0), ("Start Frame", 1)):
            if name in names:
                offset, column, rows = first, names.index(name), rows[place + 1 :]
                break
        else:
            continue
        break
    try:
        return frozenset(int(row[column]) - offset for row in rows) - {0}
    except (ValueError, IndexError) as error:
        raise UsageError(f"{path} is no cut list", "Write one frame number a line, counted from 0") from error


def scenes(marked: Iterator[Marked]) -> Iterator[Scene]:
    """The scenes of marked frames; one where there is no cut."""
    start, number, count = 0, 1, 0
    begin = end = last = Fraction(0)
    for count, item in enumerate(marked, start=1):
        time = item.frame.time
        if count == 1:
            begin = time
        if item.turn is Turn.HARD:
            yield Scene(number, start, count - 1, begin, time)
            number, start, begin = number + 1, count - 1, time
        end = time + (time - last if count > 1 else Fraction(0))
        last = time
    if count:
        yield Scene(number, start, count, begin, end)
