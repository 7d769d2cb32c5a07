"""Figures of compared files beside those of ffmpeg's own filters."""

import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from tests.pipeline.compare.clips import HEIGHT, WIDTH, scene, write
from vrx.media import ffmpeg
from vrx.media.ffmpeg import FFmpegProcess
from vrx.pipeline.compare import run

needs_vmaf = pytest.mark.skipif(
    not ffmpeg.has_filter(ffmpeg.executable(), "libvmaf"), reason="this ffmpeg has no libvmaf"
)


def encode(source: Path, result: Path, *words: str) -> Path:
    """A file again, in 29.97 frames a second: Matroska rounds their times to milliseconds, MP4 does not."""
    begin = ("-y", "-r", "30000/1001", "-i", str(source), "-pix_fmt", "yuv420p")
    FFmpegProcess([*begin, *words, str(result)]).finish()
    return result


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A quick pan in Matroska, and compressed in MP4."""
    folder = tmp_path_factory.mktemp("pair")
    source = write(folder / "source.mkv", scene(12, step=5))
    return encode(source, folder / "a.mkv", "-c:v", "ffv1"), encode(source, folder / "b.mp4", "-crf", "34")


def stored_luma(path: Path) -> np.ndarray:
    """The samples of luma as they are stored, [T, H, W]."""
    with av.open(str(path)) as box:
        return np.stack([frame.to_ndarray()[:HEIGHT].astype(float) for frame in box.decode(video=0)])


def psnr_of_ffmpeg(first: Path, second: Path, log: Path) -> list[float]:
    """The filter's `psnr_y` of every frame, with two digits; frames are paired by their numbers."""
    chains = "[0]settb=1,setpts=N[a];[1]settb=1,setpts=N[b];[a][b]psnr=stats_file=psnr.log"
    command = [ffmpeg.executable(), "-v", "error", "-i", str(second), "-i", str(first), "-lavfi", chains]
    subprocess.run([*command, "-f", "null", "-"], cwd=log.parent, check=True)
    rows = (dict(word.split(":") for word in line.split()) for line in log.read_text().splitlines())
    return [float(row["psnr_y"]) for row in rows]


def test_psnr_is_that_of_ffmpegs_filter(pair: tuple[Path, Path], tmp_path: Path) -> None:
    found = run.compare(list(pair), referenced=False)
    expected = psnr_of_ffmpeg(*pair, tmp_path / "psnr.log")
    assert [frame.figures[1].psnr for frame in found.frames] == pytest.approx(expected, abs=0.006)
    errors = np.square(stored_luma(pair[0]) - stored_luma(pair[1]))
    assert found.overall[1].psnr_overall == pytest.approx(10 * np.log10(255**2 / errors.mean()), abs=1e-3)


@needs_vmaf
def test_vmaf_pairs_frames_by_number_whatever_the_containers_times(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """By their times, some frames would be measured against the one before."""
    again = encode(pair[0], tmp_path / "a.mp4", "-c:v", "libx264", "-qp", "0")
    equal = ffmpeg.vmaf((pair[0], 0), (again, 0), (WIDTH, HEIGHT), lambda _: None)
    assert len(equal) == 12
    assert min(equal) > 95
    other = encode(pair[1], tmp_path / "b.mkv", "-c:v", "ffv1")
    in_one, in_another = (
        ffmpeg.vmaf((pair[0], 0), (path, 0), (WIDTH, HEIGHT), lambda _: None) for path in (other, pair[1])
    )
    assert list(in_one) == list(in_another)
