import os
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.sidedata.sidedata import SideData

from tests.clips import read, scenery
from vrx.errors import OutputError
from vrx.media import ffmpeg, signals
from vrx.media.atomic import count_frames
from vrx.media.encoders import choose_layout, default_encoder, find_encoder
from vrx.media.ffmpeg_args import build_arguments
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.media.hdr10 import Hdr10Metadata, can_store, ffmpeg_options
from vrx.media.orientation import Orientation, read_orientation
from vrx.media.preflight import black_frame
from vrx.media.segments import Segment, join_segments, segment_target
from vrx.media.streams import CopiedStream
from vrx.media.target import FORMATS, Target
from vrx.media.write import Writer

MILLISECOND = Fraction(1, 1000)
RGB = Layout(Kind.RGB, 8)


def target(path: Path, codec: str = "ffv1", layout: Layout = RGB, **changes: object) -> Target:
    plain = Target(
        path=path,
        container=FORMATS.get(path.suffix, "image2"),
        rule=find_encoder(codec),
        layout=layout,
        color=Color(matrix="rgb" if layout.kind is Kind.RGB else "bt709", full_range=layout.kind is Kind.RGB),
        size=(64, 48),
        time_base=MILLISECOND,
        rate=Fraction(25),
        sample_aspect=Fraction(1),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def frames(times: list[int], layout: Layout = RGB) -> Iterator[Frame]:
    for number, time in enumerate(times):
        picture = scenery(number, (64, 48))
        kind = np.uint8 if layout.depth == 8 else np.uint16
        planes: list[np.ndarray] = [np.left_shift(picture[..., c].astype(kind), layout.depth - 8) for c in range(3)]
        if layout.kind is Kind.YUV:
            step_y, step_x = 1 << layout.shift_y, 1 << layout.shift_x
            planes[1:] = [np.ascontiguousarray(p[::step_y, ::step_x]) for p in planes[1:]]
        yield Frame(tuple(planes), layout, Color(), time, MILLISECOND)


def write(where: Target, times: list[int]) -> None:
    with Writer(where) as writer:
        for frame in frames(times, where.layout):
            writer.write(frame)
        writer.finish()


def test_lossless_rgb_comes_back_bit_for_bit(tmp_path: Path) -> None:
    write(target(tmp_path / "a.mkv"), [0, 40, 80])
    found = read(tmp_path / "a.mkv")
    assert np.array_equal(found.frames, np.stack([scenery(n, (64, 48)) for n in range(3)]))
    assert found.pix_fmt in ("bgr0", "gbrp")


@pytest.mark.parametrize("times", [[0, 40, 80], [0, 40, 200, 240, 410], [8333, 8366, 8400], [0]])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "ffv1"), ("a.mp4", "h264"), ("a.mp4", "hevc"), ("a.mov", "prores")]
)
def test_times_survive_every_container(tmp_path: Path, times: list[int], name: str, codec: str) -> None:
    layout = Layout(Kind.YUV, 10, 1, 0) if codec == "prores" else Layout(Kind.YUV, 8, 1, 1)
    write(target(tmp_path / name, codec, layout), times)
    assert [float(t) for t in read(tmp_path / name).times] == pytest.approx([t / 1000 for t in times], abs=1e-9)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4", ".nut"])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    layout = Layout(Kind.YUV, 8, 1, 1)
    for name in ("a", "b"):
        write(target(tmp_path / f"{name}{suffix}", default_encoder(layout, suffix), layout), [0, 40])
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_container_holds_every_frame_in_order(tmp_path: Path, suffix: str) -> None:
    path, layout = tmp_path / f"a{suffix}", Layout(Kind.YUV, 8, 1, 1)
    write(target(path, default_encoder(layout, suffix), layout), list(range(0, 400, 40)))
    found = read(path)
    assert len(found.frames) == 10
    steps = [float(b - a) for a, b in pairwise(found.times)]
    assert steps == pytest.approx([0.04] * 9, abs=1e-3)
    sent = np.stack([frame.planes[0] for frame in frames(list(range(10)), layout)]).astype(float)
    arrived = [picture.mean(-1) for picture in found.frames]
    nearest = [int(np.corrcoef([p.ravel(), *sent.reshape(10, -1)])[0, 1:].argmax()) for p in arrived]
    assert nearest == list(range(10))


def test_avi_keeps_gaps_between_frames(tmp_path: Path) -> None:
    write(target(tmp_path / "a.avi", "ffv1", Layout(Kind.YUV, 8, 1, 1)), [0, 40, 160, 200])
    times = read(tmp_path / "a.avi").times
    assert [float(b - a) for a, b in pairwise(times)] == pytest.approx([0.04, 0.12, 0.04], abs=1e-3)


