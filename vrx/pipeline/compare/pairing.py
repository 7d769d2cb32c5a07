"""Which frames of several videos belong together: nearest in time, by clocks that start with the first frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.media.frame import Frame
from vrx.media.read import Reader
from vrx.pipeline.colorspace import to_rgb
from vrx.scenes.detect import Boundary, detect_cuts

LOOKED_AT = 40  # frames from the start, by which a delay is found
MOST_DELAY = 10  # frames
SMALL = 48  # pixels a side of the pictures that are compared for it
CLEARLY_BETTER = 0.6  # of the error without a delay, at most
NOTICED = 1e-6  # mean squared difference, values in 0..1, below which videos agree as they are


class Follower:
    """Gives the frame of a video that is nearest to each of rising times; `delay` seconds are added to its own."""

    def __init__(self, reader: Reader, delay: Fraction = Fraction(0)) -> None:
        self._frames = reader.frames()
        self._delay, self._origin = delay, Fraction(0)
        self._current: Frame | None = None
        self._coming = next(self._frames, None)
        self._taken: Frame | None = None
        self.used = self.read = 0
        if self._coming is not None:
            self._origin = self._coming.time

    def time(self, frame: Frame) -> Fraction:
        """When a frame is shown, on the common clock."""
        return frame.time - self._origin + self._delay

    def at(self, time: Fraction, tolerance: Fraction) -> Frame | None:
        """The frame nearest to a time, None where it is further away than that, or was given before."""
        while self._coming is not None and (
            self._current is None or abs(self.time(self._coming) - time) <= abs(self.time(self._current) - time)
        ):
            self._current, self._coming = self._coming, next(self._frames, None)
            self.read += 1
        found = self._current
        if found is None or found is self._taken or abs(self.time(found) - time) > tolerance:
            return None
        self._taken = found
        self.used += 1
        return found

    @property
    def left_over(self) -> int:
        """How many frames were paired with none, those after the last pair counted too."""
        for _ in self._frames:
            self.read += 1
        self.read += self._coming is not None
        self._coming = None
        return self.read - self.used


@dataclass(frozen=True)
class Pair:
    """A frame of the leader, counted from 0 and timed from its first, with those of the others."""

    number: int
    time: Fraction
    cut: bool
    frames: tuple[Frame, ...]


class Leader:
    """The video that sets the time; `left_over`: how many of its frames were paired with none so far."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self.left_over = reader, 0

    def pairs(self, followers: list[Follower]) -> Iterator[Pair]:
        """Its frames with the nearest one of each follower; where one lacks it, the frame is left out.

        `cut`: a scene began here, or in frames left out before.
        """
        tolerance = 1 / (2 * self._reader.info.video.rate)
        origin, cut = Fraction(0), False
        for number, item in enumerate(detect_cuts(self._reader.frames())):
            origin = origin if number else item.frame.time
            cut = cut or item.boundary is Boundary.HARD
            others = [follower.at(item.frame.time - origin, tolerance) for follower in followers]
            found = tuple(frame for frame in others if frame is not None)
            if len(found) == len(followers):
                yield Pair(number, item.frame.time - origin, cut, (item.frame, *found))
                cut = False
            else:
                self.left_over += 1


def small_picture(frame: Frame) -> Tensor:
    """Brightness of a frame as SMALL x SMALL values in 0..1."""
    colors = to_rgb(frame, torch.device("cpu"))[0]
    return F.interpolate(colors.mean(0, keepdim=True)[None], (SMALL, SMALL), mode="area")[0, 0]


@dataclass(frozen=True)
class Opening:
    """The first frames of a video: when each is shown, from the first on, and small pictures [T, SMALL, SMALL]."""

    times: tuple[Fraction, ...]
    pictures: Tensor
    rate: Fraction

    @classmethod
    def read(cls, reader: Reader) -> Opening:
        """Of an open video."""
        frames = [frame for frame, _ in zip(reader.frames(), range(LOOKED_AT), strict=False)]
        times = tuple(frame.time - frames[0].time for frame in frames)
        return cls(times, torch.stack([small_picture(frame) for frame in frames]), reader.info.video.rate)


def find_delay(leader: Opening, other: Opening) -> int:
    """By how many frames another video's content comes early (above 0) or late; 0 where that is not clear.

    At least half of the shorter one's frames must then have a counterpart.
    """
    least = max(1, min(len(leader.times), len(other.times)) // 2)
    errors = {delay: opening_error(leader, other, delay, least) for delay in range(-MOST_DELAY, MOST_DELAY + 1)}
    best = min(errors, key=lambda delay: (errors[delay], abs(delay)))
    clear = errors[0] > NOTICED and errors[best] < CLEARLY_BETTER * errors[0]
    return best if clear else 0


def opening_error(leader: Opening, other: Opening, delay: int, least: int) -> float:
    """Mean squared difference, brightness left out, of the frames that a delay brings together."""
    tolerance, shift = 1 / (2 * leader.rate), delay / leader.rate
    pairs = []
    for number, time in enumerate(leader.times):
        nearest = min(range(len(other.times)), key=lambda n: abs(other.times[n] + shift - time))
        if abs(other.times[nearest] + shift - time) <= tolerance:
            pairs.append((number, nearest))
    if len(pairs) < least:
        return math.inf
    ours, theirs = (list(numbers) for numbers in zip(*pairs, strict=True))
    apart = (leader.pictures[ours] - other.pictures[theirs]).flatten(1)
    return float((apart - apart.mean(1, keepdim=True)).square().mean())
