"""Streaming scene detection with PySceneDetect's content detector, fed one frame at a time.

Frames come out in order, a few frames late, each with the boundary it starts: a detector may look back.
Counts frames, never seconds, so variable frame rates do not move a cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scenedetect import ContentDetector, FrameTimecode

from vrx.media.frame import Frame
from vrx.scenes.chroma_noise import ChromaNoise, blur
from vrx.scenes.thumbnail import make_thumbnail

CUT_THRESHOLD = 27.0  # content score; PySceneDetect's default
MIN_SCENE_FRAMES = 15  # PySceneDetect's default: of flashes closer together only the first is a cut
REFRESH_AFTER = 15  # frames that a reference is used at least (InfVSR, A.3)
REFRESH_EVERY = 4  # frames between checks of the reference
NOMINAL_RATE = Fraction(25)  # the detectors require one; only frame numbers are used


class Boundary(Enum):
    """What begins at a frame."""

    NONE = "none"
    SOFT = "soft"  # the picture has drifted away from the reference: refresh the guidance
    HARD = "hard"  # a new scene: reset the stream state


@dataclass(frozen=True)
class SceneFrame:
    """A frame and the boundary it starts."""

    frame: Frame
    boundary: Boundary


@dataclass(frozen=True)
class Scene:
    """Frames `start` to before `end`, counted from 0, with their times in seconds; `number` counts from 1."""

    number: int
    start: int
    end: int
    start_time: Fraction
    end_time: Fraction


def detect_cuts(frames: Iterator[Frame], threshold: float = CUT_THRESHOLD) -> Iterator[SceneFrame]:
    """Every frame with its boundary: a hard cut, an outdated reference, or none; buffers MIN_SCENE_FRAMES + 1 frames.

    The first frame begins a scene and has no boundary.
    """
    buffered: deque[tuple[int, Frame, NDArray[np.uint8]]] = deque()
    cuts, references = CutDetector(threshold), ReferenceTracker(threshold)
    number = 0
    for number, frame in enumerate(frames):
        picture = make_thumbnail(frame)
        cuts.add(number, picture)
        buffered.append((number, frame, picture))
        if len(buffered) > MIN_SCENE_FRAMES:
            yield references.update(*buffered.popleft(), cuts)
    cuts.finish(number)
    while buffered:
        yield references.update(*buffered.popleft(), cuts)


def apply_cuts(frames: Iterator[Frame], cuts: frozenset[int]) -> Iterator[SceneFrame]:
    """Every frame, with hard cuts at the given frame numbers only."""
    for number, frame in enumerate(frames):
        yield SceneFrame(frame, Boundary.HARD if number and number in cuts else Boundary.NONE)


def group_scenes(frames: Iterator[SceneFrame]) -> Iterator[Scene]:
    """The scenes between hard cuts."""
    first, count = 0, 0
    number = 1
    begin = end = last = Fraction(0)
    for count, item in enumerate(frames, start=1):
        time = item.frame.time
        if count == 1:
            begin = time
        if item.boundary is Boundary.HARD:
            yield Scene(number, first, count - 1, begin, time)
            number, first, begin = number + 1, count - 1, time
        end = time + (time - last if count > 1 else Fraction(0))
        last = time
    if count:
        yield Scene(number, first, count, begin, end)


class CutDetector:
    """Cuts by color and by luma; `is_cut` uses color only at frames where chroma noise permits."""

    def __init__(self, threshold: float) -> None:
        self.noise = ChromaNoise(MIN_SCENE_FRAMES)
        self._by_color = ContentCuts(threshold, luma_only=False)
        self._by_luma = ContentCuts(threshold, luma_only=True)

    def add(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Process the next frame's thumbnail."""
        self.noise.add(number, picture)
        self._by_color.add(number, picture)
        self._by_luma.add(number, blur(picture))

    def finish(self, number: int) -> None:
        """Report cuts pending at the end of the stream, whose last frame is `number`."""
        self._by_color.finish(number)
        self._by_luma.finish(number)

    def is_cut(self, number: int) -> bool:
        """Whether a scene begins at a frame, at most MIN_SCENE_FRAMES before the newest."""
        found = self._by_color if self.noise.is_color_reliable(number) else self._by_luma
        return number > 0 and number in found.cuts


class ContentCuts:
    """PySceneDetect's content detector and the frame numbers of its latest `cuts`."""

    def __init__(self, threshold: float, luma_only: bool) -> None:
        self.cuts: set[int] = set()
        self._detector = ContentDetector(threshold, min_scene_len=MIN_SCENE_FRAMES, luma_only=luma_only)
        # the first scene may be shorter than MIN_SCENE_FRAMES
        self._first_scene = ContentDetector(threshold, min_scene_len=0, luma_only=luma_only)

    def add(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Process the next frame's thumbnail."""
        self.cuts.update(find_cuts(self._detector, number, picture))
        if number < MIN_SCENE_FRAMES:
            self.cuts.update(find_cuts(self._first_scene, number, picture))
        self.cuts = {cut for cut in self.cuts if cut > number - 2 * MIN_SCENE_FRAMES}

    def finish(self, number: int) -> None:
        """Report cuts pending at the end of the stream, whose last frame is `number`."""
        self.cuts.update(cut.frame_num for cut in self._detector.post_process(FrameTimecode(number, NOMINAL_RATE)))


class ReferenceTracker:
    """Whether the scene's reference frame still resembles the picture (InfVSR, A.3)."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._number = 0
        self._picture: NDArray[np.uint8] | None = None

    def update(self, number: int, frame: Frame, picture: NDArray[np.uint8], cuts: CutDetector) -> SceneFrame:
        """The next frame with its boundary, given all cuts found so far; a boundary makes it the reference."""
        boundary = Boundary.NONE
        if cuts.is_cut(number):
            boundary = Boundary.HARD
        elif self.is_stale(number, picture, use_color=cuts.noise.is_color_reliable(number)):
            boundary = Boundary.SOFT
        if boundary is not Boundary.NONE or self._picture is None:
            self._number, self._picture = number, picture
        return SceneFrame(frame, boundary)

    def is_stale(self, number: int, picture: NDArray[np.uint8], use_color: bool) -> bool:
        """Whether the reference is due for a check at frame `number` and differs from its picture like a cut."""
        age = number - self._number
        if self._picture is None or age < REFRESH_AFTER or age % REFRESH_EVERY:
            return False
        if self._picture.shape != picture.shape:
            return True
        detector = ContentDetector(threshold=self._threshold, min_scene_len=0, luma_only=not use_color)
        reference, current = (p if use_color else blur(p) for p in (self._picture, picture))
        find_cuts(detector, 0, reference)
        return bool(find_cuts(detector, 1, current))


def find_cuts(detector: ContentDetector, frame: int, picture: NDArray[np.uint8]) -> list[int]:
    """Frame numbers of the cuts that a detector reports with this frame."""
    found = detector.process_frame(FrameTimecode(frame, NOMINAL_RATE), picture)
    return [cut.frame_num for cut in found]
