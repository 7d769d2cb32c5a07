import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import ClipMaker, scenery
from vrx.errors import InputError
from vrx.events import Note
from vrx.media import ffmpeg
from vrx.media.file_types import is_pattern
from vrx.media.frame import Frame, Kind, Layout
from vrx.media.orientation import UPRIGHT
from vrx.media.read import Reader, Span

VARIABLE = [0, 40, 80, 200, 240, 400, 410, 500]


def frames_of(path: Path, span: Span | None = None, notes: list[Note] | None = None) -> list[Frame]:
    with Reader(path, span or Span(), (notes if notes is not None else []).append) as reader:
        return list(reader.frames())


@pytest.mark.parametrize("times", [[0, 40, 80, 120], VARIABLE, [8333, 8366, 8400], [7]])
def test_every_frame_keeps_its_time(clip: ClipMaker, times: list[int]) -> None:
    assert [f.time * 1000 for f in frames_of(clip(times=times))] == times


@pytest.mark.parametrize(
    ("pix_fmt", "kind", "depth", "shapes"),
    [
        ("yuv420p", Kind.YUV, 8, [(33, 47), (17, 24), (17, 24)]),
        ("yuv422p10le", Kind.YUV, 10, [(33, 47), (33, 24), (33, 24)]),
        ("yuv444p", Kind.YUV, 8, [(33, 47)] * 3),
        ("bgr0", Kind.RGB, 8, [(33, 47)] * 3),
        ("gray", Kind.GRAY, 8, [(33, 47)]),
        ("gbrp16le", Kind.RGB, 16, [(33, 47)] * 3),
    ],
)
def test_planes_are_as_in_the_file(
    clip: ClipMaker, pix_fmt: str, kind: Kind, depth: int, shapes: list[tuple[int, int]]
) -> None:
    frame = frames_of(clip(pix_fmt=pix_fmt, size=(47, 33), frames=1))[0]
    assert (frame.layout.kind, frame.layout.depth) == (kind, depth)
    assert [p.shape for p in frame.planes] == shapes
    assert frame.planes[0].dtype == (np.uint8 if depth == 8 else np.uint16)


def test_rgb_planes_are_red_green_blue(clip: ClipMaker) -> None:
    frame = frames_of(clip(pix_fmt="bgr0", frames=1))[0]
    means = [p.mean() for p in frame.planes]
    assert len({round(m, 1) for m in means}) == 3 or frame.planes[0].std() > frame.planes[2].std() * 1.2


def test_a_part_is_read(clip: ClipMaker) -> None:
    path = clip(times=VARIABLE)
    span = Span(start=Fraction(1, 10), end=Fraction(45, 100))
    assert [int(f.time * 1000) for f in frames_of(path, span)] == [200, 240, 400, 410]
    assert [int(f.time * 1000) for f in frames_of(path, Span(frames=2))] == [0, 40]


def test_the_decoder_has_as_many_threads_as_are_wanted(clip: ClipMaker) -> None:
    with Reader(clip(frames=2), Span(threads=3), lambda _: None) as reader:
        assert reader._stream.codec_context.thread_count == 3
        assert len(list(reader.frames())) == 2


def test_a_part_beyond_the_end_is_refused(clip: ClipMaker) -> None:
    path = clip(frames=30)
    for span in (Span(start=Fraction(5)), Span(start=Fraction(5), end=Fraction(6))):
        with pytest.raises(InputError, match=r"begins at 0:00:05\.000, and the source ends at 0:00:01\.200") as caught:
            frames_of(path, span)
        assert caught.value.hint == "Choose an earlier start"
    with pytest.raises(InputError, match=r"no frames in the chosen part") as caught:  # it is between two of them
        frames_of(path, Span(start=Fraction(101, 1000), end=Fraction(102, 1000)))
    assert caught.value.hint == "Choose a longer part"


def test_a_source_that_ends_early_is_said(clip: ClipMaker, tmp_path: Path) -> None:
    path = clip(frames=100, size=(128, 96))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    notes: list[Note] = []
    found = frames_of(cut, notes=notes)
    assert 30 < len(found) < 80
    assert any("ends at" in note.text and "4.00 s" in note.text for note in notes)


def test_a_whole_source_is_not_complained_about(clip: ClipMaker) -> None:
    notes: list[Note] = []
    frames_of(clip(times=VARIABLE), notes=notes)
    assert notes == []


