"""Mean and deviation of luma, over videos of any length."""

import numpy as np
import pytest

from vrx.pipeline.mask.samples import LightMoments

SIZE = (6, 4)


@pytest.mark.parametrize("level", [17, 235])
def test_light_that_stays_for_an_hour_does_not_deviate(level: int) -> None:
    moments, luma = LightMoments(SIZE), np.full(SIZE[::-1], level, np.uint8)
    for _ in range(8 * 3600):
        moments.add(luma)
    assert (moments.mean() == level).all()
    assert moments.deviation().max() < 0.01


def test_samples_count_where_they_are_shown_until_they_are_forgotten() -> None:
    moments, shown = LightMoments(SIZE), np.zeros(SIZE[::-1], bool)
    shown[1:3, 2:5] = True
    for number in range(8):
        moments.add(np.full(SIZE[::-1], 100 + 6 * (number % 2), np.uint8), shown)
    assert np.array_equal(moments.count, 8 * shown)
    assert np.array_equal(moments.mean(), 103 * shown)
    assert np.array_equal(moments.deviation(), 3 * shown)
    again = shown.copy()
    again[1] = False
    moments.forget(again)
    moments.add(np.full(SIZE[::-1], 50, np.uint8), again)
    assert moments.count[2, 2:5].tolist() == [1] * 3
    assert moments.mean()[1:3, 2].tolist() == [103, 50]
    assert moments.deviation()[1:3, 2].tolist() == [3, 0]
