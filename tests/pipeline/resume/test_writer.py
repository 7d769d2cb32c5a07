"""Results in segments: where they end, and that they are joined."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.clips import ClipMaker, read
from tests.pipeline.frames import stream
from tests.pipeline.jobs import make_job, open_session
from vrx.models.base import ChunkSchedule, SceneStart
from vrx.pipeline.chunking import Chunk, make_chunks
from vrx.pipeline.executor import Save, StreamState
from vrx.pipeline.resume import writer
from vrx.pipeline.resume.journal import Journal
from vrx.pipeline.resume.published import find
from vrx.pipeline.resume.workspace import folder_of
from vrx.pipeline.resume.writer import SegmentedWriter, can_segment, insert_checkpoints
from vrx.settings import RestoreSettings, Task

KEEP_SIZE = RestoreSettings(task=Task.DEBLUR)
SEGMENT_FRAMES = writer.SEGMENT_FRAMES


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_FRAMES", 8)


def test_saves_stand_between_parts() -> None:
    def places(within: bool, chunk: int) -> list[int]:
        items = list(
            insert_checkpoints(make_chunks(stream(30, cuts=[9, 13, 25]), ChunkSchedule(chunk, chunk), 2), within, None)
        )
        kept_at = [item.state.frame for item in items if isinstance(item, Save)]
        seen = 0
        for item in items:
            if isinstance(item, Chunk):
                seen = item.first_frame + len(item.frames)
            elif isinstance(item, Save):
                assert item.state.frame == seen
                assert item.with_stages == within
        return kept_at

    assert places(True, 4) == [8, 17, 25]
    assert places(False, 4) == [9, 25]
    assert places(False, 50) == [9, 25]


@pytest.mark.parametrize(("within", "expected"), [(True, [240, 500]), (False, [240])])
def test_a_segment_is_240_frames(monkeypatch: pytest.MonkeyPatch, within: bool, expected: list[int]) -> None:
    """Ten seconds of film: a segment ends with the first chunk, or scene, that reaches it."""
    monkeypatch.setattr(writer, "SEGMENT_FRAMES", SEGMENT_FRAMES)
    chunks = make_chunks(stream(500, cuts=[239, 240, 479], size=(4, 4)), ChunkSchedule(24, 24), 2)
    saves = [item.state.frame for item in insert_checkpoints(chunks, within, None) if isinstance(item, Save)]
    assert saves == expected


def test_segments_are_joined_into_one_result(clip: ClipMaker, tmp_path: Path) -> None:
    source, result = clip("in.mkv", frames=12, audio=True), tmp_path / "out.mkv"
    scene = SceneStart(0, (48, 64), (48, 64))
    with open_session(make_job(source, result, restore=KEEP_SIZE, codec="ffv1")) as session:
        frames = list(session.reader.frames())
        with Journal(result, {"a": "b"}) as journal, SegmentedWriter(session.target, journal) as out:
            for number, frame in enumerate(frames):
                out.write(frame)
                if number == 7:
                    out.save(StreamState(scene, 2, 8))
            assert (out.frames, out.saved, out.resumed_frames) == (12, 8, 0)
            out.finish(1)
    a, b = read(source), read(result)
    assert (a.times, a.kinds) == (b.times, b.kinds)
    assert np.array_equal(a.frames, b.frames)
    assert find(result) is None
    assert not folder_of(result).exists()


def test_another_run_continues_the_numbers(clip: ClipMaker, tmp_path: Path) -> None:
    source, result = clip("in.mkv", frames=12), tmp_path / "out.mkv"
    with open_session(make_job(source, result, restore=KEEP_SIZE, codec="ffv1")) as session:
        frames = list(session.reader.frames())
        with Journal(result, {}) as journal, SegmentedWriter(session.target, journal) as out:
            for frame in frames[:8]:
                out.write(frame)
            out.save(StreamState(SceneStart(3, (48, 64), (48, 64)), 2, 8))
        with Journal(result, {}) as journal, SegmentedWriter(session.target, journal) as out:
            assert (out.frames, out.resumed_frames, out.scene) == (8, 8, 3)
            for frame in frames[8:]:
                out.write(frame)
            out.finish(4, Fraction(12, 25))
    assert np.array_equal(read(result).frames, read(source).frames)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.mkv", True), ("a.mp4", True), ("a.nut", False), ("a_%d.png", False)]
)
def test_some_containers_can_be_joined(clip: ClipMaker, tmp_path: Path, name: str, expected: bool) -> None:
    with open_session(make_job(clip("in.mkv", frames=2), tmp_path / name)) as session:
        assert can_segment(session.target) == expected
