"""Batches on a real cluster of two raylets: the bytes of one process, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cluster.batches import Maker, check_results, jobs_of, run
from tests.cluster.conftest import SMALL, needs_ray, persist
from vrx import api, events
from vrx.batches import BatchSettings
from vrx.cli.batch import interruption
from vrx.cluster.shipping import FOLDER
from vrx.errors import VrxError
from vrx.events import Event
from vrx.pipeline.run import RestoreResult
from vrx.pipeline.spans.result import restore_in_spans

pytestmark = [needs_ray, pytest.mark.usefixtures("short_spans")]
MIXED = ("variable rate", "sound", "transport stream", "webm", "many cuts", "one frame")


def test_many_kinds_of_clips_have_the_bytes_of_one_process(cluster: Any, make: Maker, tmp_path: Path) -> None:
    made = [make(kind) for kind in MIXED]
    jobs = jobs_of([one.clip for one in made], tmp_path)
    heard: list[Event] = []
    results = run(jobs, cluster.address, heard.append)
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
    results = run([*jobs, numbered], cluster.address, ship=True)
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


def test_an_interrupted_batch_goes_on_and_loses_and_doubles_nothing_whatever_is_killed(
    cluster: Any, make: Maker, tmp_path: Path
) -> None:
    made = [make("many cuts"), make("one frame"), make("sound")]
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
    killer = Killer(cluster, {2: "worker", 3: "raylet", 5: "worker"})
    check_results(jobs, made, run(jobs, cluster.address, killer))
    finished = [e for e in killer.heard if isinstance(e, events.Finished)]
    assert [e.input for e in finished if e.resumed_frames == e.frames] == complete
    codes = [e.code for e in killer.heard if isinstance(e, events.Noted)]
    assert codes.count("worker-lost") >= 2  # a raylet whose worker is still starting takes none along
    assert "unit-retried" in codes
