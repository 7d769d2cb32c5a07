"""--until: a run stops after the chunk at hand, everything done is saved, and the same command resumes."""

import errno
import re
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.pipeline.jobs import make_job, open_session
from vrx import events
from vrx.batches import BatchSettings, Deadline
from vrx.cli.parsing import parse_clock
from vrx.errors import StoppedError, UsageError
from vrx.media.frame import Frame, Kind, Layout
from vrx.media.raw_frames import RawFrames, plane_shapes, read_raw_frames
from vrx.pipeline.batch import Batch
from vrx.pipeline.resume import opening, writer
from vrx.pipeline.resume.workspace import folder_of
from vrx.settings import Job

SIZE = (32, 24)
LAYOUTS = [
    Layout(Kind.YUV, 8, 1, 1),
    Layout(Kind.YUV, 10, 1, 0),
    Layout(Kind.YUV, 12, 0, 0),
    Layout(Kind.YUV, 8, 1, 1, alpha=True),
    Layout(Kind.RGB, 8),
    Layout(Kind.RGB, 16, alpha=True),
    Layout(Kind.GRAY, 10),
    Layout(Kind.GRAY, 8, alpha=True),
]


@pytest.fixture
def clip(tmp_path: Path) -> ClipMaker:
    """Small clips: what is tested here does not depend on their size."""
    return ClipMaker(tmp_path, SIZE)


class AfterCalls(Deadline):
    """A deadline that is there once it was asked about a number of times."""

    def __init__(self, calls: int) -> None:
        super().__init__(datetime.now().astimezone())
        object.__setattr__(self, "calls", calls)

    @property
    def passed(self) -> bool:
        object.__setattr__(self, "calls", self.calls - 1)  # type: ignore[attr-defined]
        return self.calls < 0  # type: ignore[attr-defined]


def stop(job: Job, calls: int) -> events.Stopped:
    seen: list[events.Event] = []
    batch = Batch([job], seen.append, BatchSettings(deadline=AfterCalls(calls)))
    with pytest.raises(StoppedError, match=r"stopped at \d\d:\d\d"):
        batch.restore_all()
    assert isinstance(seen[-1], events.BatchFinished)
    assert seen[-1].exit_code == 130
    assert batch.stops
    return batch.stops[0]


@pytest.mark.parametrize(("segment", "name"), [(240, "out.mkv"), (14, "out.mkv"), (14, "out.mp4"), (4, "out.mkv")])
def test_all_that_is_done_is_saved_and_the_same_run_resumes(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment: int, name: str
) -> None:
    """`segment`: frames that one has at least."""
    for module in (writer, opening):
        monkeypatch.setattr(module, "SEGMENT_FRAMES", segment)
    source = clip("in.mkv", frames=30, cuts=[11])
    job = make_job(source, tmp_path / name)
    stopped = stop(job, 4)
    assert 0 < stopped.saved == stopped.done < 30
    assert not (tmp_path / name).exists()
    assert stop(job, 4).saved > stopped.saved  # a second night goes on from there
    seen: list[events.Event] = []
    result = Batch([job], seen.append).restore(0)  # also without a deadline
    assert result.frames == 30
    assert next(e for e in seen if isinstance(e, events.Started)).resumed_frames > stopped.saved
    whole = Batch([make_job(source, tmp_path / f"whole-{name}")], events.ignore).restore(0)
    assert whole.path is not None
    if segment < 30:
        assert (tmp_path / name).read_bytes() == whole.path.read_bytes()
    else:  # one that is written at once differs in what its container says of it
        assert np.array_equal(read(tmp_path / name).frames, read(whole.path).frames)
        assert read(tmp_path / name).times == read(whole.path).times
    assert not folder_of(tmp_path / name).exists()


