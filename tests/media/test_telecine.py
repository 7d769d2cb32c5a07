"""Telecine undone: every frame of the film once, at its time."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from av.video.frame import VideoFrame

from tests.clips import ClipMaker
from tests.conftest import EXAMPLES
from tests.media import telecined
from tests.media.telecined import FILM
from vrx.errors import UsageError
from vrx.events import Note
from vrx.media.deinterlace import Deinterlace
from vrx.media.frame import Frame
from vrx.media.read import Reader, Span
from vrx.media.source_notes import SourceNotes
from vrx.media.telecine import MOST_CALM, film_rate, find_video, space_evenly

FRAMES = 32
MILLISECOND = Fraction(1, 1000)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return telecined.film(tmp_path_factory.mktemp("film") / "film.mkv", FRAMES)


def luma(frame: Frame) -> np.ndarray:
    return frame.planes[0].astype(float)


def read(path: Path, span: Span = Span()) -> tuple[list[Frame], Reader]:  # noqa: B008 - frozen
    with Reader(path, span, lambda note: None, deinterlace=Deinterlace.FILM) as reader:
        return list(reader.frames()), reader


def numbers(frames: list[Frame], film: Path) -> list[int]:
    """Which frame of the film each one is most like."""
    with Reader(film, Span(), lambda note: None) as reader:
        truth = [luma(frame) for frame in reader.frames()]
    return [int(np.argmin([np.abs(luma(frame) - other).mean() for other in truth])) for frame in frames]


@pytest.mark.parametrize("flags", ["", "tff", "bff", "prog"])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_hard_telecine_gives_the_frames_of_the_film(film: Path, tmp_path: Path, order: str, flags: str) -> None:
    """Whatever the flags are: those of the order, the other one, or none."""
    frames, reader = read(telecined.hard(film, tmp_path / "hard.mkv", order, flags))
    assert numbers(frames, film) == list(range(FRAMES))
    with Reader(film, Span(), lambda note: None) as other:
        for found, true in zip(frames, other.frames(), strict=True):
            np.testing.assert_array_equal(found.planes[0], true.planes[0])
    assert max(abs(frame.time - number / FILM) for number, frame in enumerate(frames)) <= MILLISECOND
    assert not any(frame.interlaced for frame in frames)
    assert reader.info.video.rate == FILM
    assert abs(reader.end - FRAMES / FILM) <= 2 * MILLISECOND


def test_repetitions_are_found_through_the_noise_of_coding(film: Path, tmp_path: Path) -> None:
    frames, _ = read(telecined.hard(film, tmp_path / "hard.ts", codec="mpeg2video"))  # at 200 kbit/s, ffmpeg's default
    assert numbers(frames, film) == list(range(FRAMES))


@pytest.mark.parametrize(("noise", "coding"), [(0, "ffv1"), (16, "ffv1"), (8, "mpeg2video")])
def test_film_of_a_camera_is_found_through_the_noise_of_a_capture(tmp_path: Path, noise: int, coding: str) -> None:
    """16 of ffmpeg's noise, which differs between repetitions, are 4.5 levels of deviation; 20 are too many."""
    count = 24
    film = pan(tmp_path / "film.mkv", FILM, count)
    grain = f"noise=alls={noise}:allf=t+u:all_seed=5," if noise else ""
    weave = f"telecine=first_field=top:pattern=23,{grain}setparams=field_mode=tff"
    options = ["-flags", "+ildct+ilme", "-c:v", coding, *(["-q:v", "4"] if coding != "ffv1" else [])]
    frames, _ = read(telecined.make(tmp_path / "hard.mkv", "-i", str(film), "-vf", weave, *options))
    assert numbers(frames, film) == list(range(count))


def test_video_of_a_camera_that_moves_a_little_keeps_its_frames(tmp_path: Path) -> None:
    """At 1.6 pixels a frame; frames that differ less are taken for repetitions."""
    video = pan(tmp_path / "video.mkv", Fraction(30_000, 1001), 30)
    frames, _ = read(video)
    assert numbers(frames, video) == list(range(30))


@pytest.mark.parametrize(("woven", "said"), [(False, True), (True, False)])
def test_video_that_never_was_film_is_said_to_have_no_telecine(tmp_path: Path, woven: bool, said: bool) -> None:
    source = pan(tmp_path / "a.mkv", FILM if woven else Fraction(30_000, 1001), 50)
    source = telecined.hard(source, tmp_path / "hard.mkv") if woven else source
    heard: list[Note] = []
    with Reader(source, Span(), heard.append, deinterlace=Deinterlace.FILM) as reader:
        assert sum(1 for _ in reader.frames()) >= 49
    assert ("telecine-missing" in {note.code for note in heard}) == said


