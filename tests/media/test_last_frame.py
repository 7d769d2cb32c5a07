"""The last picture of a result is shown as long as the source's."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.clips import read
from tests.media.test_write import frames, target
from vrx.media.frame import Kind, Layout
from vrx.media.last_frame import parse_duration_tag
from vrx.media.segments import Segment, join_segments, segment_target
from vrx.media.write import Writer

TIMES = [0, 40, 80, 120, 160, 200]
YUV = Layout(Kind.YUV, 8, 1, 1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("end", [Fraction(3), Fraction(24, 100), Fraction(21, 100)])
def test_the_last_frame_is_held_and_all_else_stays(tmp_path: Path, name: str, end: Fraction) -> None:
    where = target(tmp_path / name, "h264", YUV)
    with Writer(where) as writer:
        for frame in frames(TIMES, YUV):
            writer.write(frame)
        writer.finish(end)
    found = read(tmp_path / name)
    assert [round(time * 1000) for time in found.times] == TIMES
    assert found.duration == pytest.approx(float(end), abs=0.011)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_joined_parts_end_alike(tmp_path: Path) -> None:
    where = target(tmp_path / "a.mp4", "h264", YUV)
    parts = []
    for number, times in enumerate((TIMES[:3], TIMES[3:])):
        begin = Fraction(times[0], 1000)
        path = tmp_path / f"{number:06d}.mp4"
        with Writer(segment_target(where, path, begin)) as writer:
            for frame in frames(times, YUV):
                writer.write(frame)
            writer.finish()
        parts.append(Segment(path, 3, begin))
    join_segments(parts, where, Fraction(2))
    found = read(tmp_path / "a.mp4")
    assert [round(time * 1000) for time in found.times] == TIMES
    assert found.duration == pytest.approx(2, abs=0.011)


def test_an_end_before_the_last_frame_changes_nothing(tmp_path: Path) -> None:
    where = target(tmp_path / "a.mp4", "h264", YUV)
    with Writer(where) as writer:
        for frame in frames(TIMES, YUV):
            writer.write(frame)
        writer.finish(Fraction(1, 10))
    with av.open(str(tmp_path / "a.mp4")) as box:
        assert float((box.duration or 0) / av.time_base) == pytest.approx(0.24, abs=0.002)


@pytest.mark.parametrize(("tag", "value"), [("00:01:03.400000000", Fraction(317, 5)), ("", None), ("soon", None)])
def test_durations_of_matroska_are_read(tag: str, value: Fraction | None) -> None:
    assert parse_duration_tag(tag) == value
