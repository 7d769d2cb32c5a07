from fractions import Fraction

import pytest

from vrx.media.clock_scan import ClockScan, Timeline


def scan(
    *packets: tuple[int, int, int], rate: int = 10, kinds: dict[int, str] | None = None, duration: int = 9_000
) -> Timeline:
    """The timeline of packets (stream, dts, byte position); stream 0 is the picture."""
    clock = ClockScan(kinds or {0: "video", 1: "audio", 2: "subtitle"}, 0, Fraction(rate))
    for stream, dts, position in packets:
        clock.add(stream, dts, dts, duration if stream < 2 else 0, position)
    return clock.timeline()


def part(start: int, position: int, count: int = 5, lead: int = 0) -> list[tuple[int, int, int]]:
    """Packets of picture and sound, a tenth of a second each; sound begins `lead` ticks before."""
    times = [(start + 9_000 * i, position + 200 * i) for i in range(count)]
    return [packet for time, at in times for packet in ((0, time, at), (1, time - lead, at + 100))]


def test_a_plain_clock_stays() -> None:
    found = scan(*part(90_000, 0, lead=1_000))
    assert found.is_continuous
    assert found.shifts[0].at(4) == (0, None)
    assert (found.begin, found.end, found.sound) == (Fraction(1), Fraction(3, 2), Fraction(89, 90))
    assert found.zero(found.begin) == Fraction(89, 90)


@pytest.mark.parametrize("second", [90_000, 9_000_000, 100_000, 0])
def test_a_clock_that_restarts_goes_on_for_all_streams(second: int) -> None:
    found = scan(*part(90_000, 0), (2, 99_000, 350), *part(second, 1_000), (2, second + 9_000, 1_350))
    shift = 90_000 + 45_000 - second
    assert not found.is_continuous
    assert [found.shifts[0].at(n)[0] for n in (4, 5)] == [0, shift]
    assert [found.shifts[1].at(n)[0] for n in (4, 5)] == [0, shift]
    assert [found.shifts[2].at(n)[0] for n in (0, 1)] == [0, shift]
    assert found.end == 2


def test_sound_of_the_old_part_ends_where_the_new_begins() -> None:
    found = scan(*part(90_000, 0), (1, 135_000, 990), *part(90_000, 1_000, lead=2_000))
    assert found.shifts[1].at(5) == (0, 133_000)
    assert found.shifts[1].at(6)[0] == 45_000
    assert found.shifts[0].at(5)[0] == 45_000


def test_much_sound_before_the_picture_is_not_given_up() -> None:
    found = scan(*part(90_000, 0), (1, 45_000, 1_000), (1, 54_000, 1_001), (1, 63_000, 1_002), *part(90_000, 1_200))
    assert found.shifts[1].at(5)[0] == found.shifts[0].at(5)[0] == 90_000


def test_a_wrap_is_no_restart() -> None:
    start = (1 << 33) - 20_000
    packets = [(stream, time % (1 << 33), at) for stream, time, at in part(start, 0, lead=1_000)]
    found = scan(*packets)
    assert [time + found.shifts[0].at(n)[0] for n, (_, time, _) in enumerate(packets[::2])] == [
        start + 9_000 * n for n in range(5)
    ]
    assert not found.is_continuous
    assert found.shifts[1].at(4)[0] == 1 << 33
    assert found.end - found.begin == Fraction(1, 2)


def test_a_picture_that_stands_while_sound_goes_on_is_no_restart() -> None:
    sound = [(1, 90_000 + 9_000 * n, 10 * n) for n in range(400)]
    found = scan((0, 90_000, 0), *sound, (0, 3_600_000, 3_900), (0, 3_609_000, 3_950), (1, 3_690_000, 4_000))
    assert found.is_continuous


@pytest.mark.parametrize(("gap", "restart"), [(450_000, False), (1_000_000, True)])
def test_a_pause_without_sound_stays_unless_it_is_long(gap: int, restart: bool) -> None:
    times = [90_000, 99_000, 108_000 + gap, 117_000 + gap]
    found = scan(*((0, time, n) for n, time in enumerate(times)), kinds={0: "video"})
    assert found.shifts[0].at(2)[0] == (-gap if restart else 0)


def test_a_picture_clock_that_alone_jumps_back_is_no_restart() -> None:
    """Sound goes on evenly: moving all would tear them apart."""
    packets = part(90_000, 0, count=10)
    torn = [
        (0, time - 27_000, at) if stream == 0 and at >= 1_000 else (stream, time, at) for stream, time, at in packets
    ]
    assert scan(*torn).shifts[1].at(9)[0] == 0


def test_pictures_of_a_whole_part_in_one_packet_of_the_file_do_not_hide_the_seam() -> None:
    """Program streams: all small pictures have the position of the first, and the sound follows."""
    one = [(0, 90_000 + 9_000 * n, 32) for n in range(5)] + [(1, 90_000 + 9_000 * n, 100 + n) for n in range(5)]
    two = [(stream, time, at + 1_000) for stream, time, at in one]
    found = scan(*one, *two)
    assert [found.shifts[1].at(n)[0] for n in (0, 4, 5)] == [0, 0, 45_000]
