from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vrx.media.timing import Clock, DisplayOrder

BASE, RATE = Fraction(1, 1000), Fraction(25)


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


def test_pictures_come_out_with_the_times_of_their_container() -> None:
    order = DisplayOrder()
    for dts in range(6):
        order.push(dts)
    assert [order.pop(sent) for sent in (0, 2, 3, 1, 5, 4)] == [0, 1, 2, 3, 4, 5]


def test_a_lost_picture_leaves_its_place_empty() -> None:
    order = DisplayOrder()
    for dts in range(60):
        order.push(dts)
    shown = [order.pop(sent) for sent in range(60) if sent != 3]
    assert shown[-1] == 59


def test_times_that_go_back_a_little_move_by_one_tick() -> None:
    clock = Clock(BASE, RATE)
    assert [clock.stamp(pts)[0] for pts in (100, 140, 130, 141, 180)] == [100, 140, 141, 142, 180]
