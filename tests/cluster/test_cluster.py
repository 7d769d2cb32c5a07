"""Batches on a real cluster of two raylets: the bytes of one process, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.clips import ClipMaker
from tests.cluster.conftest import SMALL, needs_ray, persist
from tests.pipeline.jobs import make_job
from tests.pipeline.spans.sources import FRAMES, KINDS
from vrx import api, events
from vrx.batches import BatchSettings, Deadline
from vrx.cli.batch import interruption
from vrx.cluster.shipping import FOLDER
from vrx.errors import OutputError, StoppedError, VrxError
from vrx.events import Event
from vrx.pipeline.jobs import JobResult
from vrx.pipeline.resume.workspace import folder_of
from vrx.pipeline.run import RestoreResult
from vrx.pipeline.spans import result
from vrx.pipeline.spans.result import restore_in_spans
from vrx.settings import Job

pytestmark = needs_ray
LEAST = 16  # frames of a span
MIXED = ("variable rate", "sound", "transport stream", "webm", "many cuts", "one frame")


@dataclass(frozen=True)
class Made:
    """A clip, and the result that one process makes of it, with the same spans."""

    clip: Path
    result: bytes


Maker = Callable[[str], Made]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Clips of some kinds, each made and restored once."""

    @cache
    def make_once(kind: str) -> Made:
        folder = tmp_path_factory.mktemp(kind.replace(" ", "-"))
        clip = KINDS[kind](ClipMaker(folder))
        (job,) = jobs_of([clip], folder)
        restore_in_spans(job)
        return Made(clip, outputs([job])[0].read_bytes())

    return make_once


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from vrx.cluster import batch, files

    for module in (result, files, batch):
        monkeypatch.setattr(module, "SEGMENT_FRAMES", LEAST)


def jobs_of(clips: Sequence[Path], folder: Path, **written: Any) -> list[Job]:
    """A job for each clip, with one thread, as workers have."""
    jobs = [make_job(clip, folder / f"{clip.stem}-{n}{suffix_of(clip)}", **written) for n, clip in enumerate(clips)]
    return [replace(job, model=replace(job.model, threads=1)) for job in jobs]


def suffix_of(clip: Path) -> str:
    return clip.suffix if clip.suffix in (".mkv", ".mp4", ".webm", ".mov") else ".mkv"


def run(
    jobs: Sequence[Job], cluster: Any, watch: Callable[[Event], None] = events.ignore, **settings: Any
) -> dict[int, JobResult]:
    batch = api.batch(jobs, watch, BatchSettings(ray=cluster.address, **settings))
    batch.restore_all()
    return batch.results


def outputs(jobs: Sequence[Job]) -> list[Path]:
    return [Path(str(job.output.path)) for job in jobs]


def check_results(jobs: Sequence[Job], made: Sequence[Made], results: dict[int, JobResult]) -> None:
    assert {n: done.result for n, done in results.items() if isinstance(done.result, VrxError)} == {}
    assert sorted(results) == list(range(len(jobs)))
    for output, one in zip(outputs(jobs), made, strict=True):
        assert output.read_bytes() == one.result, one.clip


