"""Chosen parts begin with the picture asked for, whatever a container's seek gives."""

from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import joined, number_of, write_counted
from vrx.events import Note
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.read import Reader, Span

RATE = 25
MPEG2 = "-c:v mpeg2video -bf 2 -g 10 -c:a mp2"
H264 = "-c:v libx264 -preset fast -crf 8 -bf 2 -g 10"
OPEN = f"{H264} -x264-params open-gop=1:scenecut=0"
LATE = "-output_ts_offset 43211"
CONTAINERS = {
    "a.ts": f"{H264} {LATE}",
    "a.m2ts": OPEN,
    "a.mpg": f"{MPEG2} -f mpeg",
    "a.vob": f"{MPEG2} -f vob",
    "a.mp4": OPEN,
    "a.mkv": OPEN,
    "a.flv": H264,
    "a.avi": H264,
    "a.wmv": "-c:v wmv2 -g 10",
    "a.webm": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -g 10",
    "a.h264": f"-an {H264}",
    "a.hevc": "-an -c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=10",
    "a.m2v": f"-an {MPEG2}",
}


def shown(path: Path, span: Span, notes: list[Note] | None = None) -> list[tuple[Fraction, int]]:
    """Times after the first picture of the file, and numbers of the frames of a part."""
    heard: list[Note] = [] if notes is None else notes
    with Reader(path, span, heard.append) as reader:
        return [(frame.time - reader.origin, number_of(frame.planes[0])) for frame in reader.frames()]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_part_begins_with_the_frame_asked_for(tmp_path: Path, name: str) -> None:
    path = write_counted(tmp_path / name, frames=30, rate=RATE, words=CONTAINERS[name])
    whole = shown(path, Span())
    assert [number for _, number in whole] == list(range(30))
    assert [float(time) for time, _ in whole] == pytest.approx([n / RATE for n in range(30)], abs=2e-3)
    for first in (1, 9, 13, 26):
        assert shown(path, Span(start=whole[first][0], frames=2)) == whole[first : first + 2]


@pytest.mark.parametrize(("suffix", "words"), [("ts", H264), ("vob", f"{MPEG2} -f vob")])
def test_parts_of_a_joined_file_are_counted_on_one_clock(tmp_path: Path, suffix: str, words: str) -> None:
    one = write_counted(tmp_path / f"1.{suffix}", rate=RATE, words=words)
    two = write_counted(tmp_path / f"2.{suffix}", 12, rate=RATE, words=words)
    both = joined(tmp_path / f"both.{suffix}", one, two)
    notes: list[Note] = []
    whole = shown(both, Span(), notes)
    assert [number for _, number in whole] == list(range(24))
    assert [float(time) for time, _ in whole] == pytest.approx([n / RATE for n in range(24)], abs=1e-3)
    assert notes == []
    assert shown(both, Span(start=whole[15][0], frames=2)) == whole[15:17]


def test_a_raw_stream_has_the_rate_it_gives(tmp_path: Path) -> None:
    path = write_counted(tmp_path / "a.h264", rate=10, words=f"-an {H264}")
    assert [float(time) for time, _ in shown(path, Span())] == pytest.approx([n / 10 for n in range(12)])


def test_the_last_picture_is_shown_as_long_as_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    source = "testsrc=size=64x48:rate=10:duration=0.4,settb=1/100,setpts=N*10"
    FFmpegProcess(["-y", "-f", "lavfi", "-i", source, "-final_delay", "300", str(path)]).finish()
    notes: list[Note] = []
    with Reader(path, Span(), notes.append) as reader:
        times = [frame.time for frame in reader.frames()]
        assert reader.end_time == times[-1] + 3
    assert notes == []


def test_notes_are_made_once(tmp_path: Path) -> None:
    notes: list[Note] = []
    shown(write_counted(tmp_path / "a.h264", words=f"-an {H264}"), Span(), notes)
    assert len(notes) == 1
