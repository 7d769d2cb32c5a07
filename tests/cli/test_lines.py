"""Events as lines of text."""

from dataclasses import replace

import pytest

from vrx import events
from vrx.cli import lines
from vrx.events import format_count


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
    assert format_count(number, "frame") == text


def test_lines_about_a_cluster() -> None:
    unit = events.UnitChanged(
        input="in.mp4", span=2, state="failed", worker="vrx worker 1", node="b", frames=240, reason="it is gone"
    )
    assert lines.format_unit(unit) == "in.mp4 span 3: failed by vrx worker 1 on b: it is gone"
    assert lines.format_unit(replace(unit, span=None, reason="")) == "in.mp4: failed by vrx worker 1 on b"
    node = events.NodeFinished(node="b", workers=4, spans=31, frames=9120, seconds=3040.0, failures=1)
    assert lines.format_node(node) == "b: 4 workers, 31 spans, 9120 frames, 12.0 fps, 1 failure"
    idle = events.NodeFinished(node="b", workers=1, spans=0, frames=0, seconds=0.0, failures=0)
    assert lines.format_node(idle) == "b: 1 worker, 0 spans, 0 frames, 0 failures"
    far = events.ClusterAdvanced(
        input="", share=0.25, seconds_left=3730.0,
        files_done=3, files=40, spans_done=31, spans=92, workers=8, fps=12.14,
    )  # fmt: skip
    assert lines.format_cluster(far) == "3 of 40 files, 31 of 92 spans, 8 workers, 12.1 fps, 1:02:10 left"
    first = events.ClusterAdvanced(
        input="", share=0.0, seconds_left=None, files_done=0, files=1, spans_done=0, spans=1, workers=1, fps=0.0
    )
    assert lines.format_cluster(first) == "0 of 1 file, 0 of 1 span, 1 worker"


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