@pytest.mark.parametrize(
    "name", ["a:b.mkv", "concat:x.mkv", "-dash.mkv", "with space.mkv", "new\nline.mkv", "%05d.mkv"]
)
def test_names_that_look_like_protocols_are_files(clip: ClipMaker, tmp_path: Path, name: str) -> None:
    path = clip(frames=2)
    path.rename(tmp_path / name)
    assert len(frames_of(tmp_path / name)) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"this is no video " * 50, "not a video"),
        (b"<!doctype html><html></html>", "not a video"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "video"),
        (bytes(range(256)) * 40, "not a video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        frames_of(path)


def test_half_an_mp4_is_refused(clip: ClipMaker, tmp_path: Path) -> None:
    path = clip("clip.mp4", codec="mpeg4", frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="truncated"):
        frames_of(path)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        frames_of(tmp_path / "none.mp4")
    with pytest.raises(InputError, match="folder"):
        frames_of(tmp_path)


def test_numbered_pictures_are_one_video(clip: ClipMaker, tmp_path: Path) -> None:
    for number in range(7, 12):
        clip(f"f_{number:05d}.png", codec="png", pix_fmt="rgb24", frames=1)
    found = frames_of(tmp_path / "f_%05d.png")
    assert len(found) == 5
    assert [f.pts for f in found] == sorted(f.pts for f in found)
    with Reader(tmp_path / "f_%05d.png", Span(), lambda _: None) as reader:
        assert (reader.info.container, reader.info.video.codec) == ("image2", "png")


EXIF = {  # how a viewer shows what is stored, by the orientation of EXIF 2.3, table 4.6.4
    None: lambda p: p,
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: p[::-1, ::-1],
    4: np.flipud,
    5: lambda p: p.T,
    6: lambda p: p[::-1].T,
    7: lambda p: p[::-1, ::-1].T,
    8: lambda p: p.T[::-1],
}


@pytest.mark.parametrize("orientation", EXIF)
def test_a_photograph_is_read_with_what_its_camera_wrote(
    clip: ClipMaker, tmp_path: Path, orientation: int | None
) -> None:
    upright = frames_of(clip("plain.png", frames=1, codec="png", pix_fmt="rgb24"))[0].planes[0].astype(float)
    path = photograph(tmp_path / "a.jpg", orientation)
    with Reader(path, Span(), lambda _: None) as reader:
        assert reader.orientation == UPRIGHT
        found = next(reader.frames()).planes[0].astype(float)
        assert reader.size == found.shape[::-1]
    turned = EXIF[orientation](upright)
    assert found.shape == turned.shape
    assert np.corrcoef(found.ravel(), turned.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("orientation", [2, 5, 8])
def test_png_pictures_say_it_too(clip: ClipMaker, orientation: int) -> None:
    path = clip("a.png", frames=1, codec="png", pix_fmt="rgb24")
    stored = frames_of(path)[0].planes
    path.write_bytes(with_exif(path.read_bytes(), orientation))
    for found, plane in zip(frames_of(path)[0].planes, stored, strict=True):
        assert np.array_equal(found, EXIF[orientation](plane))


def with_exif(png: bytes, orientation: int) -> bytes:
    """A PNG file with EXIF data behind its header."""
    chunk = b"eXIf" + exif(orientation)
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + whole + png[33:]


def exif(orientation: int) -> bytes:
    """EXIF data of one entry."""
    entry = struct.pack("<HHHIHH", 1, 0x0112, 3, 1, orientation, 0)  # one short: the orientation
    return b"II*\0" + struct.pack("<I", 8) + entry + bytes(4)


def photograph(path: Path, orientation: int | None) -> Path:
    """A JPEG, with EXIF data that say how the camera was held."""
    with av.open(str(path), "w", format="image2") as box:
        stream = box.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj444p"
        picture = av.VideoFrame.from_ndarray(scenery(0, (64, 48)), format="rgb24")
        box.mux(stream.encode(picture))
        box.mux(stream.encode(None))
    if orientation is not None:
        words = b"Exif\0\0" + exif(orientation)
        plain = path.read_bytes()
        path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(words) + 2) + words + plain[2:])
    return path


@pytest.mark.parametrize("pix_fmt", ["monob", "monow"])
def test_black_and_white_become_gray(clip: ClipMaker, pix_fmt: str) -> None:
    frame = frames_of(clip("a.nut", frames=1, codec="rawvideo", pix_fmt=pix_fmt))[0]
    assert frame.layout == Layout(Kind.GRAY, 8)
    assert set(np.unique(frame.planes[0])) == {0, 255}


@pytest.mark.parametrize("count", [1, 2])
def test_a_short_wmv_has_a_believable_rate(clip: ClipMaker, count: int) -> None:
    path = clip("a.wmv", frames=count, codec="wmv2", pix_fmt="yuv420p")
    with Reader(path, Span(), lambda _: None) as reader:
        assert reader.info.video.rate == 25
        assert len(list(reader.frames())) == count


def test_a_codec_nobody_knows_is_said(clip: ClipMaker) -> None:
    path = clip("a.mkv", frames=3, codec="libx264")
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XXX"))
    with pytest.raises(InputError, match="no decoder for its video codec"):
        frames_of(path)


def test_an_avif_picture_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    words = ["-y", "-f", "lavfi", "-i", "testsrc2=size=96x64", "-frames:v", "1", "-c:v", "libsvtav1", str(path)]
    ffmpeg.FFmpegProcess(words).finish()
    with Reader(path, Span(), lambda _: None) as reader:
        assert reader.info.still
        assert [frame.planes[0].shape for frame in reader.frames()] == [(64, 96)]
    assert not is_pattern(tmp_path / "f_%03d.avif")
