from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import av.filter
import numpy as np
import pytest

from tests.clips import INTERLACED_SIZE, TIMES, ClipMaker, save_picture, stripes, write_interlaced
from vrx.errors import UsageError
from vrx.events import Note
from vrx.geometry import Crop
from vrx.media.deinterlace import Deinterlace, double_flagged
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.frame import Frame
from vrx.media.read import Reader, Span


def write_black(path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    with av.open(str(path), "w") as box:
        video = box.add_stream("rawvideo", rate=25)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        picture = av.VideoFrame(*size, pix_fmt)
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        box.mux(video.encode(picture))
        box.mux(video.encode())


def frames_of(path: Path, which: Deinterlace) -> list[Frame]:
    with Reader(path, Span(), lambda note: None, deinterlace=which) as reader:
        return list(reader.frames())


def combing(frame: Frame) -> float:
    """How much rows differ from both their neighbors."""
    x = frame.planes[0].astype(float)
    return float(np.abs(x[1:-1] - (x[:-2] + x[2:]) / 2).mean())


def error(frame: Frame, number: float) -> float:
    truth = av.VideoFrame.from_ndarray(stripes(number), format="rgb24").reformat(format="yuv444p").to_ndarray()[0]
    return float(np.abs(frame.planes[0].astype(float) - truth).mean())


def test_flagged_pictures_become_whole_and_keep_their_times(tmp_path: Path) -> None:
    write_interlaced(tmp_path / "bff.mkv", flagged=True)
    before, after = (frames_of(tmp_path / "bff.mkv", which) for which in (Deinterlace.OFF, Deinterlace.AUTO))
    assert [int(f.time * 1000) for f in after] == [int(f.time * 1000) for f in before] == TIMES
    assert all(f.interlaced for f in before)
    assert not any(f.interlaced for f in after)
    for number, (combed, clean) in enumerate(zip(before, after, strict=True)):
        assert combing(clean) < combing(combed) / 4
        assert error(clean, number) < error(combed, number) / 2


def test_unflagged_pictures_are_left_alone_unless_all_are_meant(tmp_path: Path) -> None:
    write_interlaced(tmp_path / "x.mkv", flagged=False)
    before, auto, forced = (
        frames_of(tmp_path / "x.mkv", which) for which in (Deinterlace.OFF, Deinterlace.AUTO, Deinterlace.ON)
    )
    for old, same in zip(before, auto, strict=True):
        for a, b in zip(old.planes, same.planes, strict=True):
            np.testing.assert_array_equal(a, b)
    assert [f.pts for f in forced] == [f.pts for f in before]
    assert all(combing(new) < combing(old) / 4 for new, old in zip(forced, before, strict=True))


def test_pictures_that_turn_interlaced_later_are_made_whole_and_that_is_said(tmp_path: Path) -> None:
    both = tmp_path / "both.ts"
    for flagged in (False, True):
        write_interlaced(tmp_path / "part.ts", flagged)
        with both.open("ab") as file:
            file.write((tmp_path / "part.ts").read_bytes())
    notes: list[Note] = []
    with Reader(both, Span(), notes.append, deinterlace=Deinterlace.AUTO) as reader:
        frames = list(reader.frames())
    assert len(frames) == 2 * len(TIMES)
    assert any("interlaced frames begin at" in note.text for note in notes)
    before, after = frames[: len(TIMES)], frames[len(TIMES) :]
    assert max(map(combing, after)) < min(map(combing, before)) / 4


def test_a_whole_clip_is_the_same_with_and_without(clip: ClipMaker) -> None:
    path = clip(times=TIMES, pix_fmt="yuv422p10le")
    for a, b in zip(*(frames_of(path, which) for which in (Deinterlace.OFF, Deinterlace.AUTO)), strict=True):
        assert a.pts == b.pts
        for old, new in zip(a.planes, b.planes, strict=True):
            np.testing.assert_array_equal(old, new)


def write_fields(path: Path, count: int, order: str, time_base: Fraction = Fraction(1, 25)) -> Path:
    """Interlaced frames of bars that move on with each field, lossless, flagged; the times of a recorder."""
    with av.open(str(path), "w") as box:
        video = box.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = *INTERLACED_SIZE, "yuv444p"
        video.time_base = video.codec_context.time_base = time_base
        graph = av.filter.Graph()
        entry = graph.add_buffer(width=video.width, height=video.height, format=video.format, time_base=time_base)
        flag, sink = graph.add("setparams", f"field_mode={order}"), graph.add("buffersink")
        entry.link_to(flag)
        flag.link_to(sink)
        graph.configure()
        for number in range(count):
            picture = stripes(number)
            second = 1 if order == "tff" else 0
            picture[second::2] = stripes(number + 0.5)[second::2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = round(number / 25 / time_base), time_base
            graph.vpush(frame)
            box.mux(video.encode(graph.vpull()))
        box.mux(video.encode(None))
    return path


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_double_gives_a_frame_of_each_field_at_its_time(tmp_path: Path, order: str, count: int) -> None:
    path = write_fields(tmp_path / "fields.mkv", count, order)
    with Reader(path, Span(), lambda note: None, deinterlace=Deinterlace.DOUBLE) as reader:
        frames = list(reader.frames())
        assert reader.info.video.rate == 50
        assert reader.end == Fraction(count, 25)
    assert [frame.time for frame in frames] == [Fraction(number, 50) for number in range(2 * count)]
    assert not any(frame.interlaced for frame in frames)
    for number, frame in enumerate(frames[2:-2], 2):  # the first and the last have no neighbor to look at
        assert error(frame, number / 2) < min(error(frame, number / 2 + side) for side in (-0.5, 0.5)) / 2


def test_double_places_fields_between_irregular_times_and_beside_a_last_duration(tmp_path: Path) -> None:
    write_interlaced(tmp_path / "bff.mkv", flagged=True)
    doubled = [int(frame.time * 1000) for frame in frames_of(tmp_path / "bff.mkv", Deinterlace.DOUBLE)]
    assert doubled[::2] == TIMES
    assert doubled[1:-1:2] == [(a + b) // 2 for a, b in pairwise(TIMES)]
    assert doubled[-1] == TIMES[-1] + 20


@pytest.mark.parametrize("start", [Fraction(13, 50), Fraction(14, 50), Fraction(1)])
@pytest.mark.parametrize("which", [Deinterlace.ON, Deinterlace.DOUBLE])
def test_a_part_has_the_frames_that_the_whole_has(tmp_path: Path, which: Deinterlace, start: Fraction) -> None:
    path = write_fields(tmp_path / "fields.mkv", 40, "tff")
    whole = [frame for frame in frames_of(path, which) if frame.time >= start]
    with Reader(path, Span(start=start, frames=5), lambda note: None, deinterlace=which) as reader:
        part = list(reader.frames())
        assert reader.end == whole[5].time
    assert [frame.pts for frame in part] == [frame.pts for frame in whole[:5]]
    for one, other in zip(part, whole, strict=False):
        for a, b in zip(one.planes, other.planes, strict=True):
            np.testing.assert_array_equal(a, b)


def test_numbered_pictures_are_doubled_and_a_single_one_is_refused(tmp_path: Path) -> None:
    for number in range(3):
        save_picture(tmp_path / f"f_{number}.png", stripes(number), "rgb24")
    frames = frames_of(tmp_path / "f_%d.png", Deinterlace.DOUBLE)
    assert len(frames) == 6
    with pytest.raises(UsageError, match="--deinterlace double makes other frames of a video's, and this is a picture"):
        frames_of(tmp_path / "f_0.png", Deinterlace.DOUBLE)


@pytest.mark.parametrize("count", [1, 2])
def test_short_clips_lose_nothing(clip: ClipMaker, count: int) -> None:
    assert len(frames_of(clip(frames=count), Deinterlace.ON)) == count


@pytest.mark.parametrize("pix_fmt", ["gray", "bgr0", "yuv420p10le", "yuv444p12le", "gbrp16le", "yuva420p", "yuv410p"])
def test_every_format_passes(clip: ClipMaker, pix_fmt: str) -> None:
    plain, passed = (frames_of(clip(frames=3, pix_fmt=pix_fmt), w) for w in (Deinterlace.OFF, Deinterlace.ON))
    assert [f.layout for f in passed] == [f.layout for f in plain]
    assert [p.shape for p in passed[1].planes] == [p.shape for p in plain[1].planes]
    for a, b in zip(plain[1].planes, passed[1].planes, strict=True):
        assert np.abs(a.astype(float) - b).mean() < 0.05 * plain[1].layout.peak


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "gray", "yuv422p", "yuv420p"])
def test_pictures_too_small_for_the_filter_are_refused_at_once(tmp_path: Path, pix_fmt: str) -> None:
    least = {"yuv420p": (5, 7), "yuv422p": (5, 4)}.get(pix_fmt, (3, 4))
    for size in (least, (least[0] - 1, 64), (64, least[1] - 1)):
        path = tmp_path / f"{size[0]}x{size[1]}.nut"
        write_black(path, size, pix_fmt)
        for which in (Deinterlace.ON, Deinterlace.DOUBLE):
            if size == least:
                assert len(frames_of(path, which)) == which.divisor
                continue
            with pytest.raises(UsageError, match=rf"pictures of {path.stem} in {pix_fmt} are too small to be deinter"):
                Reader(path, Span(), lambda note: None, deinterlace=which)
        assert len(frames_of(path, Deinterlace.AUTO)) == 1


def write_mixed(path: Path, *kinds: bool) -> Path:
    """Stretches of a stream, each interlaced or not; the first pictures of each are its key frames."""
    for number, flagged in enumerate(kinds):
        part = path.with_name(f"part{number}.ts")
        if flagged:
            write_interlaced(part, flagged=True)
        else:
            write_progressive(part)
        with path.open("ab") as file:
            file.write(part.read_bytes())
    return path


def write_progressive(path: Path) -> None:
    with av.open(str(path), "w") as box:
        video = box.add_stream("libx264", rate=25, options={"crf": "6", "bf": "0"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *INTERLACED_SIZE, "yuv444p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(TIMES):
            frame = av.VideoFrame.from_ndarray(stripes(number), format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            box.mux(video.encode(frame))
        box.mux(video.encode(None))


@pytest.mark.parametrize("kinds", [(False, True, False), (True, False, True)])
def test_of_a_mixture_only_what_is_interlaced_is_changed(tmp_path: Path, kinds: tuple[bool, ...]) -> None:
    path = write_mixed(tmp_path / "mixed.ts", *kinds)
    off, auto, double = (frames_of(path, which) for which in (Deinterlace.OFF, Deinterlace.AUTO, Deinterlace.DOUBLE))
    assert [f.time for f in auto] == [f.time for f in off]
    assert [f.time for f in double[::2]] == [f.time for f in off]
    assert all(before.time < after.time for before, after in pairwise(double))
    assert len(double) == 2 * len(off) == 2 * len(TIMES) * len(kinds)
    for number, (old, new) in enumerate(zip(off, auto, strict=True)):
        flagged = kinds[number // len(TIMES)]
        assert old.interlaced == flagged
        if flagged:
            assert combing(new) < combing(old) / 4
            assert max(map(combing, double[2 * number : 2 * number + 2])) < combing(old) / 4
            continue
        for shown in (new, *double[2 * number : 2 * number + 2]):
            assert all(np.array_equal(a, b) for a, b in zip(old.planes, shown.planes, strict=True))


def test_fields_that_come_later_are_known_at_the_beginning(tmp_path: Path) -> None:
    for kinds, order in (((False, True, False), "bff"), ((False, False), None), ((True, False), None)):
        path = write_mixed(tmp_path / f"{len(kinds)}{order}{kinds[0]}.ts", *kinds)
        with Reader(path, Span(), lambda note: None) as reader:
            assert reader.later_fields == order
            assert reader.interlaced == kinds[0]


def test_no_field_comes_after_the_next_progressive_picture(tmp_path: Path) -> None:
    """Joined recordings cut off how long a picture is shown."""
    path = write_fields(tmp_path / "fields.mkv", 3, "tff")
    with av.open(str(path)) as box:
        pictures = [*box.decode(video=0), av.VideoFrame(*INTERLACED_SIZE, "yuv444p")]
        for picture, pts in zip(pictures, (0, 40, 80, 90), strict=True):
            picture.pts, picture.duration = pts, 40
        doubled = [p.pts for p in double_flagged(pictures, Deinterlace.DOUBLE, Fraction(25), Fraction(1, 1000))]
    assert doubled == [0, 40, 80, 120, 160, 170, 180, 220]


@pytest.mark.parametrize("which", [Deinterlace.OFF, Deinterlace.DOUBLE])
def test_a_part_of_a_mixture_has_the_frames_that_the_whole_has(tmp_path: Path, which: Deinterlace) -> None:
    """Also where none of the key frames that are looked at is of the short interlaced beginning."""
    path, crop = tmp_path / "mixed.ts", Crop(32, 32, 0, 14)
    for begin, seconds, flags in ((0, 0.16, ["-flags", "+ilme+ildct"]), (0.16, 3, [])):
        filters = f"testsrc2=size=96x64:rate=25:duration={seconds},setfield={'tff' if flags else 'prog'}"
        words = ["-c:v", "libx264", "-g", "5", "-pix_fmt", "yuv420p", "-output_ts_offset", str(begin), *flags]
        FFmpegProcess(["-y", "-f", "lavfi", "-i", filters, *words, str(tmp_path / "part.ts")]).finish()
        with path.open("ab") as file:
            file.write((tmp_path / "part.ts").read_bytes())
    with Reader(path, Span(crop=crop), lambda note: None, deinterlace=which) as reader:
        whole = {frame.time: frame for frame in reader.frames()}
    with Reader(path, Span(start=Fraction(2), frames=4, crop=crop), lambda note: None, deinterlace=which) as reader:
        assert not reader.interlaced
        for frame in reader.frames():
            assert np.array_equal(frame.planes[0], whole[frame.time].planes[0])
