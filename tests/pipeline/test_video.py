"""VideoReader and VideoWriter: frames with their times out of a file and into one."""

import gc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clips import TIMES, ClipMaker, read
from vrx.errors import InputError, OutputError, UsageError
from vrx.pipeline.video import VideoFrame, VideoReader, VideoWriter


def copy(source: Path, output: Path, **options: Any) -> None:
    with VideoReader(source) as video, VideoWriter(output, like=video, **options) as out:
        for frame in video:
            out.write(frame)


def test_a_copy_has_the_times_the_sound_and_the_pixels(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv", times=TIMES, audio=True)
    copy(source, tmp_path / "out.mkv", codec="ffv1")
    a, b = read(source), read(tmp_path / "out.mkv")
    assert (a.times, a.kinds, a.pix_fmt) == (b.times, b.kinds, b.pix_fmt)
    assert np.array_equal(a.frames, b.frames)


def test_a_reader_tells_what_it_reads(clip: ClipMaker) -> None:
    with VideoReader(clip("in.mkv", frames=12), start=0.2, frames=3) as video:
        assert (video.size, video.fps, video.frame_count) == ((64, 48), Fraction(25), 3)
        assert repr(video).endswith("in.mkv', 64x48, 25 fps)")
        frames = list(video)
        assert [frame.time for frame in frames] == [Fraction(n, 25) for n in (5, 6, 7)]
        with pytest.raises(UsageError, match="read already"):
            iter(video)
    array, tensor = frames[0].to_numpy(), frames[0].to_tensor()
    assert (array.shape, array.dtype) == ((48, 64, 3), np.dtype(np.uint8))
    assert (tuple(tensor.shape), tensor.dtype) == ((3, 48, 64), torch.float32)
    assert np.abs(array / 255 - tensor.permute(1, 2, 0).numpy()).max() < 0.003


def test_deep_pixels_become_sixteen_bits(clip: ClipMaker) -> None:
    with VideoReader(clip("in.mkv", frames=1, pix_fmt="yuv420p10le")) as video:
        (frame,) = video
    assert frame.to_numpy().dtype == np.uint16
    assert frame.to_numpy().max() > 255
    assert np.array_equal(np.asarray(frame), frame.to_numpy())
    assert np.asarray(frame, np.float32).dtype == np.float32


def test_frames_know_what_their_decoder_tells_for_models_that_go_by_it(clip: ClipMaker) -> None:
    with VideoReader(clip("in.mkv", frames=3, codec="libx264", options={"qp": "40", "bf": "0"})) as video:
        assert [frame.quantizer for frame in video] == [37, 40, 40]


def test_arrays_take_the_times_of_the_source_s_frames(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv", times=TIMES)
    with VideoReader(source) as video, VideoWriter(tmp_path / "out.mkv", like=video, codec="ffv1") as out:
        for frame in video:
            out.write(frame.to_numpy())
    assert read(tmp_path / "out.mkv").times == read(source).times


def test_arrays_without_a_source_have_a_rate(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mkv", size=(32, 24), fps=12.5, codec="ffv1") as out:
        for level in (0, 128, 255):
            out.write(np.full((24, 32, 3), level, np.uint8))
        out.write(torch.ones(3, 24, 32))
    result = read(tmp_path / "out.mkv")
    assert [round(float(time) * 1000) for time in result.times] == [0, 80, 160, 240]
    assert [int(frame.mean().round()) for frame in result.frames] == pytest.approx([0, 128, 255, 255], abs=1)


def test_a_frame_of_another_layout_is_converted(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv", frames=2, pix_fmt="yuv444p")
    with VideoReader(source) as video, VideoWriter(tmp_path / "f_%02d.png", like=video) as out:
        for frame in video:
            out.write(frame)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["f_01.png", "f_02.png"]


def test_nothing_is_left_where_the_block_fails(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv", frames=4)

    def fail() -> None:
        with VideoReader(source) as video, VideoWriter(tmp_path / "out.mkv", like=video) as out:
            for frame in video:
                out.write(frame)
                raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv"}


def writers(video: VideoReader, folder: Path) -> Iterator[tuple[str, type[Exception], Any]]:
    """What is asked, and the words of the refusal."""
    yield "exists.*overwrite=True", OutputError, lambda: VideoWriter(folder / "there.mkv", like=video)
    yield "input", UsageError, lambda: VideoWriter(folder / "in.mkv", like=video, overwrite=True)
    yield "ending", UsageError, lambda: VideoWriter(folder / "out.xyz", like=video)
    yield "`like`, or `size` and `fps`", UsageError, lambda: VideoWriter(folder / "out.mkv")
    yield "takes size", UsageError, lambda: VideoWriter(folder / "out.mkv", like=video, size=(2, 2))
    yield r"is 5\. Choose 1, 2, 3 or 4", UsageError, lambda: VideoWriter(folder / "out.mkv", like=video, scale=5)
    yield "does not exist", OutputError, lambda: VideoWriter(folder / "none" / "out.mkv", like=video)


def test_what_cannot_be_written_is_refused(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv", frames=2)
    (tmp_path / "there.mkv").write_bytes(b"mine")
    with VideoReader(source) as video:
        for words, kind, make in writers(video, tmp_path):
            with pytest.raises(kind, match=words):
                make()
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "there.mkv"}


def test_a_frame_of_another_size_is_refused(clip: ClipMaker, tmp_path: Path) -> None:
    def write() -> None:
        with VideoReader(clip("in.mkv")) as video, VideoWriter(tmp_path / "out.mkv", like=video, scale=2) as out:
            out.write(next(iter(video)))

    with pytest.raises(UsageError, match=r"frame 0 is 64x48.*128x96"):
        write()


def test_a_writer_comes_before_the_first_frame_is_read(clip: ClipMaker, tmp_path: Path) -> None:
    with VideoReader(clip("in.mkv")) as video:
        assert isinstance(next(iter(video)), VideoFrame)
        with pytest.raises(UsageError, match="before reading"):
            VideoWriter(tmp_path / "out.mkv", like=video)
    with pytest.raises(UsageError, match="`like` is of type str"):
        VideoWriter(tmp_path / "out.mkv", like="in.mkv")  # type: ignore[arg-type]


def test_a_file_without_frames_is_no_file(clip: ClipMaker, tmp_path: Path) -> None:
    with VideoReader(clip("in.mkv")) as video:
        writer = VideoWriter(tmp_path / "out.mkv", like=video)
        with pytest.raises(OutputError, match="no frames"):
            writer.close()
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv"}


def test_a_closed_writer_takes_no_frame(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mkv", size=(64, 48), fps=25) as writer:
        writer.write(np.zeros((48, 64, 3), np.dtype(np.uint8)))
    with pytest.raises(UsageError, match=r"out\.mkv is closed"):
        writer.write(np.zeros((48, 64, 3), np.dtype(np.uint8)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.mp4"):
        VideoReader(tmp_path / "none.mp4")


def test_a_closed_reader_gives_no_frames(clip: ClipMaker) -> None:
    with VideoReader(clip()) as video:
        frames = iter(video)
        next(frames)
    with pytest.raises(UsageError, match="is closed"):
        next(frames)
    video = VideoReader(clip())
    video.close()
    with pytest.raises(UsageError, match="is closed"):
        list(video)


@pytest.mark.parametrize("options", [{"fps": float("nan")}, {"fps": "25"}, {"size": "64x48"}, {"size": 64}])
def test_a_writer_refuses_values_of_other_types(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options))} is "):
        VideoWriter(tmp_path / "out.mp4", **{"size": (64, 48), "fps": 25, **options})


def test_a_name_that_is_too_long_is_one_line() -> None:
    with pytest.raises(InputError, match="File name too long"):
        VideoReader("a" * 300 + ".mp4")


def test_a_writer_that_is_dropped_leaves_nothing(tmp_path: Path) -> None:
    out = VideoWriter(tmp_path / "out.mkv", size=(64, 48), fps=25, codec="ffv1")
    out.write(np.zeros((48, 64, 3), np.dtype(np.uint8)))
    process = out._writer._encoder._process
    assert process.poll() is None
    del out
    gc.collect()
    assert process.poll() is not None
    assert list(tmp_path.iterdir()) == []
