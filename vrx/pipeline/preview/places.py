"""Places worth a look, where the user names none: one with detail, one with motion, one of another scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.errors import InputError
from vrx.geometry import Box, TimeRange
from vrx.pipeline.preview.source import Source
from vrx.scenes.thumbnail import make_thumbnail
from vrx.settings import RestoreSettings

SAMPLES = 12  # places that are looked at, over the complete length
SAMPLE_FRAMES = 4  # of each
MOST_SHOWN = Fraction(1, 2)  # of the length that all places together take: a run of all is little dearer than more
COARSE = (16, 9)  # width and height of pictures that are compared to tell scenes apart
REASONS = ("detail", "motion", "scene")  # what places are chosen by, in this order


@dataclass(frozen=True)
class Place:
    """A time in seconds after the first frame, and why it was chosen; empty where the user named it."""

    time: Fraction
    reason: str = ""


@dataclass(frozen=True)
class Sample:
    """What a place shows: `detail` and `motion` in levels of 255, `scene` a coarse picture."""

    time: Fraction
    detail: float
    motion: float
    scene: NDArray[np.float32]


def choose_places(source: Source, length: Fraction | None, within: Sequence[TimeRange | Box] = ()) -> list[Place]:
    """Up to three places, in order of time, that do not overlap; the beginning where the source's length is unknown.

    Fewer where three would be most of the source.  They begin `within` these times, where the source has any of them.
    """
    if source.single or source.end is None:
        return [Place(source.begin)]
    wanted = length or 1 / source.rate
    spans = merge(source.begin, source.end, within) or [(source.begin, source.end)]
    seconds = sum((end - begin for begin, end in spans), Fraction(0))
    count = max(1, min(SAMPLES, int(seconds / wanted)))
    step = seconds / count
    times = [go(spans, max(Fraction(0), number * step + (step - wanted) / 2)) for number in range(count)]
    samples = [sample for time in times if (sample := take_sample(source, time)) is not None]
    most = max(1, int(MOST_SHOWN * seconds / length)) if length else len(REASONS)
    return sorted(pick(samples)[:most], key=lambda place: place.time) or [Place(spans[0][0])]


def masked_times(restore: RestoreSettings) -> tuple[TimeRange | Box, ...]:
    """When something is masked; empty without a mask."""
    return (*(() if restore.mask is None else (restore.mask_time or TimeRange(),)), *restore.boxes)


def merge(begin: Fraction, end: Fraction, within: Sequence[TimeRange | Box]) -> list[tuple[Fraction, Fraction]]:
    """What times have in common with those from `begin` to `end`: in order, none twice."""
    spans: list[tuple[Fraction, Fraction]] = []
    parts = ((max(begin, x.start or begin), end if x.end is None else min(end, x.end)) for x in within)
    for first, last in sorted(part for part in parts if part[0] < part[1]):
        if spans and first <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], last)
        else:
            spans.append((first, last))
    return spans


def go(spans: Sequence[tuple[Fraction, Fraction]], seconds: Fraction) -> Fraction:
    """The time after so many seconds of these times."""
    for begin, end in spans:
        if seconds < end - begin:
            return begin + seconds
        seconds -= end - begin
    return spans[-1][1]


def take_sample(source: Source, time: Fraction) -> Sample | None:
    """What a place shows; None where nothing can be read there."""
    try:
        with source.open(time, SAMPLE_FRAMES) as reader:
            pictures = [make_thumbnail(frame).astype(np.float32).mean(-1) for frame in reader.frames()]
    except InputError:
        return None
    smooth = [cv2.GaussianBlur(picture, (0, 0), 2) for picture in pictures]
    moved = [float(np.abs(after - before).mean()) for before, after in pairwise(smooth)]
    detail = np.hypot(cv2.Sobel(smooth[0], cv2.CV_32F, 1, 0), cv2.Sobel(smooth[0], cv2.CV_32F, 0, 1)).mean()
    scene = cv2.resize(smooth[0], COARSE, interpolation=cv2.INTER_AREA).astype(np.float32)
    return Sample(time, float(detail), float(np.median(moved)) if moved else 0.0, scene)


def pick(samples: list[Sample]) -> list[Place]:
    """The samples with most detail, with most motion, and of the scene that is least like those two, in this order.

    Motion and novelty count with the detail: a flash or a black picture shows little of a restoration.
    """
    chosen: list[Sample] = []
    scores: dict[str, Callable[[Sample], float]] = {
        "detail": lambda sample: sample.detail,
        "motion": lambda sample: sample.motion * sample.detail,
        "scene": lambda sample: sample.detail * min(float(np.abs(sample.scene - c.scene).mean()) for c in chosen),
    }
    places = []
    for reason in REASONS:
        rest = [sample for sample in samples if sample not in chosen]
        if rest:
            best = max(rest, key=scores[reason])
            chosen.append(best)
            places.append(Place(best.time, reason))
    return places
