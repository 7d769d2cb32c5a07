"""Which of several video streams is restored."""

from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from vrx import api
from vrx.errors import InputError, UsageError
from vrx.events import Note
from vrx.media import ffmpeg
from vrx.media.read import Reader, Span
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task

LARGE, SMALL = (64, 48), (32, 32)


@dataclass(frozen=True)
class Track:
    """A video stream of a test's file."""

    size: tuple[int, int]
    frames: int
    flags: str = "default"


def movie(path: Path, *tracks: Track) -> Path:
    """A file of several video streams, 25 frames a second each."""
    words: list[str] = ["-y"]
    for track in tracks:
        words += ["-f", "lavfi", "-t", str(track.frames / 25)]
        words += ["-i", f"testsrc2=size={track.size[0]}x{track.size[1]}:rate=25"]
    for place, track in enumerate(tracks):
        words += ["-map", str(place), f"-disposition:{place}", track.flags]
    ffmpeg.FFmpegProcess([*words, "-c:v", "mpeg4", str(path)]).finish()
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        ([Track(SMALL, 12), Track(LARGE, 1)], 0),  # as phones write: the still beside it is the larger one
        ([Track(LARGE, 1), Track(SMALL, 12)], 1),
        ([Track(SMALL, 12), Track(LARGE, 12, "0")], 0),
        ([Track(SMALL, 12, "0"), Track(LARGE, 12)], 1),
        ([Track(SMALL, 12), Track(LARGE, 12)], 1),
        ([Track(SMALL, 12), Track(LARGE, 3)], 0),
        ([Track(LARGE, 12), Track(LARGE, 12)], 0),
    ],
)
def test_the_stream_that_players_show_is_taken(tmp_path: Path, tracks: list[Track], expected: int, suffix: str) -> None:
    notes: list[Note] = []
    with Reader(movie(tmp_path / f"a.{suffix}", *tracks), Span(), notes.append) as reader:
        assert reader.info.video.index == expected
        assert len(list(reader.frames())) == tracks[expected].frames
    chosen = [note for note in notes if "--stream" in note.text]
    assert len(chosen) == 1
    assert f"stream {expected} (" in chosen[0].text


def test_a_stream_is_chosen_by_its_number(tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mkv", Track(LARGE, 6), Track(SMALL, 3))
    notes: list[Note] = []
    with Reader(path, Span(stream=1), notes.append) as reader:
        assert (reader.size, len(list(reader.frames()))) == (SMALL, 3)
    assert notes == []


def test_a_number_that_is_no_video_stream_names_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    words = ["-y", "-f", "lavfi", "-t", "0.2", "-i", "testsrc2=size=64x48", "-f", "lavfi", "-t", "0.2", "-i", "sine"]
    ffmpeg.FFmpegProcess([*words, "-c:v", "mpeg4", "-c:a", "flac", str(path)]).finish()
    for wanted in (1, 7):
        with pytest.raises(UsageError, match=rf"stream {wanted} of .* is not a video stream.*0 \(mpeg4, 64x48"):
            Reader(path, Span(stream=wanted), lambda _: None)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mka"
    ffmpeg.FFmpegProcess(["-y", "-f", "lavfi", "-t", "0.2", "-i", "sine", "-c:a", "flac", str(path)]).finish()
    with pytest.raises(InputError, match="no video stream"):
        Reader(path, Span(), lambda _: None)


def test_the_other_streams_are_copied(tmp_path: Path) -> None:
    movie(tmp_path / "a.mkv", Track(LARGE, 3), Track(SMALL, 2))
    job = Job(
        source=str(tmp_path / "a.mkv"),
        model=ModelSettings(device="cpu"),
        restore=RestoreSettings(task=Task.UPSCALE, scale=2),
        selection=SelectionSettings(stream=1),
        output=OutputSettings(path=str(tmp_path / "b.mkv"), codec="ffv1"),
    )
    assert api.restore(job).frames == 2
    with av.open(str(tmp_path / "b.mkv")) as box:
        assert [(s.width, s.height) for s in box.streams.video] == [(64, 64), LARGE]