def test_nut_takes_sound_that_begins_before_the_picture(tmp_path: Path) -> None:
    source = tmp_path / "early.mkv"
    words = ["-f", "lavfi", "-i", "sine=duration=1", "-itsoffset", "0.2", "-f", "lavfi", "-i"]
    words += ["testsrc=size=64x48:rate=25:duration=1", "-map", "1", "-map", "0", "-c:v", "ffv1", "-c:a", "flac"]
    ffmpeg.FFmpegProcess(["-y", *words, str(source)]).finish()
    layout = Layout(Kind.YUV, 8, 1, 1)
    where = target(
        tmp_path / "a.nut", "h264", layout, source=source, copied_streams=(CopiedStream(index=1, kind="audio"),)
    )
    write(replace(where, span=(Fraction(1, 5), None), offset=Fraction(1, 5)), [200, 240, 280])
    found = read(tmp_path / "a.nut")
    assert [float(t - found.times[0]) for t in found.times] == pytest.approx([0, 0.04, 0.08], abs=1e-3)
    with av.open(str(tmp_path / "a.nut")) as box:
        first = min(float(p.pts * p.time_base) for p in box.demux(audio=0) if p.pts is not None)
    assert float(found.times[0]) - first == pytest.approx(0.01, abs=0.03)  # packets are copied whole


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "ffv1"])
@pytest.mark.parametrize("size", [(65, 49), (66, 49)])
def test_odd_sizes_are_written(tmp_path: Path, codec: str, size: tuple[int, int], depth: int) -> None:
    layout, _ = choose_layout(Layout(Kind.YUV, depth, 1, 1), find_encoder(codec), size)
    where = target(tmp_path / "a.mkv", codec, layout, size=size)
    with Writer(where) as writer:
        writer.write(black_frame(where))
        writer.finish()
    with av.open(str(tmp_path / "a.mkv")) as box:
        picture = next(box.decode(video=0))
        assert (picture.width, picture.height) == size


def test_one_picture_holds_one_frame(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a single image"):
        write(target(tmp_path / "a.png", "png"), [0, 40])
    assert not list(tmp_path.iterdir())


def test_tags_are_written(tmp_path: Path) -> None:
    color = Color(matrix="bt2020nc", primaries="bt2020", transfer="smpte2084", full_range=False)
    where = target(
        tmp_path / "a.mp4", "hevc", Layout(Kind.YUV, 10, 1, 1), color=color, sample_aspect=Fraction(2896, 2889)
    )
    write(where, [0, 40])
    with av.open(str(tmp_path / "a.mp4")) as box:
        stream = box.streams.video[0]
        picture = next(box.decode(stream))
        assert (picture.colorspace, picture.color_primaries, picture.color_trc, picture.color_range) == (9, 9, 16, 1)
        assert picture.format.name == "yuv420p10le"
        assert stream.sample_aspect_ratio == Fraction(2896, 2889)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_orientations_are_written(tmp_path: Path, suffix: str) -> None:
    for turns, mirrored in product(range(4), (False, True)):
        path = tmp_path / f"{turns}{mirrored}{suffix}"
        write(target(path, "h264", Layout(Kind.YUV, 8, 1, 1), orientation=Orientation(turns, mirrored)), [0, 40])
        with av.open(str(path)) as box:
            assert read_orientation(next(box.decode(video=0))) == Orientation(turns, mirrored)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_orientations_outlive_a_result_made_in_parts(tmp_path: Path, suffix: str) -> None:
    whole = target(
        tmp_path / f"a{suffix}", "h264", Layout(Kind.YUV, 8, 1, 1), orientation=Orientation(1, mirrored=True)
    )
    segments = []
    for number in range(2):
        begin = Fraction(80 * number, 1000)
        part = segment_target(whole, tmp_path / f"part{number}{suffix}", begin)
        write(part, [80 * number, 80 * number + 40])
        segments.append(Segment(tmp_path / f"part{number}{suffix}", 2, begin))
    join_segments(segments, whole)
    with av.open(str(tmp_path / f"a{suffix}")) as box:
        found = [read_orientation(picture) for picture in box.decode(video=0)]
    assert found == [whole.orientation] * 4


HDR10 = Hdr10Metadata("G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)", "1000,400")


def brightness(path: Path) -> set[str]:
    with av.open(str(path)) as box:
        picture = next(box.decode(video=0))
        kinds = {data.type.name for data in cast(Iterable[SideData], picture.side_data)}  # PyAV types it as one of them
    return kinds & {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "hevc"), ("a.ts", "h264"), ("a.mkv", "ffv1"), ("a.webm", "vp9"), ("a.mov", "prores"), ("a.nut", "ffv1")],
)
def test_hdr10_reaches_what_can_hold_it(tmp_path: Path, name: str, codec: str) -> None:
    layout = Layout(Kind.YUV, 10, *((1, 0) if codec == "prores" else (1, 1)))
    where = target(tmp_path / name, codec, layout, hdr10=ffmpeg_options(HDR10))
    with Writer(where) as writer:
        writer.write(black_frame(where))
        writer.finish()
    assert len(brightness(tmp_path / name)) == (2 if can_store(where.rule.name, where.container) else 0)


