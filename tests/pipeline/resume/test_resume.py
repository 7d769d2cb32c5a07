"""Runs that are stopped go on where they stopped, and end as if nothing had happened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import ClipMaker, read
from tests.models import small
from vrx import api, events
from vrx.errors import InputError, OutputError
from vrx.events import Event
from vrx.pipeline import progress
from vrx.pipeline.resume import journal, opening, writer
from vrx.pipeline.resume.workspace import JOURNAL, folder_of
from vrx.pipeline.run import RestoreResult
from vrx.settings import Deinterlacing, Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task

SEGMENT_FRAMES = 8
SIZE = (32, 24)
VARIABLE = [700 + t for t in (0, 40, 80, 200, 240, 410, 450, 460, 600, 640, 1700, 1740, 1760, 1800, 2000, 2040, 2080)]


class StoppedHereError(Exception):
    """A run that ends in the middle."""


@pytest.fixture
def clip(tmp_path: Path) -> ClipMaker:
    """Small clips: what is tested here does not depend on their size."""
    return ClipMaker(tmp_path, SIZE)


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (writer, opening):
        monkeypatch.setattr(module, "SEGMENT_FRAMES", SEGMENT_FRAMES)


def job(source: Path, output: Path, task: Task = Task.UPSCALE, **changes: Any) -> Job:
    scale = 2 if task is Task.UPSCALE else 1
    mask, scale = changes.pop("mask", None), changes.pop("scale", scale)
    deinterlace = changes.pop("deinterlace", "auto")
    model = {"dtype": "fp32", **changes.pop("model", {})}
    sigma = 1.5 if task is Task.DEBLUR else None
    settings = {"overwrite": True, "codec": "auto", **changes}
    return Job(
        source=str(source),
        model=ModelSettings(**model),
        restore=RestoreSettings(task=task, scale=scale, mask=mask, sigma=sigma),
        selection=SelectionSettings(deinterlace=deinterlace),
        output=OutputSettings(path=str(output), **settings),
    )


def stop_after(frames: int) -> Callable[[Event], None]:
    """A watcher in whose sight a run ends once so many frames are written."""

    def watch(event: Event) -> None:
        if isinstance(event, events.Advanced) and event.done >= frames:
            raise StoppedHereError

    return watch


def interrupted(wanted: Job, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_EVERY", 0.0)
    with pytest.raises(StoppedHereError):
        api.restore(wanted, stop_after(frames))


def notes_of(wanted: Job) -> tuple[str, RestoreResult]:
    heard: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, events.Noted) and event.level != events.DETAIL:
            heard.append(event.text)

    outcome = api.restore(wanted, watch)
    return " | ".join(heard), outcome


def same(first: Path, second: Path) -> None:
    assert first.read_bytes() == second.read_bytes()
    a, b = read(first), read(second)
    assert a.times == b.times
    assert a.kinds == b.kinds
    assert np.array_equal(a.frames, b.frames)


@pytest.mark.parametrize(
    ("task", "stop", "done"),
    [(Task.UPSCALE, 10, 9), (Task.UPSCALE, 18, 17), (Task.DEBLUR, 10, 9), (Task.INPAINT, 18, 10)],  # which reads ahead
)
def test_a_stopped_run_goes_on_to_the_same_result(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: Task, stop: int, done: int
) -> None:
    source = clip("in.mkv", frames=22, cuts=[5, 20], audio=True)
    mask = None
    if task is Task.INPAINT:
        mask = clip("mask.mkv", frames=22)
    once = api.restore(job(source, tmp_path / "once.mkv", task, mask=mask))
    wanted = job(source, tmp_path / "twice.mkv", task, mask=mask)
    interrupted(wanted, stop, monkeypatch)
    assert not (tmp_path / "twice.mkv").exists()
    assert folder_of(tmp_path / "twice.mkv").is_dir()
    notes, outcome = notes_of(wanted)
    assert f"resuming after {done} frames" in notes
    assert (outcome.frames, outcome.scenes) == (22, once.scenes)
    same(tmp_path / "once.mkv", tmp_path / "twice.mkv")
    assert not folder_of(tmp_path / "twice.mkv").exists()


@pytest.mark.parametrize(("deinterlace", "frames"), [("double", 44), ("film", 22)])
def test_frames_of_fields_go_on_to_the_same_result(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deinterlace: Deinterlacing, frames: int
) -> None:
    source = clip("in.mkv", frames=22, audio=True)
    wanted = [job(source, tmp_path / f"{name}.mkv", deinterlace=deinterlace) for name in ("once", "twice")]
    api.restore(wanted[0])
    interrupted(wanted[1], 18, monkeypatch)
    notes, outcome = notes_of(wanted[1])
    assert "resuming after 1" in notes
    assert outcome.frames == frames
    same(tmp_path / "once.mkv", tmp_path / "twice.mkv")


@pytest.mark.parametrize(
    ("name", "codec"),
    [("out.mp4", "h264"), ("out.mov", "prores"), ("out.mkv", "ffv1"), ("out.mkv", "hevc"), ("out.webm", "vp9")],
)
def test_parts_keep_times_sound_and_tags(clip: ClipMaker, tmp_path: Path, name: str, codec: str) -> None:
    """Variable rate, a late start, three parts: as a result in one piece has them."""
    source = clip("in.mkv", times=VARIABLE, audio=True)
    whole, parts = tmp_path / f"whole-{name}", tmp_path / name
    api.restore(job(source, whole, codec=codec, resume=False))
    api.restore(job(source, parts, codec=codec))
    a, b = read(whole), read(parts)
    assert a.times == b.times
    assert len(b.times) == len(VARIABLE)
    assert max(abs(float(t) * 1000 - v) for t, v in zip(b.times, VARIABLE, strict=True)) <= 1
    assert (a.kinds, a.pix_fmt) == (b.kinds, b.pix_fmt)
    assert np.abs(a.frames.astype(int) - b.frames).mean() < 2  # encoders begin anew with each part
    if codec == "ffv1":
        assert np.array_equal(a.frames, b.frames)


def test_large_models_go_on_where_a_scene_ends(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clip("in.mkv", frames=40, cuts=[17, 33], size=(40, 24))
    model = {"name": str(small.flashvsr(tmp_path / "model"))}
    once, twice = tmp_path / "once.mkv", tmp_path / "twice.mkv"
    api.restore(job(source, once, model=model, codec="ffv1", scale=4))
    interrupted(job(source, twice, model=model, codec="ffv1", scale=4), 25, monkeypatch)
    folder = folder_of(twice)
    assert json.loads((folder / JOURNAL).read_text())["frame"] == 17
    assert not list(folder.glob("state*"))
    api.restore(job(source, twice, model=model, codec="ffv1", scale=4))
    same(once, twice)


@pytest.mark.parametrize("change", ["source", "mask"])
def test_work_of_another_command_is_not_continued(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    source = clip("in.mkv", frames=20)
    mask = clip("mask.mkv", frames=20)
    out = tmp_path / "out.mkv"
    interrupted(job(source, out, Task.INPAINT, mask=mask), 18, monkeypatch)
    if change == "source":
        clip("in.mkv", frames=21)
        word = "the input"
    else:
        clip("mask.mkv", frames=19)
        word = "the file of --mask"
    notes, outcome = notes_of(job(source, out, Task.INPAINT, mask=mask))
    assert f"cannot resume (changed: {word}); starting over" in notes
    assert outcome.frames == (21 if change == "source" else 20)


@pytest.mark.parametrize("harm", ["part", "state", "journal", "name", "gone"])
def test_damaged_work_is_done_again(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    source, out = clip("in.mkv", frames=20), tmp_path / "out.mkv"
    api.restore(job(source, tmp_path / "once.mkv"))
    interrupted(job(source, out), 17, monkeypatch)
    folder = folder_of(out)
    if harm == "part":
        path = folder / "000001.mkv"
        held = bytearray(path.read_bytes())
        held[len(held) // 2] ^= 1
        path.write_bytes(held)
    elif harm == "state":
        next(folder.glob("state*")).write_bytes(b"nothing")
    elif harm == "journal":
        (folder / JOURNAL).write_text((folder / JOURNAL).read_text()[:100])
    elif harm == "gone":
        (folder / "000000.mkv").unlink()
    else:
        record = json.loads((folder / JOURNAL).read_text())
        record["segments"][0]["name"] = "../in.mkv"
        (folder / JOURNAL).write_text(json.dumps(record))
    notes, outcome = notes_of(job(source, out))
    assert "starting over" in notes
    assert "damaged files" in notes
    assert outcome.frames == 20
    same(tmp_path / "once.mkv", out)
    assert source.exists()


def test_without_resume_nothing_is_kept(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = clip("in.mkv", frames=20), tmp_path / "out.mkv"
    interrupted(job(source, out, resume=False), 17, monkeypatch)
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv"}
    interrupted(job(source, out), 17, monkeypatch)
    notes, _ = notes_of(job(source, out, resume=False))
    assert "is deleted" in notes
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv", "out.mkv"}


def test_what_a_kill_left_under_way_is_cleared(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = clip("in.mkv", frames=26), tmp_path / "out.mkv"
    interrupted(job(source, out), 9, monkeypatch)
    left = folder_of(out) / ".000001.0123abcd.part.mkv"
    left.write_bytes(b"half a part")
    interrupted(job(source, out), 17, monkeypatch)
    assert not left.exists()
    assert api.restore(job(source, out)).frames == 26


def test_a_run_stopped_before_its_first_part_leaves_nothing(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(job(clip("in.mkv", frames=20), tmp_path / "out.mkv"), 4, monkeypatch)
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv"}


def test_two_runs_do_not_write_one_result(clip: ClipMaker, tmp_path: Path) -> None:
    wanted = job(clip("in.mkv", frames=20), tmp_path / "out.mkv")
    refused: list[bool] = []

    def watch(event: Event) -> None:
        if isinstance(event, events.Advanced) and not refused:
            with pytest.raises(OutputError, match="another vrx is writing"):
                api.restore(wanted)
            refused.append(True)

    assert api.restore(wanted, watch).frames == 20
    assert refused


def test_a_join_that_fails_keeps_the_parts(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = clip("in.mkv", frames=20), tmp_path / "out.mkv"
    api.restore(job(source, tmp_path / "once.mkv"))
    with monkeypatch.context() as patched:
        patched.setattr("vrx.media.segments.count_frames", lambda path: 19)
        with pytest.raises(OutputError, match="joined file has 19 of 20 frames; output discarded"):
            api.restore(job(source, out))
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv", "once.mkv", folder_of(out).name}
    notes, _ = notes_of(job(source, out))
    assert "resuming after 16 frames" in notes
    same(tmp_path / "once.mkv", out)


def test_where_files_cannot_be_locked_one_can_do_without(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(self: object) -> None:
        raise NotImplementedError("no flock here")

    monkeypatch.setattr("vrx.pipeline.resume.workspace.FileLock.acquire", acquire)
    source, out = clip("in.mkv", frames=20), tmp_path / "out.mkv"
    with pytest.raises(OutputError, match="--no-resume"):
        api.restore(job(source, out))
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv"}
    assert api.restore(job(source, out, resume=False)).frames == 20


def test_strange_names(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "it's a %d ?#\n folder"
    folder.mkdir()
    source = clip("in.mkv", frames=20, audio=True)
    for name in ("-a'b?#.mkv", "ü" * 120 + ".mp4"):
        out = folder / name
        interrupted(job(source, out), 9, monkeypatch)
        assert api.restore(job(source, out)).frames == 20
        assert read(out).kinds == ["video", "audio"]
    assert len(list(folder.iterdir())) == 2


def test_short_clips_pictures_and_other_containers_are_made_in_one_go(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(opening, "Journal", lambda path, marks: made.append(path))
    api.restore(job(clip("short.mkv", frames=SEGMENT_FRAMES), tmp_path / "short.x2.mkv"))
    long = clip("in.mkv", frames=10)
    api.restore(job(long, tmp_path / "out.nut"))
    api.restore(job(long, tmp_path / "f_%03d.png"))
    assert made == []


def test_a_damaged_source_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "in.mkv").write_bytes(b"no video")
    with pytest.raises(InputError):
        api.restore(job(tmp_path / "in.mkv", tmp_path / "out.mkv"))
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv"}


class KilledError(BaseException):
    """Stands for the end of the process."""


def killed_before_clearing(wanted: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(journal: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "remove", kill)
        with pytest.raises(KilledError):
            api.restore(wanted)


@pytest.mark.parametrize(
    "changes", [{"overwrite": False}, {"overwrite": True}, {"overwrite": False, "skip_existing": True}]
)
def test_a_result_that_its_run_published_counts_as_done_and_the_rest_is_cleared(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    wanted = job(clip(frames=2 * SEGMENT_FRAMES + 2, size=(32, 24)), tmp_path / "out.mkv", **changes)
    killed_before_clearing(wanted, monkeypatch)
    made = (tmp_path / "out.mkv").read_bytes()
    assert folder_of(tmp_path / "out.mkv").is_dir()
    said, outcome = notes_of(wanted)
    assert "finished by an earlier run" in said
    assert outcome.frames == (0 if outcome.skipped else 2 * SEGMENT_FRAMES + 2)
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mkv", "out.mkv"}
    assert (tmp_path / "out.mkv").read_bytes() == made


def test_another_file_or_another_command_is_not_taken_for_a_published_result(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = job(clip(frames=2 * SEGMENT_FRAMES + 2, size=(32, 24)), tmp_path / "out.mkv", overwrite=False)
    killed_before_clearing(wanted, monkeypatch)
    with pytest.raises(OutputError, match="exists"):
        api.restore(job(tmp_path / "clip.mkv", tmp_path / "out.mkv", overwrite=False, crf=30))
    (tmp_path / "out.mkv").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        api.restore(wanted)
    assert (tmp_path / "out.mkv").read_bytes() == b"mine"
    api.restore(job(tmp_path / "clip.mkv", tmp_path / "out.mkv", resume=False))
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mkv", "out.mkv"}
