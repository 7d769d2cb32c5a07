"""From a job to how its result is written: encoder, span, number of frames."""

from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job, notes, open_session
from vrx.errors import OutputError, UsageError
from vrx.events import Event
from vrx.pipeline.output import choose_encoder, copied_span, expected_frames
from vrx.settings import OutputSettings, SelectionSettings


@pytest.mark.parametrize(
    ("codec", "path", "expected"),
    [
        ("auto", "a.mp4", "libx264"),
        ("hevc", "a.mp4", "libx265"),
        ("auto", "a.png", "libx264"),
        ("png", "a.png", "libx264"),
    ],
)
def test_an_encoder_is_the_automatic_one_unless_another_is_named(codec: str, path: str, expected: str) -> None:
    assert choose_encoder(OutputSettings(codec=codec), Path(path), "libx264") == expected


def test_a_video_codec_does_not_make_pictures_nor_the_other_way_round() -> None:
    with pytest.raises(UsageError):
        choose_encoder(OutputSettings(codec="h264"), Path("a.png"), "png")
    with pytest.raises(UsageError):
        choose_encoder(OutputSettings(codec="png"), Path("a.mp4"), "libx264")


@pytest.mark.parametrize(
    ("start", "end", "frames", "expected"),
    [
        (None, None, None, None),
        (2, None, None, (2, None)),
        (None, 3, None, (0, 3)),
        (1, None, 50, (1, 3)),
        (1, 2, 50, (1, 2)),
        (1, 9, 50, (1, 3)),
    ],
)
def test_other_streams_are_cut_to_the_chosen_part(
    start: int | None, end: int | None, frames: int | None, expected: object
) -> None:
    first, last = (None if time is None else Fraction(time) for time in (start, end))
    assert copied_span(first, last, frames, Fraction(25)) == expected


def test_frames_are_counted_by_the_header(clip: ClipMaker) -> None:
    with open_session(make_job(clip("in.mkv", frames=10))) as session:
        info = session.reader.info_on_timeline()
        for selection, count in (
            (SelectionSettings(), 10),
            (SelectionSettings(frames=4), 4),
            (SelectionSettings(start=Fraction(1, 5)), 5),
            (SelectionSettings(start=Fraction(1, 5), frames=2), 2),
            (SelectionSettings(end=Fraction(1, 5)), 5),
        ):
            assert expected_frames(info, selection) == count


def test_what_the_result_cannot_hold_is_a_note(clip: ClipMaker, tmp_path: Path) -> None:
    heard: list[Event] = []
    with open_session(make_job(clip("in.mkv", frames=2, audio=True), tmp_path / "f_%d.png"), heard) as session:
        assert session.target.sequence
    assert any(note.level == "warning" and "audio" in note.text for note in notes(heard).values())


def test_an_encoder_that_does_not_work_is_refused(clip: ClipMaker, tmp_path: Path) -> None:
    job = make_job(clip("in.mkv", frames=2), tmp_path / "out.mkv", codec="h264_nvenc")
    with pytest.raises((OutputError, UsageError), match="h264_nvenc"), open_session(job):
        pass