@pytest.mark.parametrize("fails", ["write", "finish"])
def test_a_disk_without_room_for_the_tail_ends_the_segment(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(self: RawFrames, *frame: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RawFrames, fails, full)
    job = make_job(clip("in.mkv", frames=12), tmp_path / "out.mkv")
    stopped = stop(job, 4)
    assert 0 < stopped.saved == stopped.done < 12
    assert not list(folder_of(tmp_path / "out.mkv").glob("*.raw"))
    assert Batch([job], events.ignore).restore(0).frames == 12


@pytest.mark.parametrize(("segments", "kept"), [(4.0, True), (3.99, False)])
def test_a_tail_leaves_most_of_the_disk_to_the_result(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segments: float, kept: bool
) -> None:
    frame = 2 * 48 * 2 * 64 * 3 // 2  # bytes of a result in 4:2:0
    free = SimpleNamespace(free=int(segments * writer.SEGMENT_FRAMES * frame))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    job = make_job(clip("in.mkv", frames=12, size=(64, 48)), tmp_path / "out.mkv")
    stop(job, 4)
    assert bool(list(folder_of(tmp_path / "out.mkv").glob("*.raw"))) == kept


def test_every_layout_is_kept_as_it_is(clip: ClipMaker, tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    with open_session(make_job(clip("in.mkv", frames=1), tmp_path / "out.mkv")) as session:
        for layout in LAYOUTS:
            target = replace(session.target, layout=layout, size=(7, 5))
            kind = np.uint8 if layout.depth == 8 else np.uint16
            shapes = plane_shapes(target)
            frames = [
                Frame(
                    tuple(generator.integers(0, layout.peak + 1, shape, kind) for shape in shapes),
                    layout,
                    target.color,
                    pts,
                    Fraction(1001, 30000),
                )
                for pts in (-1, 0, 5)
            ]
            raw = RawFrames(tmp_path / f"{layout.pix_fmt}.raw")
            for frame in frames:
                raw.write(frame)
            raw.finish()
            again = list(read_raw_frames(raw.path, raw.times, target))
            assert [frame.time for frame in again] == [frame.time for frame in frames]
            for frame, one in zip(frames, again, strict=True):
                assert all(map(np.array_equal, frame.planes, one.planes))
            with pytest.raises(ValueError, match="ends early"):
                list(read_raw_frames(raw.path, [*raw.times, Fraction(9)], target))


def test_a_run_that_ends_by_then_is_whole(clip: ClipMaker, tmp_path: Path) -> None:
    job = make_job(clip("in.mkv", frames=8), tmp_path / "out.mkv")
    batch = Batch([job], events.ignore, BatchSettings(deadline=AfterCalls(1000)))
    batch.restore_all()
    assert batch.exit_code() == 0
    assert len(read(tmp_path / "out.mkv").frames) == 8


def test_what_cannot_be_resumed_is_said_before_and_stops_at_once(clip: ClipMaker, tmp_path: Path) -> None:
    seen: list[events.Event] = []
    batch = Batch(
        [make_job(clip("in.mkv", frames=12), tmp_path / "out.nut")],
        seen.append,
        BatchSettings(deadline=AfterCalls(2)),
    )
    with pytest.raises(StoppedError):
        batch.restore_all()
    notes = [e for e in seen if isinstance(e, events.Noted) and e.code == "not-resumable"]
    assert [(note.level, "starts again" in note.text) for note in notes] == [("warning", True)]
    assert batch.stops
    assert batch.stops[0].saved == 0
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_no_job_begins_after_the_deadline(clip: ClipMaker, tmp_path: Path) -> None:
    jobs = [make_job(clip(f"{name}.mkv", frames=1), tmp_path / f"{name}.x2.mkv") for name in "ab"]
    batch = Batch(jobs, events.ignore, BatchSettings(deadline=AfterCalls(1)))
    with pytest.raises(StoppedError):
        batch.restore_all()
    assert list(batch.results) == [0]


def test_a_clock_names_its_next_moment() -> None:
    now = datetime.now()
    for minutes in (-2, 2):
        wanted = now + timedelta(minutes=minutes)
        moment = parse_clock(f"{wanted:%H:%M}").moment
        assert moment is not None
        left = (moment - now.astimezone()).total_seconds()
        assert 0 < left <= 86400 + 3600
        assert (left < 300) == (minutes > 0)
        assert f"{moment:%H:%M}" == f"{wanted:%H:%M}"
    assert parse_clock(None).moment is None
    assert not parse_clock(None).passed


@pytest.mark.parametrize("text", ["6", "25:00", "06:61", "soon", "6 pm", ""])
def test_another_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--until is"):
        parse_clock(text)


@pytest.mark.parametrize(
    ("changes", "option"),
    [({"overwrite": True}, "--overwrite (-y)"), ({"resume": False}, "--no-resume"), ({"path": "-"}, "pipes")],
)
def test_what_a_later_run_cannot_continue_is_refused_in_python_too(changes: dict[str, object], option: str) -> None:
    settings = BatchSettings(deadline=Deadline(datetime.now().astimezone() + timedelta(hours=1)))
    job = make_job("a.mkv")
    refused = replace(job, output=replace(job.output, **changes))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"--until and {re.escape(option)} are mutually exclusive"):
        Batch([refused], events.ignore, settings)
    assert settings.prepare(job).output.skip_existing
    assert not job.output.skip_existing
    assert BatchSettings().prepare(refused) is refused


def test_until_skips_what_exists_and_refuses_what_would_start_over(
    vrx: Command, clip: ClipMaker, tmp_path: Path
) -> None:
    clip("a.mkv", frames=1)
    (tmp_path / "a.x2.mkv").write_text("done last night")
    later = f"{datetime.now() + timedelta(hours=12):%H:%M}"
    done = vrx("upscale", "a.mkv", "-s", "2", "--until", later)
    assert (done.returncode, "a.mkv: skipped, a.x2.mkv exists" in done.stderr) == (0, True)
    for words in (("a.mkv", "-y"), ("a.mkv", "--no-resume"), ("a.mkv", "-o", "-"), ("-", "-o", "b.mkv")):
        done = vrx("upscale", *words, "--until", later)
        assert (done.returncode, "--until and" in done.stderr) == (2, True), words
