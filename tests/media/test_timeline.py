from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from vrx.media.clock_scan import TimestampShifts
from vrx.media.timeline import shift_packet, simplify


def packet(dts: int | None, pts: int | None, duration: int = 0, time_base: Fraction = Fraction(1, 90_000)) -> Any:
    return SimpleNamespace(dts=dts, pts=pts, duration=duration, time_base=time_base)


def test_whole_factors_become_integers() -> None:
    assert type(simplify(Fraction(90, 1))) is int
    assert simplify(Fraction(1, 3)) == Fraction(1, 3)


def test_packets_are_shifted_by_the_part_they_belong_to() -> None:
    shifts = TimestampShifts(numbers=(0, 2), ticks=(0, 900), ends=(None, None))
    first, second = packet(0, 3), packet(100, 103)
    assert shift_packet(first, shifts, 1)
    assert shift_packet(second, shifts, 2)
    assert ((first.dts, first.pts), (second.dts, second.pts)) == ((0, 3), (1000, 1003))


def test_shifts_are_scaled_to_the_time_base_of_the_stream() -> None:
    item = packet(10, 10, time_base=Fraction(1, 1000))
    assert shift_packet(item, TimestampShifts(ticks=(-900,)), 0)
    assert (item.dts, item.pts) == (0, 0)


@pytest.mark.parametrize(("pts", "expected"), [(990, True), (1010, False)])
def test_sound_that_overlaps_the_next_part_is_dropped(pts: int, expected: bool) -> None:
    shifts = TimestampShifts(ends=(1000,))
    assert shift_packet(packet(pts, pts), shifts, 0) is expected


def test_timestamps_far_from_their_decoding_time_are_removed() -> None:
    item = packet(0, 5000)
    assert shift_packet(item, TimestampShifts(reach=1000), 0)
    assert item.pts is None