def test_many_kinds_of_clips_have_the_bytes_of_one_process(cluster: Any, make: Maker, tmp_path: Path) -> None:
    made = [make(kind) for kind in MIXED]
    jobs = jobs_of([one.clip for one in made], tmp_path)
    heard: list[Event] = []
    results = run(jobs, cluster, heard.append)
    check_results(jobs, made, results)
    spans = [e for e in heard if isinstance(e, events.UnitChanged)]
    assert len({e.node for e in spans}) == 2
    assert {e.input for e in spans if e.span is None} == {jobs[-1].source}  # the only short one
    assert sum(e.span is not None and e.state == "done" for e in spans) > 15
    nodes = [e for e in heard if isinstance(e, events.NodeFinished)]
    restored = [done.result for done in results.values() if isinstance(done.result, RestoreResult)]
    assert len(restored) == len(results)
    assert sum(e.frames for e in nodes) == sum(found.frames for found in restored)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_shipped_files_give_the_same_bytes(cluster: Any, make: Maker, tmp_path: Path) -> None:
    made = [make("sound"), make("one frame")]
    jobs = jobs_of([one.clip for one in made], tmp_path)
    pictures = sequence_of(tmp_path / "pictures", 3)
    numbered, alone = (
        replace(jobs[0], source=str(pictures), output=replace(jobs[0].output, path=str(tmp_path / name / "%02d.png")))
        for name in ("there", "here")
    )
    for name in ("there", "here"):
        (tmp_path / name).mkdir()
    copies = Path(tempfile.gettempdir()) / FOLDER
    before = set(copies.glob("*"))
    results = run([*jobs, numbered], cluster, ship=True)
    sent = results.pop(2).result
    assert not isinstance(sent, VrxError), sent
    assert sent.frames == 3
    check_results(jobs, made, results)
    restore_in_spans(alone)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert sorted(expected) == ["00.png", "01.png", "02.png"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == expected
    assert set(copies.glob("*")) <= before  # nodes keep nothing


def sequence_of(folder: Path, count: int) -> Path:
    """A numbered sequence of pictures."""
    folder.mkdir()
    for number in range(count):
        picture = np.random.default_rng(number).integers(0, 256, (32, 48, 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{number:02d}.png")
    return folder / "%02d.png"


class Killer:
    """Kills workers by their process, and once a raylet, when spans begin."""

    def __init__(self, cluster: Any, at: dict[int, str]) -> None:
        self._cluster, self._at, self.begun = cluster, at, 0
        self._processes: dict[str, int] = {}
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)
        if isinstance(event, events.WorkerJoined):
            self._processes[event.worker] = event.pid
        if isinstance(event, events.UnitChanged) and event.state == "begun":
            self.begun += 1
            what = self._at.get(self.begun)
            if what == "worker":
                os.kill(self._processes[event.worker], signal.SIGKILL)
            elif what == "raylet":
                self._cluster.remove_node(next(iter(self._cluster.worker_nodes)), allow_graceful=False)
                persist(lambda: self._cluster.add_node(**SMALL))


def test_killed_workers_and_raylets_lose_and_double_nothing(cluster: Any, make: Maker, tmp_path: Path) -> None:
    made = [make("many cuts"), make("sound")]
    jobs = jobs_of([one.clip for one in made], tmp_path)
    killer = Killer(cluster, {2: "worker", 4: "raylet", 6: "worker"})
    check_results(jobs, made, run(jobs, cluster, killer))
    codes = [e.code for e in killer.heard if isinstance(e, events.Noted)]
    assert codes.count("worker-lost") >= 2  # a raylet whose worker is still starting takes none along
    assert "unit-retried" in codes


def test_a_poisoned_span_and_a_result_in_use_fail_their_files_and_not_the_batch(
    cluster: Any, make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vrx.cluster import files
    from vrx.pipeline.spans.journal import SpanJournal

    plain = files.Feeder._span_task

    def poison(self: Any, file: Any, work: Any, shipments: Any) -> Any:
        if work.span.number == 2 and file.number == 0:
            work = replace(work, span=replace(work.span, head=1))
        return plain(self, file, work, shipments)

    monkeypatch.setattr(files.Feeder, "_span_task", poison)
    made = [make("many cuts"), make("one frame"), make("sound")]
    jobs = jobs_of([one.clip for one in made], tmp_path)
    with SpanJournal(outputs(jobs)[2], {}):
        results = run(jobs, cluster)
    assert isinstance(results[0].result, VrxError)
    assert "3 times" in results[0].result.message
    assert results[1].result.frames == 1  # type: ignore[union-attr]
    assert isinstance(results[2].result, OutputError)
    assert "another vrx is writing" in results[2].result.message
    assert not outputs(jobs)[0].exists()
    assert folder_of(outputs(jobs)[0]).exists()  # what was restored is kept
    monkeypatch.undo()
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(result, "SEGMENT_FRAMES", LEAST)
    monkeypatch.setattr(files, "SEGMENT_FRAMES", LEAST)
    again: list[Event] = []
    check_results(jobs, made, run(jobs, cluster, again.append))
    assert any(isinstance(e, events.Noted) and e.code == "resuming" for e in again)
    assert not any(isinstance(e, events.UnitChanged) and e.input == jobs[1].source for e in again)


def test_a_plan_says_how_long_some_workers_take(cluster: Any, make: Maker, tmp_path: Path) -> None:
    jobs = jobs_of([make("many cuts").clip, make("one frame").clip], tmp_path)
    batch = api.batch(jobs, events.ignore, BatchSettings(ray=cluster.address))
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
    cluster: Any, make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vrx.cluster import batch as cluster_batch

    monkeypatch.setattr(cluster_batch, "measure_file", lambda *_: (50.0, 400.0))
    monkeypatch.setattr(cluster_batch, "find_boundaries", None)  # short files are not read for it
    jobs = jobs_of([make("one frame").clip] * 4, tmp_path)
    batch = api.batch(jobs, events.ignore, BatchSettings(ray=cluster.address))
    batch.plan_all()
    assert batch.plan_note is not None
    facts = batch.plan_note.facts
    assert 600 < facts["seconds_1"] < 660  # type: ignore[operator]
    assert 500 < facts["seconds_2"] < 560  # type: ignore[operator]


def test_an_interrupted_batch_needs_no_other_command(cluster: Any, make: Maker, tmp_path: Path) -> None:
    made = [make("many cuts"), make("one frame")]
    jobs = jobs_of([one.clip for one in made], tmp_path)
    said: list[str] = []
    complete: list[str] = []

    def stop(event: Event) -> None:
        if isinstance(event, events.Noted):
            said.append(event.text)
        if isinstance(event, events.Finished):
            complete.append(event.input)
            raise KeyboardInterrupt

    batch = api.batch(jobs, stop, BatchSettings(ray=cluster.address))
    with pytest.raises(KeyboardInterrupt) as caught:
        batch.restore_all()
    assert f"{cluster.address}: 2 workers on 2 nodes" in said[0]
    hint = interruption(caught.value, batch).hint or ""
    assert "-n" not in hint
    assert "the same command" in hint.lower()
    again: list[Event] = []
    check_results(jobs, made, run(jobs, cluster, again.append))
    finished = [e for e in again if isinstance(e, events.Finished)]
    assert [e.input for e in finished if e.resumed_frames == e.frames] == complete


class AtFirstSpan(Deadline):
    """A deadline that is there once a span is begun; `heard` are all events."""

    def __init__(self) -> None:
        super().__init__(datetime.now().astimezone())
        object.__setattr__(self, "heard", [])

    heard: list[Event]

    @property
    def passed(self) -> bool:
        return any(isinstance(e, events.UnitChanged) and e.span is not None for e in self.heard)


def test_after_the_deadline_spans_at_work_are_finished_and_saved(cluster: Any, make: Maker, tmp_path: Path) -> None:
    made, deadline = make("many cuts"), AtFirstSpan()
    (job,) = jobs_of([made.clip], tmp_path)
    batch = api.batch([job], deadline.heard.append, BatchSettings(ray=cluster.address, deadline=deadline))
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