def test_hdr10_survives_joining(tmp_path: Path) -> None:
    whole = target(tmp_path / "a.webm", "vp9", Layout(Kind.YUV, 10, 1, 1), hdr10=ffmpeg_options(HDR10))
    parts = []
    for number in range(2):
        part = segment_target(whole, tmp_path / f"{number}.webm", Fraction(number, 25))
        with Writer(part) as writer:
            writer.write(replace(black_frame(part), pts=round(Fraction(number, 25) / part.time_base)))
            writer.finish()
        parts.append(Segment(tmp_path / f"{number}.webm", 1, Fraction(number, 25)))
    join_segments(parts, whole)
    assert len(brightness(tmp_path / "a.webm")) == 2


def test_nothing_is_left_after_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_text("precious")
    with pytest.raises(RuntimeError), Writer(target(tmp_path / "a.mkv", overwrite=True)) as writer:
        writer.write(next(frames([0])))
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]
    assert (tmp_path / "a.mkv").read_text() == "precious"


def test_a_name_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="created by someone else"), Writer(target(tmp_path / "a.mkv")) as writer:
        writer.write(next(frames([0])))
        (tmp_path / "a.mkv").write_text("precious")
        writer.finish()
    assert (tmp_path / "a.mkv").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_dead_encoder_is_explained(tmp_path: Path) -> None:
    where = target(tmp_path / "a.mkv", encoder_args=("-no_such_option", "1"))
    with pytest.raises(OutputError, match="no_such_option"), Writer(where) as writer:
        for frame in frames(list(range(0, 40000, 40))):
            writer.write(frame)
        writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_encoder_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError), Writer(target(tmp_path / "a.mkv")) as writer:
        for number, frame in enumerate(frames(list(range(0, 20000, 40)))):
            writer.write(frame)
            if number == 3:
                writer._encoder._process.kill()
                writer._encoder._process.wait()
        writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_stills_and_sequences(tmp_path: Path) -> None:
    write(target(tmp_path / "one.png", "png"), [0])
    assert np.array_equal(read(tmp_path / "one.png").frames[0], scenery(0, (64, 48)))
    write(target(tmp_path / "f_%03d.png", "png"), [0, 40, 80])
    assert sorted(p.name for p in tmp_path.glob("f_*.png")) == ["f_001.png", "f_002.png", "f_003.png"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_percent_signs_that_are_no_number_stay_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "50%done %d"
    folder.mkdir()
    write(target(folder / "100%_%04d.png", "png", first_number=1001), [0, 40])
    write(target(folder / "r%03d x.png", "png", literal=True), [0])
    assert sorted(p.name for p in folder.iterdir()) == ["100%_1001.png", "100%_1002.png", "r%03d x.png"]


def test_frames_are_counted(tmp_path: Path) -> None:
    write(target(tmp_path / "a.webm", "vp9", Layout(Kind.YUV, 8, 1, 1)), list(range(0, 1200, 40)))
    assert count_frames(tmp_path / "a.webm") == 30
    assert count_frames(tmp_path / "none.mkv") == 0


def test_local_names_are_never_protocols(tmp_path: Path) -> None:
    assert build_arguments(target(tmp_path / "concat:x.mkv"), f"file:{tmp_path}/x")[-1].startswith("file:")
    write(target(tmp_path / "-o:x%03d.mkv"), [0])
    assert count_frames(tmp_path / "-o:x%03d.mkv") == 1


def test_the_chosen_ffmpeg_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ffmpeg.executable()
    link = tmp_path / "my-ffmpeg"
    link.symlink_to(ours)
    monkeypatch.setenv("VRX_FFMPEG", str(link))
    assert ffmpeg.executable() == str(link)
    monkeypatch.setenv("VRX_FFMPEG", "/no/such/program")
    with pytest.raises(OutputError, match="VRX_FFMPEG"):
        ffmpeg.executable()


def test_an_encoder_that_stands_still_does_not_hold_up_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.2)
    with pytest.raises(KeyboardInterrupt), Writer(target(tmp_path / "a.mkv")) as writer:
        child = writer._encoder._process.pid
        os.kill(child, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        for frame in frames(list(range(0, 400_000, 40))):  # more than any pipe holds
            writer.write(frame)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_the_encoder_ends_ends_it_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Writer(target(tmp_path / "a.mkv")) as writer:
        writer.write(next(frames([0])))
        child = writer._encoder._process.pid
        os.kill(child, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        writer.finish()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert list(tmp_path.iterdir()) == []
