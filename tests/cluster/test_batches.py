"""Batches on a cluster whose workers are threads: what fails, plans, and the deadline."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.batches import Maker, check_results, jobs_of, outputs, run
from tests.cluster.threads import use_threads
from tests.pipeline.spans.sources import FRAMES
from vrx import api, events
from vrx.batches import BatchSettings, Deadline
from vrx.cli.batch import interruption
from vrx.cluster import batch as cluster_batch
from vrx.cluster import files
from vrx.errors import OutputError, StoppedError, VrxError
from vrx.events import Event
from vrx.pipeline.resume.workspace import folder_of
from vrx.pipeline.spans.journal import SpanJournal
from vrx.pipeline.spans.result import restore_in_spans

pytestmark = pytest.mark.usefixtures("short_spans", "threads")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    use_threads(monkeypatch)


def test_a_poisoned_span_and_a_result_in_use_fail_their_files_and_not_the_batch(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = files.Feeder._span_task

    def poison(self: Any, file: Any, work: Any, shipments: Any) -> Any:
        if work.span.number == 2 and file.number == 0:
            work = replace(work, span=replace(work.span, head=1))
        return plain(self, file, work, shipments)

    made = [make("many cuts"), make("one frame"), make("many cuts")]
    jobs = jobs_of([one.clip for one in made], tmp_path)
    with SpanJournal(outputs(jobs)[2], {}), monkeypatch.context() as patch:
        patch.setattr(files.Feeder, "_span_task", poison)
        results = run(jobs, "local")
    assert isinstance(results[0].result, VrxError)
    assert "3 times" in results[0].result.message
    assert results[1].result.frames == 1  # type: ignore[union-attr]
    assert isinstance(results[2].result, OutputError)
    assert "another vrx is writing" in results[2].result.message
    assert not outputs(jobs)[0].exists()
    assert folder_of(outputs(jobs)[0]).exists()  # what was restored is kept
    again: list[Event] = []
    check_results(jobs, made, run(jobs, "local", again.append))
    assert any(isinstance(e, events.Noted) and e.code == "resuming" for e in again)
    far = [e for e in again if isinstance(e, events.ClusterAdvanced)][-1]
    assert (far.files_done, far.workers > 0) == (2, True)  # said before the workers go
    assert not any(isinstance(e, events.UnitChanged) and e.input == jobs[1].source for e in again)


def test_a_plan_says_how_long_some_workers_take(make: Maker, tmp_path: Path) -> None:
    jobs = jobs_of([make("many cuts").clip, make("one frame").clip], tmp_path)
    batch = api.batch(jobs, events.ignore, BatchSettings(ray="local"))
    plans = batch.plan_all()
    assert [plan.frames for plan in plans if not isinstance(plan, VrxError)] == [FRAMES, 1]
    note = batch.plan_note
    assert note is not None
    assert note.code == "cluster-plan"
    assert note.text.startswith("7 spans of 2 files, 91 frames; time by number of workers (2 here): 1: ")
    assert (note.facts["spans"], note.facts["frames"], note.facts["workers"]) == (7, 91, 2)
    assert note.facts["seconds_1"] > note.facts["seconds_2"] > 0  # type: ignore[operator]
    assert not any(output.exists() for output in outputs(jobs))


def test_a_plan_counts_the_start_and_what_each_file_takes_besides_its_frames(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_batch, "measure_file", lambda *_: (50.0, 400.0))
    monkeypatch.setattr(cluster_batch, "find_boundaries", None)  # short files are not read for it
    jobs = jobs_of([make("one frame").clip] * 4, tmp_path)
    batch = api.batch(jobs, events.ignore, BatchSettings(ray="local"))
    batch.plan_all()
    assert batch.plan_note is not None
    facts = batch.plan_note.facts
    assert 600 < facts["seconds_1"] < 660  # type: ignore[operator]
    assert 500 < facts["seconds_2"] < 560  # type: ignore[operator]


class AtFirstSpan(Deadline):
    """A deadline that is there once a span is begun; `heard` are all events."""

    def __init__(self) -> None:
        super().__init__(datetime.now().astimezone())
        object.__setattr__(self, "heard", [])

    heard: list[Event]

    @property
    def passed(self) -> bool:
        return any(isinstance(e, events.UnitChanged) and e.span is not None for e in self.heard)


def test_after_the_deadline_spans_at_work_are_finished_and_saved(make: Maker, tmp_path: Path) -> None:
    made, deadline = make("many cuts"), AtFirstSpan()
    (job,) = jobs_of([made.clip], tmp_path)
    batch = api.batch([job], deadline.heard.append, BatchSettings(ray="local", deadline=deadline))
    with pytest.raises(StoppedError, match=r"stopped at \d\d:\d\d") as caught:
        batch.restore_all()
    assert caught.value.exit_code == 130
    units = [e for e in deadline.heard if isinstance(e, events.UnitChanged) and e.span is not None]
    done = sum(e.frames for e in units if e.state == "done")
    assert {e.span for e in units if e.state == "begun"} == {e.span for e in units if e.state == "done"}
    assert 0 < done < FRAMES
    assert [(e.done, e.saved, e.exit_code) for e in batch.stops] == [(done, done, 130)]
    assert f"{done} saved; the same command resumes there" in str(interruption(caught.value, batch))
    heard: list[Event] = []
    restore_in_spans(job, heard.append)
    assert [e.facts["frames"] for e in heard if isinstance(e, events.Noted) and e.code == "resuming"] == [done]
    assert outputs([job])[0].read_bytes() == made.result
