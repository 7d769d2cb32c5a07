"""Opening a job: what is decided before any work, and what is refused."""

import io
import sys
from pathlib import Path

import pytest

from tests.clips import ClipMaker, write_interlaced
from tests.pipeline.jobs import make_job, notes, open_session
from vrx.errors import UsageError
from vrx.events import Event, Note
from vrx.settings import RestoreSettings, Task


def test_an_open_job_knows_its_frames_and_its_target(clip: ClipMaker, tmp_path: Path) -> None:
    with open_session(make_job(clip("in.mkv", frames=5), selection={"frames": 3, "scenes": "off"})) as session:
        assert (session.frames, session.cuts, session.mask) == (3, frozenset(), None)
        assert session.output == tmp_path / "in.x2.mkv"
        assert session.target.size == (128, 96)


def test_a_cut_list_is_read(clip: ClipMaker, tmp_path: Path) -> None:
    (tmp_path / "cuts").write_text("2\n4\n")
    with open_session(make_job(clip("in.mkv"), selection={"scenes": str(tmp_path / "cuts")})) as session:
        assert session.cuts == frozenset({2, 4})


def test_a_warning_is_sent_once(clip: ClipMaker) -> None:
    heard: list[Event] = []
    with open_session(make_job(clip("in.mkv", frames=1)), heard) as session:
        before = [note.text for note in session.notes]
        assert any("FFV1 stays FFV1" in text for text in before)
        for _ in range(2):
            session.notify(Note("x", "careful", level="warning"))
            session.notify(Note("y", "by the way"))
        assert [note.text for note in session.notes] == [*before, "careful"]  # a long run has much to tell by the way
    assert [note.text for note in heard if isinstance(note, Event)].count("careful") == 1  # type: ignore[attr-defined]


def test_one_picture_does_not_hold_many_frames(clip: ClipMaker, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="single image"), open_session(make_job(clip("in.mkv"), tmp_path / "a.png")):
        pass


@pytest.mark.parametrize(("task", "told"), [(Task.UPSCALE, True), (Task.DEBLUR, False)])
def test_quantizers_are_asked_for_where_they_steer_the_network(clip: ClipMaker, task: Task, told: bool) -> None:
    source = clip("in.mkv", frames=3, codec="libx264")
    restore = RestoreSettings(task=task, scale=2 if task is Task.UPSCALE else 1)
    with open_session(make_job(source, restore=restore)) as session:
        assert all((frame.quantizer is not None) == told for frame in session.reader.frames())


def test_a_source_that_is_read_for_its_cuts_alone_does_not_tell_quantizers(clip: ClipMaker) -> None:
    with open_session(make_job(clip("in.mkv", frames=3, codec="libx264"))) as session:
        session.skim()
        assert [frame.quantizer for frame in session.reader.frames()] == [None] * 3
    with open_session(
        make_job(clip("in.mkv", frames=3), restore=RestoreSettings(task=Task.DEBLUR, scale=1))
    ) as session:
        before = session.reader
        session.skim()
        assert session.reader is before  # nothing to gain


@pytest.mark.parametrize("task", [Task.UPSCALE, Task.INPAINT])
def test_interlaced_video_is_named_with_what_is_done(clip: ClipMaker, tmp_path: Path, task: Task) -> None:
    write_interlaced(tmp_path / "in.mkv", flagged=True)
    mask = clip("mask.mkv", frames=1, size=(96, 64)) if task is Task.INPAINT else None
    restore = RestoreSettings(task=task, mask=mask, scale=1 if mask else 2)
    heard: list[Event] = []
    with open_session(make_job(tmp_path / "in.mkv", restore=restore), heard) as session:
        assert session.reader.interlaced
    note = notes(heard)["interlaced"]
    assert note.level == ("warning" if task is Task.INPAINT else "info")


def test_standard_input_is_read_as_a_file(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(clip("in.mkv", frames=2).read_bytes())))
    with open_session(make_job("-", tmp_path / "out.mkv")) as session:
        assert (session.frames, session.reader.size) == (2, (64, 48))


def test_a_closed_standard_input_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="closed"), open_session(make_job("-", tmp_path / "out.mkv")):
        pass
