"""Flags of interlacing that are wrong are noticed, right ones are not doubted."""

from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from tests.conftest import EXAMPLES
from vrx.events import Note
from vrx.media.combing import FlagCheck
from vrx.media.deinterlace import Deinterlace
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.read import Reader, Span

PAN = "scale=1100:576,crop=704:576:6*n:0"
WOVEN = f"{PAN},tinterlace=interleave_top"  # two frames in one: those of a second in half of it
FLAGGED = ["-flags", "+ilme+ildct"]


@pytest.mark.parametrize(
    ("filters", "words", "told"),
    [
        (f"{WOVEN},setfield=prog", [], "marked as progressive, and its frames show the combing"),
        (f"{WOVEN},setfield=tff", FLAGGED, ""),
        (f"{PAN},setfield=prog", [], ""),
        (f"{PAN},setfield=tff", FLAGGED, "marked as interlaced, and nothing that moves shows combing"),
        ("trim=end_frame=1,loop=30:1,scale=704:576,setfield=tff", FLAGGED, ""),  # nothing moves
        (f"{WOVEN},scale=704:360,setfield=prog", [], ""),  # of no camera
    ],
)
def test_flags_are_doubted_where_what_moves_says_otherwise(
    tmp_path: Path, filters: str, words: list[str], told: str
) -> None:
    path = tmp_path / "a.mkv"
    codec = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p"]
    FFmpegProcess(
        ["-y", "-i", str(EXAMPLES / "flower.mp4"), "-t", "1.2", "-an", "-vf", filters, *codec, *words, str(path)]
    ).finish()
    notes: list[Note] = []
    with Reader(path, Span(), notes.append, deinterlace=Deinterlace.AUTO) as reader:
        for _ in reader.frames():
            pass
    found = [note.text for note in notes if note.code == "interlaced-flags"]
    assert len(found) == bool(told)
    assert told in "".join(found)


@pytest.mark.parametrize("height", [480, 486, 576, 720, 1080, 1088])
def test_flags_are_doubted_at_heights_of_interlaced_video(height: int) -> None:
    rows = np.full((height, 128), 50, np.uint8)
    rows[::2] = 200
    check = FlagCheck()
    found = [check.add(VideoFrame.from_ndarray(rows, format="gray")) for _ in range(20)]
    told = [number for number, text in enumerate(found) if text is not None]
    assert told == ([] if height == 720 else [11])  # once, when enough of them agree


def test_only_the_beginning_of_a_source_is_looked_at() -> None:
    check, rows = FlagCheck(), np.full((576, 128), 50, np.uint8)
    assert {check.add(VideoFrame.from_ndarray(rows, format="gray")) for _ in range(49)} == {None}
    rows[::2] = 200
    assert {check.add(VideoFrame.from_ndarray(rows, format="gray")) for _ in range(30)} == {None}


def test_noise_is_no_combing() -> None:
    check, generator = FlagCheck(), np.random.default_rng(1)
    for _ in range(20):
        rows = generator.integers(0, 256, (576, 128), dtype=np.uint8)
        assert check.add(VideoFrame.from_ndarray(rows, format="gray")) is None
