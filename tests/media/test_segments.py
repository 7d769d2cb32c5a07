"""Parts joined have the times of a result in one piece."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import read
from tests.media.test_write import frames, target
from vrx.media.frame import Frame, Kind, Layout
from vrx.media.segments import Segment, join_segments, segment_target
from vrx.media.target import Target
from vrx.media.write import Writer

YUV = Layout(Kind.YUV, 8, 1, 1)
BASE = Fraction(1, 90_000)
TICKS = [n * 3_003 + 44 * (n % 3) for n in range(24)]  # hardly ever whole milliseconds


def pictures(ticks: Sequence[int]) -> list[Frame]:
    return [replace(frame, time_base=BASE) for frame in frames(list(ticks), YUV)]


def written(where: Target, sent: Sequence[Frame]) -> None:
    with Writer(where) as writer:
        for frame in sent:
            writer.write(frame)
        writer.finish()


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("late", [0, 47])
def test_times_of_parts_are_rounded_as_those_of_the_whole(tmp_path: Path, name: str, late: int) -> None:
    codec = "ffv1" if name == "a.mkv" else "h264"
    where = replace(target(tmp_path / name, codec, YUV), time_base=BASE, offset=late * BASE)
    sent = pictures([late + tick for tick in TICKS])
    written(where, sent)
    whole = read(tmp_path / name).times
    parts = []
    for number in range(4):
        part, path = sent[6 * number : 6 * number + 6], tmp_path / f"{number:06d}{where.path.suffix}"  # type: ignore[union-attr]
        written(segment_target(where, path, part[0].time), part)
        parts.append(Segment(path, 6, part[0].time))
    join_segments(parts, replace(where, overwrite=True))
    assert read(tmp_path / name).times == whole


@pytest.mark.parametrize(("name", "base"), [("a.mkv", Fraction(1, 3000)), ("a.mp4", Fraction(1, 30))])
def test_a_part_of_matroska_has_ticks_that_hold_whole_milliseconds(tmp_path: Path, name: str, base: Fraction) -> None:
    where = replace(target(tmp_path / name, "h264", YUV), time_base=Fraction(1, 30))
    assert segment_target(where, tmp_path / "0.mkv", Fraction(1, 30)).time_base == base
