"""Events while frames are written."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.clips import ClipMaker
from tests.pipeline.frames import stream
from tests.pipeline.jobs import make_job, open_session
from vrx import events
from vrx.errors import TerminatedError
from vrx.events import Event, Note
from vrx.models.base import ChunkSchedule, SceneStart
from vrx.networks.fusion import report_failure, take_failures
from vrx.pipeline import progress as module
from vrx.pipeline.chunking import Chunk, make_chunks
from vrx.pipeline.executor import InFlight
from vrx.pipeline.progress import Progress


@pytest.fixture
def heard() -> list[Event]:
    return []


def made(session: Any, **writer: int) -> Progress:
    found = {"frames": 0, "resumed_frames": 0, "scene": 0, **writer}
    progress = Progress(session, SimpleNamespace(**found), 0.0)  # type: ignore[arg-type]
    progress.follow(SimpleNamespace(queues=lambda: {"encode": 1}))  # type: ignore[arg-type]
    return progress


def test_scenes_count_from_one_and_soft_ones_keep_their_number(
    clip: ClipMaker, heard: list[Event], tmp_path: Path
) -> None:
    chunk = next(i for i in make_chunks(stream(4, soft=[2]), ChunkSchedule(4, 4), 2) if isinstance(i, Chunk))
    with open_session(make_job(clip("in.mkv"), tmp_path / "out.mkv"), heard) as session:
        progress = made(session, frames=7)
        progress.begin_scene(SceneStart(2, (1, 1), (2, 2)))
        progress.begin_chunk(InFlight(replace(chunk, first_frame=7), notes=(Note("x", "blurred"),)))
    scenes = [event for event in heard if isinstance(event, events.SceneBegan)]
    assert [(event.number, event.frame, event.soft) for event in scenes] == [(3, 7, False), (3, 9, True)]
    assert isinstance(heard[-1], events.Noted)


def test_what_runs_in_another_way_is_said_with_its_own_code(
    clip: ClipMaker, heard: list[Event], tmp_path: Path
) -> None:
    chunk = next(i for i in make_chunks(stream(4), ChunkSchedule(4, 4), 2) if isinstance(i, Chunk))
    take_failures()
    report_failure("not-recorded", "frames are restored without a recorded graph", RuntimeError("busy"))
    with open_session(make_job(clip("in.mkv"), tmp_path / "out.mkv"), heard) as session:
        made(session).begin_chunk(InFlight(chunk))
    (note,) = [event for event in heard if isinstance(event, events.Noted) and event.code == "not-recorded"]
    assert (note.level, note.text) == ("warning", "frames are restored without a recorded graph: RuntimeError: busy")


def test_what_is_restored_again_is_not_reported_again(clip: ClipMaker, heard: list[Event], tmp_path: Path) -> None:
    chunk = next(i for i in make_chunks(stream(4, soft=[2]), ChunkSchedule(4, 4), 2) if isinstance(i, Chunk))
    with open_session(make_job(clip("in.mkv"), tmp_path / "out.mkv"), heard) as session:
        heard.clear()  # of what opening tells
        progress = made(session, frames=7)
        for _ in range(2):
            progress.begin_scene(SceneStart(0, (1, 1), (2, 2)))
            progress.begin_chunk(InFlight(chunk, notes=(Note("x", "blurred"),)))
    assert [type(event) for event in heard] == [events.SceneBegan]


def test_progress_is_reported_now_and_then(
    clip: ClipMaker, heard: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_session(make_job(clip("in.mkv", frames=5), tmp_path / "out.mkv"), heard) as session:
        progress = made(session, frames=4, resumed_frames=2)
        monkeypatch.setattr(module, "perf_counter", lambda: 1.0)
        progress.end_chunk()
        progress.end_chunk()  # too soon
        progress.report()  # no frame more
    (event,) = [event for event in heard if isinstance(event, events.Advanced)]
    assert (event.done, event.frames, event.fps, event.queues) == (4, 5, 2.0, {"encode": 1})


def test_more_frames_than_the_header_tells_have_no_total(clip: ClipMaker, heard: list[Event], tmp_path: Path) -> None:
    with open_session(make_job(clip("in.mkv", frames=5), tmp_path / "out.mkv"), heard) as session:
        made(session, frames=6).report()
    assert isinstance(heard[-1], events.Advanced)
    assert heard[-1].frames is None


def test_a_stop_says_what_is_done_and_saved(clip: ClipMaker, heard: list[Event], tmp_path: Path) -> None:
    with open_session(make_job(clip("in.mkv", frames=5), tmp_path / "out.mkv"), heard) as session:
        made(session, frames=3).stop(KeyboardInterrupt())
        made(session, frames=3).stop(TerminatedError("terminated"))
    stops = [event for event in heard if isinstance(event, events.Stopped)]
    assert [(event.done, event.frames, event.saved, event.exit_code) for event in stops] == [
        (3, 5, 0, 130),
        (3, 5, 0, 143),
    ]