def test_a_pace_beyond_a_fifth_more_than_film_s_is_that_of_video() -> None:
    pictures = [VideoFrame(16, 16, "yuv420p") for _ in range(49)]
    for which, pace, said in (("film", 1.19, False), ("film", 1.21, True), ("on", 1.25, False)):
        for number, picture in enumerate(pictures):
            picture.pts = round(1000 + 1000 * number / 24 / pace)
        heard: list[Note] = []
        video = SimpleNamespace(time_base=MILLISECOND, rate=Fraction(24))
        notes = SourceNotes("a", heard.append)
        assert len(list(notes.watch_film(pictures, Deinterlace(which), video))) == 49  # type: ignore[arg-type]
        assert [note.facts for note in heard] == [{"frames": 48}] * said


def pan(path: Path, rate: Fraction, frames: int) -> Path:
    """A slow pan over the example clip, at a rate, lossless."""
    filters = f"scale=160:90,scroll=h=0.01,setpts=N/({rate})/TB"
    source, options = str(EXAMPLES / "flower.mp4"), ["-an", "-c:v", "ffv1", "-pix_fmt", "yuv420p"]
    return telecined.make(path, "-i", source, "-vf", filters, "-r", str(rate), "-frames:v", str(frames), *options)


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mpg", "mp4"])
def test_soft_telecine_is_spaced_evenly(film: Path, tmp_path: Path, suffix: str) -> None:
    frames, reader = read(telecined.soft(tmp_path / f"soft.{suffix}", FRAMES))
    assert numbers(frames, film) == list(range(FRAMES))
    assert max(abs(frame.time - number / FILM) for number, frame in enumerate(frames)) <= MILLISECOND
    assert reader.info.video.rate == FILM


def test_film_itself_passes(film: Path) -> None:
    frames, _ = read(film)
    with Reader(film, Span(), lambda note: None) as other:
        for number, (found, true) in enumerate(zip(frames, other.frames(), strict=True)):
            np.testing.assert_array_equal(found.planes[0], true.planes[0])
            assert abs(found.time - number / FILM) <= MILLISECOND


def test_video_between_film_stays_at_its_rate_and_hard_follows_soft(film: Path, tmp_path: Path) -> None:
    """Soft, then hard, then video of 59.94 fields: 24 frames of film in a second, 24 more, 30 of video."""
    short, parts = telecined.film(tmp_path / "short.mkv", 24), [tmp_path / f"{n}.ts" for n in range(3)]
    telecined.soft(parts[0], 24)
    options = ["-c:v", "mpeg2video", "-q:v", "2", "-bf", "0", "-flags", "+ildct+ilme", "-pix_fmt", "yuv420p"]
    weave = "telecine=first_field=top:pattern=23,setparams=field_mode=tff"
    telecined.make(parts[1], "-i", str(short), "-vf", weave, *options)
    fields = f"testsrc2=size={telecined.SIZE}:rate=60000/1001,hue=h=90,scroll=h=0.03,interlace=scan=tff"
    telecined.make(parts[2], "-f", "lavfi", "-i", fields, "-frames:v", "30", *options)
    frames, reader = read(telecined.join(tmp_path / "mixed.ts", parts))
    places = [float(frame.time / telecined.FIELD) for frame in frames]
    assert numbers(frames[:48], film) == list(range(24)) * 2
    np.testing.assert_allclose(places[:48], 2.5 * np.arange(48), atol=0.01)
    np.testing.assert_allclose(places[48:], 120 + 2 * np.arange(30), atol=0.01)
    assert float(reader.end / telecined.FIELD) == pytest.approx(180, abs=0.01)


def test_a_part_has_the_frames_that_the_whole_has(film: Path, tmp_path: Path) -> None:
    path = telecined.hard(film, tmp_path / "hard.mkv")
    whole, _ = read(path)
    part, _ = read(path, Span(start=Fraction(1, 2), frames=7))
    assert [frame.pts for frame in part] == [frame.pts for frame in whole[12:19]]
    for found, true in zip(part, whole[12:19], strict=True):
        np.testing.assert_array_equal(found.planes[0], true.planes[0])


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_short_clips_lose_nothing_but_repetitions(film: Path, tmp_path: Path, count: int) -> None:
    short = telecined.film(tmp_path / "short.mkv", count)
    frames, _ = read(telecined.hard(short, tmp_path / "hard.mkv"))
    assert numbers(frames, film)[-1] >= count - 2
    assert len(set(numbers(frames, film))) == len(frames)


