"""What becomes of a result that is there already."""

from pathlib import Path
from typing import Any

import pytest

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job, notes, open_session
from vrx import events
from vrx.errors import OutputError
from vrx.events import Event
from vrx.pipeline.existing import Action, Existing, clean_up, is_complete, open_unless_done, plan_action
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.resume import published
from vrx.pipeline.resume.fingerprint import fingerprint
from vrx.pipeline.resume.workspace import folder_of
from vrx.pipeline.session import Session


def decide(path: Path, output: Path, **written: Any) -> Existing | None:
    with Session(make_job(path, output, **written), events.ignore, ModelPool()) as session:
        return open_unless_done(session)


def test_a_new_result_is_written(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv", frames=2)
    assert decide(source, tmp_path / "out.mkv") is None
    with open_session(make_job(source, tmp_path / "out.mkv")) as session:
        assert plan_action(session) is Action.WRITE


@pytest.mark.parametrize(
    ("written", "action"),
    [({}, Action.REFUSE), ({"overwrite": True}, Action.REPLACE), ({"skip_existing": True}, Action.SKIP)],
)
def test_an_existing_result_is_refused_replaced_or_skipped(
    clip: ClipMaker, tmp_path: Path, written: dict[str, Any], action: Action
) -> None:
    source, output = clip("in.mkv", frames=2), tmp_path / "out.mkv"
    output.write_bytes(b"mine")
    with open_session(make_job(source, output, **written)) as session:
        assert plan_action(session) is action
    if action is Action.REFUSE:
        with pytest.raises(OutputError, match=r"out\.mkv exists"):
            decide(source, output)
    else:
        assert decide(source, output, **written) == (Existing() if action is Action.SKIP else None)


def test_a_skipped_source_is_not_even_opened(tmp_path: Path) -> None:
    (tmp_path / "in.mkv").write_bytes(b"no video")
    (tmp_path / "out.mkv").write_bytes(b"mine")
    assert decide(tmp_path / "in.mkv", tmp_path / "out.mkv", skip_existing=True) == Existing()


def test_numbered_pictures_are_complete_when_all_are_there(clip: ClipMaker, tmp_path: Path) -> None:
    job = make_job(clip("in.mkv", frames=3), tmp_path / "f_%02d.png", skip_existing=True)
    for number in (1, 2, 3):
        (tmp_path / f"f_{number:02d}.png").write_bytes(b"x")
        with open_session(job) as session:
            assert is_complete(session) == (number == 3)


def test_the_result_of_the_same_command_counts_as_done(clip: ClipMaker, tmp_path: Path) -> None:
    source, output = clip("in.mkv", frames=2), tmp_path / "out.mkv"
    output.write_bytes(b"finished")
    heard: list[Event] = []
    with open_session(make_job(source, output, overwrite=True), heard) as session:
        marks = fingerprint(
            session.job, session.entry.name, session.components().paths(), (session.device, session.dtype)
        )
        folder_of(output).mkdir(0o700)
        published.record(output, output, marks, (2, 1))
        existing = open_unless_done(session)
        assert existing is not None
        assert existing.publication is not None
        assert (existing.publication.frames, existing.publication.scenes) == (2, 1)
        clean_up(session)
    assert "already-finished" in notes(heard)
    assert not folder_of(output).exists()
    with open_session(make_job(source, output, overwrite=True, crf=30)) as session:
        assert open_unless_done(session) is None
