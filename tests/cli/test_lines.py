"""Events as lines of text."""

import pytest

from vrx import events
from vrx.cli import lines


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599.4, "59:59"), (3600, "1:00:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert lines.format_duration(seconds) == text


@pytest.mark.parametrize(("fps", "text"), [(14.04, "14.0 fps"), (1.0, "1.0 fps"), (0.5, "2.0 s/frame")])
def test_slow_runs_count_seconds_per_frame(fps: float, text: str) -> None:
    assert lines.format_speed(fps) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames")])
def test_counts(number: int, text: str) -> None:
    assert lines.format_count(number, "frame") == text


def test_the_closing_line_counts_speed_without_earlier_frames() -> None:
    event = events.Finished(input="in.mp4", output="out.mp4", frames=576, scenes=3, seconds=24.0, resumed_frames=240)
    expected = "out.mp4: 576 frames (240 from an earlier run), 3 scenes, 24.0 s (14.0 fps)"
    assert lines.format_event(event, verbose=False) == expected


def test_a_run_that_restored_nothing_has_no_speed() -> None:
    event = events.Finished(input="in.mp4", output="-", frames=1, scenes=1, seconds=0.0, resumed_frames=1)
    assert (
        lines.format_event(event, verbose=False) == "standard output: 1 frame (1 from an earlier run), 1 scene, 0.0 s"
    )


def test_details_are_shown_with_verbose_only() -> None:
    note = events.Note("encoder", "encoder: libx264", {"encoder": "libx264"}, events.DETAIL)
    event = events.Noted.of("in.mp4", note)
    assert lines.format_event(event, verbose=False) is None
    assert lines.format_event(event, verbose=True) == event.text


def test_names_cannot_control_the_terminal() -> None:
    event = events.Skipped(input="\x1b[2Ja.mp4", output="b.mp4")
    assert lines.format_event(lines.printable_event(event), verbose=False) == r"\x1b[2Ja.mp4: skipped, b.mp4 exists"
