from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrx.errors import UsageError
from vrx.media.timing import Clock
from vrx.settings import parse_time

BASE, RATE = Fraction(1, 1000), Fraction(25)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12.5", "25/2"), ("10s", "10"), ("1500ms", "3/2"), ("01:02:03.250", "14893/4"), ("2:05", "125"), ("0", "0")],
)
def test_times_are_exact(text: str, seconds: str) -> None:
    assert parse_time(text) == Fraction(seconds)


@pytest.mark.parametrize("text", ["", "abc", "-3", "1:2:3:4", "5 minutes", "1e9"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_time(text)


@given(st.lists(st.one_of(st.none(), st.integers(-1000, 10**6)), min_size=1, max_size=60))
def test_times_always_grow(stamps: list[int | None]) -> None:
    clock = Clock(BASE, RATE)
    found = [clock.stamp(pts)[0] for pts in stamps]
    assert all(b > a for a, b in pairwise(found))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True))
def test_good_times_are_left_alone(stamps: list[int]) -> None:
    clock = Clock(BASE, RATE)
    assert [clock.stamp(pts) for pts in sorted(stamps)] == [(pts, "") for pts in sorted(stamps)]


def test_missing_times_follow_the_rate_and_are_said() -> None:
    clock = Clock(BASE, RATE)
    assert clock.stamp(100) == (100, "")
    pts, words = clock.stamp(None)
    assert pts == 140
    assert "without a time" in words
    assert clock.origin == Fraction(1, 10)
