"""What was restored is kept, whichever span came first, and continued by the same command only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job
from vrx import events
from vrx.errors import OutputError
from vrx.events import Event
from vrx.pipeline.resume.workspace import JOURNAL, folder_of
from vrx.pipeline.spans import result
from vrx.pipeline.spans.journal import SPANS, SpanJournal
from vrx.pipeline.spans.part import SpanWork
from vrx.pipeline.spans.result import restore_in_spans
from vrx.settings import Job


class StoppedHereError(Exception):
    """A run that ends in the middle."""


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "SEGMENT_FRAMES", 16)


@pytest.fixture
def job(clip: ClipMaker) -> Job:
    return make_job(clip(frames=64, cuts=(16, 32, 48), size=(32, 24)), clip.folder / "out.mkv", overwrite=True)


def last_then_stop(works: Iterable[SpanWork]) -> Iterable[SpanWork]:
    """The last two spans in reverse order, then the end."""
    yield from list(works)[:1:-1]
    raise StoppedHereError


def stopped(job: Job) -> Path:
    with pytest.raises(StoppedHereError):
        restore_in_spans(job, order=last_then_stop)
    return folder_of(Path(str(job.output.path)))


def resumed(job: Job) -> tuple[list[int], list[str]]:
    """The spans that a rerun restores, and its notes."""
    heard: list[Event] = []
    restored: list[int] = []

    def remember(works: Iterable[SpanWork]) -> Iterable[SpanWork]:
        for work in works:
            restored.append(work.span.number)
            yield work

    restore_in_spans(job, heard.append, remember)
    return restored, [e.code for e in heard if isinstance(e, events.Noted) and e.level != "detail"]


def test_a_rerun_restores_only_what_is_left_and_gives_the_same_bytes(job: Job) -> None:
    output = Path(str(job.output.path))
    restore_in_spans(job)
    whole = output.read_bytes()
    folder = stopped(job)
    assert (folder / SPANS).exists()
    restored, notes = resumed(job)
    assert (restored, "resuming" in notes) == ([0, 1], True)
    assert output.read_bytes() == whole
    assert not folder.exists()


@pytest.mark.parametrize(
    ("harm", "restored"),
    [("segment", [0, 1, 2, 3]), ("journal", [0, 1, 2, 3]), ("spans", [0, 1]), ("name", [0, 1, 2, 3])],
)
def test_damaged_work_is_not_used(job: Job, harm: str, restored: list[int]) -> None:
    folder = stopped(job)
    if harm == "segment":
        path = next(folder.glob("000003-*.mkv"))
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif harm == "name":
        content = json.loads((folder / JOURNAL).read_text())
        content["spans"][0][1]["name"] = "../other.mkv"
        (folder / JOURNAL).write_text(json.dumps(content))
    else:
        path = folder / (JOURNAL if harm == "journal" else SPANS)
        path.write_text(path.read_text().replace("frames", "frame5", 1))
    assert resumed(job)[0] == restored


def test_other_settings_start_over(job: Job) -> None:
    stopped(job)
    restored, notes = resumed(replace(job, output=replace(job.output, crf=30)))
    assert (restored, "starting-over" in notes) == ([0, 1, 2, 3], True)


def test_a_second_run_of_the_same_result_is_refused(job: Job) -> None:
    output = Path(str(job.output.path))
    with SpanJournal(output, {}), pytest.raises(OutputError, match="another vrx is writing"):
        restore_in_spans(job)
