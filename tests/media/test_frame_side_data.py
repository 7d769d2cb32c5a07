"""Side data of pictures; crashes show in child processes only."""

import subprocess
import sys
from pathlib import Path

import av
import pytest

from tests.clips import scenery
from tests.pictures import png_with_profile
from vrx.media import ffmpeg
from vrx.media.frame_side_data import read_hdr10
from vrx.media.read import Reader, Span

READ = """
import gc, sys
from pathlib import Path
from vrx.media.read import Reader, Span
for _ in range(5):
    for name in sys.argv[1:]:
        with Reader(Path(name), Span(), lambda _: None) as reader:
            frames = list(reader.frames())
        gc.collect()
print(len(frames))
"""


@pytest.fixture
def profiled(tmp_path: Path) -> Path:
    """A PNG with a color profile."""
    return png_with_profile(tmp_path / "a.png", scenery(0, (64, 48)))


def test_a_color_profile_crashes_nothing(profiled: Path, tmp_path: Path) -> None:
    movie = tmp_path / "a.mov"  # the same pictures as a video
    ffmpeg.FFmpegProcess(["-y", "-i", str(profiled), "-c", "copy", str(movie)]).finish()
    done = subprocess.run(
        [sys.executable, "-c", READ, str(profiled), str(movie)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr


def test_mastering_data_of_a_video_are_read(tmp_path: Path) -> None:
    path = tmp_path / "hdr.mkv"
    words = ["-y", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5", "-frames:v", "1", "-pix_fmt", "yuv420p10le"]
    words += ["-c:v", "libx265", "-x265-params", "log-level=error:hdr10=1:repeat-headers=1:max-cll=1000,400"]
    ffmpeg.FFmpegProcess([*words, str(path)]).finish()
    with av.open(str(path)) as box:
        frame = next(box.decode(video=0))
        assert set(read_hdr10(frame, "hevc")) == {"CONTENT_LIGHT_LEVEL"}
        assert read_hdr10(frame, "png") == {}
    with Reader(path, Span(), lambda _: None) as reader:
        assert set(reader.mastering) == {"CONTENT_LIGHT_LEVEL"}