def test_fields_of_pal_film_are_matched_at_the_same_rate(tmp_path: Path) -> None:
    source = f"testsrc2=size={telecined.SIZE}:rate=25"
    lossless = ["-c:v", "ffv1", "-pix_fmt", "yuv420p"]
    film = telecined.make(tmp_path / "film.mkv", "-f", "lavfi", "-i", source, "-frames:v", "12", *lossless)
    late = "phase=mode=t,setparams=field_mode=tff"  # the second field of each frame comes a frame later
    shifted = telecined.make(tmp_path / "late.mkv", "-i", str(film), "-vf", late, *lossless)
    frames, reader = read(shifted)
    assert reader.info.video.rate == 25
    assert numbers(frames[1:-1], film) == list(range(10)) or numbers(frames[1:-1], film) == list(range(1, 11))
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(12)]


def test_rates_and_formats_that_are_not_telecine_s_are_refused(clip: ClipMaker) -> None:
    for rate in (Fraction(60_000, 1001), Fraction(15), Fraction(50)):
        with pytest.raises(UsageError, match=r"is for telecine of 29\.97 frames a second, and for 25; the video has"):
            film_rate(rate)
    rates = {Fraction(30_000, 1001): FILM, FILM: FILM, Fraction(30): 24, Fraction(25): 25, Fraction(27): FILM}
    assert {rate: film_rate(rate) for rate in rates} == rates
    with pytest.raises(UsageError, match="works on YUV of 8 bits, and the video is yuv422p10le"):
        read(clip(pix_fmt="yuv422p10le"))
    with pytest.raises(UsageError, match="this is a picture"):
        read(clip("x.png", frames=1, codec="png", pix_fmt="rgb24"))


def test_times_of_film_are_exact_where_ticks_are_frames() -> None:
    """Film frames are a frame and a quarter apart: ticks of a quarter."""
    pictures = [VideoFrame(16, 16, "yuv420p") for _ in range(5)]
    for picture, pts in zip(pictures, (0, 1, 2, 4, 5), strict=True):
        picture.pts = pts
    spaced = space_evenly(pictures, Fraction(1, 2), Deinterlace.FILM.divisor)
    assert [picture.pts for picture in spaced] == [0, 5, 10, 15, 20]


def test_film_after_a_gap_of_a_few_frames_begins_at_its_own_time() -> None:
    pictures = [VideoFrame(16, 16, "yuv420p") for _ in range(5)]
    for picture, pts in zip(pictures, (0, 1, 2, 8, 9), strict=True):
        picture.pts = pts
    assert [picture.pts for picture in space_evenly(pictures, Fraction(1, 2), 4)] == [0, 5, 10, 32, 37]


def combing(picture: np.ndarray) -> float:
    """How much rows differ from both of their neighbors, where these are alike, in levels."""
    above, row, below = picture[:-2], picture[1:-1], picture[2:]
    return float(np.maximum(0, np.abs(row - (above + below) / 2) - np.abs(above - below)).mean())


def test_a_frame_alone_without_a_match_becomes_whole(film: Path, tmp_path: Path) -> None:
    """Where frames were cut out of telecine, fields of two frames of film meet: combing of 2.8 levels if they stay."""
    weave = "telecine=first_field=top:pattern=23,select='not(between(n,20,21))',setpts=N/FRAME_RATE/TB"
    filters = f"scale=320:240,{weave},setparams=field_mode=tff"
    frames, _ = read(telecined.make(tmp_path / "cut.mkv", "-i", str(film), "-vf", filters, "-c:v", "ffv1"))
    assert max(combing(luma(frame)) for frame in frames) < 0.3


@pytest.mark.parametrize(
    ("flags", "video"),
    [("..T..", "..T.."), (".T.T.", ".TTT."), ("T...T", "TTTTT"), ("T....T", "T....T"), ("TT..", "TT.."), ("", "")],
)
def test_frames_with_little_motion_between_those_of_video_are_video(flags: str, video: str) -> None:
    pictures: Any = [SimpleNamespace(interlaced_frame=flag == "T", number=n) for n, flag in enumerate(flags)]
    found = list(find_video(pictures))
    assert "".join("T" if is_video else "." for is_video, _ in found) == video
    assert [cast(Any, picture).number for _, picture in found] == list(range(len(flags)))
    assert MOST_CALM == 3
