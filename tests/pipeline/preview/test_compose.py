"""Frames of results are shown at the source's times, whatever their rate and how their times are rounded."""

from fractions import Fraction

import numpy as np
import pytest

from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.pipeline.preview.compose import SLACK, Track

TICK = Fraction(1, 25)


def frames(times: list[Fraction]) -> list[Frame]:
    plane = np.zeros((2, 2), np.uint8)
    return [Frame((plane,), Layout(Kind.GRAY, 8), Color(), round(time * 90_000), Fraction(1, 90_000)) for time in times]


def shown(result: list[Fraction], start: Fraction, at: list[Fraction]) -> list[int]:
    made = frames(result)
    track = Track(iter(made), start, SLACK * TICK)
    return [made.index(track.at(time)) for time in at]


def test_frame_by_frame() -> None:
    times = [n * TICK for n in range(8)]
    assert shown(times, 10 * TICK, [(10 + n) * TICK for n in range(3, 8)]) == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("digits", [3, 2])
def test_times_that_a_container_rounds(digits: int) -> None:
    rate = Fraction(24000, 1001)
    times = [Fraction(round(n / rate * 10**digits), 10**digits) for n in range(40)]
    assert shown(times, 7 / rate, [(7 + n) / rate for n in range(40)]) == list(range(40))


def test_a_result_of_another_rate() -> None:
    twice, fewer = [n * TICK / 2 for n in range(20)], [n * TICK * 5 / 4 for n in range(8)]
    at = [n * TICK for n in range(10)]
    assert shown(twice, Fraction(0), at) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert shown(fewer, Fraction(0), at) == [0, 0, 1, 2, 3, 4, 4, 5, 6, 7]


def test_the_last_frame_stays() -> None:
    assert shown([Fraction(0)], Fraction(0), [Fraction(0), TICK, 9 * TICK]) == [0, 0, 0]
