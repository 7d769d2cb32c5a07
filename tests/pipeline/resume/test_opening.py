"""Whether an earlier run is continued, and how that is reported."""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job, notes, open_session
from vrx.batches import Deadline
from vrx.errors import OutputError
from vrx.events import Event
from vrx.media.segments import Segment
from vrx.models.base import SceneStart
from vrx.pipeline.executor import StreamState
from vrx.pipeline.resume import opening
from vrx.pipeline.resume.opening import is_resumable, open_journal
from vrx.pipeline.resume.workspace import folder_of
from vrx.settings import Job

CHECKPOINT: list[Path] = []


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SEGMENT_FRAMES", 4)


def run(job: Job, add: bool = False, error: BaseException | None = None) -> list[Event]:
    """Open the journal of a job; add a segment to it, or end by an error, where asked."""
    heard: list[Event] = []
    with (
        pytest.raises(type(error)) if error else ExitStack(),
        open_session(job, heard) as session,
        ExitStack() as stack,
    ):
        journal = open_journal(stack, session, CHECKPOINT)
        if add:
            assert journal is not None
            path = journal.segment_path(".mkv")
            path.write_bytes(b"frames")
            state = StreamState(SceneStart(0, (48, 64), (96, 128)), 2, 8, {"encode": {}})
            journal.add(Segment(path, 8, Fraction(0)), state)
        if error:
            raise error
    return heard


def test_a_saved_segment_is_continued_from(clip: ClipMaker, tmp_path: Path) -> None:
    job = make_job(clip("in.mkv"), tmp_path / "out.mkv")
    assert not {"resuming", "starting-over"} & notes(run(job, add=True)).keys()
    assert notes(run(job))["resuming"].facts == {"frames": 8}


def test_a_changed_option_starts_over_and_is_named(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv")
    run(make_job(source, tmp_path / "out.mkv"), add=True)
    note = notes(run(make_job(source, tmp_path / "out.mkv", crf=30)))["starting-over"]
    assert note.facts == {"changed": "--crf"}
    assert note.level == "warning"


def test_without_resuming_the_earlier_work_is_deleted(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv")
    run(make_job(source, tmp_path / "out.mkv"), add=True)
    assert "earlier-work-deleted" in notes(run(make_job(source, tmp_path / "out.mkv", resume=False)))
    assert not folder_of(tmp_path / "out.mkv").exists()


def test_a_failure_says_what_is_saved_and_a_stop_does_not(clip: ClipMaker, tmp_path: Path) -> None:
    job = make_job(clip("in.mkv"), tmp_path / "out.mkv")
    assert notes(run(job, add=True, error=OutputError("disk full")))["frames-saved"].facts == {"frames": 8}
    assert "frames-saved" not in notes(run(job, error=KeyboardInterrupt()))


@pytest.mark.parametrize(
    ("name", "frames", "resume", "expected"),
    [("a.mkv", 12, True, True), ("a.mkv", 4, True, False), ("a.mkv", 12, False, False), ("a.nut", 12, True, False)],
)
def test_only_long_results_that_can_be_joined_are_resumable(
    clip: ClipMaker, tmp_path: Path, name: str, frames: int, resume: bool, expected: bool
) -> None:
    with open_session(make_job(clip("in.mkv", frames=frames), tmp_path / name, resume=resume)) as session:
        assert is_resumable(session) == expected


@pytest.mark.parametrize(
    ("source", "frames", "expected"),
    [("in.mkv", None, True), ("in.mkv", 5, True), ("in.mkv", 4, False), ("-", 5, False)],
)
def test_a_source_of_unknown_length_is_resumable_and_a_pipe_is_not(
    clip: ClipMaker, tmp_path: Path, source: str, frames: int | None, expected: bool
) -> None:
    job = make_job(source, tmp_path / "out.mkv")
    with open_session(make_job(clip("in.mkv", frames=2), tmp_path / "out.mkv")) as session:
        opened = SimpleNamespace(
            frames=frames, target=session.target, job=job, output=session.output, deadline=Deadline()
        )
        assert is_resumable(opened) == expected  # type: ignore[arg-type]
