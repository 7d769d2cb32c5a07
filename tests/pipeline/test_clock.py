"""Whole runs of sources with a broken clock: results, resumed ones and parts, have pictures and sound in step."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.clips import Read, joined, number_of, read, tones, write_counted
from tests.pipeline.resume.test_resume import StoppedHereError, stop_after
from vrx import api, events
from vrx.events import Event
from vrx.media.ffmpeg import FFmpegProcess
from vrx.pipeline import progress
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.resume import opening, writer
from vrx.pipeline.session import Session
from vrx.pipeline.source import iter_masked_frames
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task

FRAME = 1 / 12


def job(source: Path, output: Path, mask: Path | None = None, **selection: object) -> Job:
    task = Task.UPSCALE if mask is None else Task.INPAINT
    return Job(
        source=str(source),
        model=ModelSettings(dtype="fp32"),
        restore=RestoreSettings(task=task, scale=2 if mask is None else 1, mask=mask),
        selection=SelectionSettings(scenes="off", **selection),  # type: ignore[arg-type]
        output=OutputSettings(path=str(output), overwrite=True),
    )


def restore(wanted: Job) -> list[str]:
    """Run a job; returns its warnings."""
    heard: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, events.Noted) and event.level == "warning":
            heard.append(event.text)

    api.restore(wanted, watch)
    return heard


def numbers(found: Read) -> list[int]:
    """Numbers of a counted clip's frames in a result."""
    return [number_of(16 + picture.mean() * 219 / 255) for picture in found.frames]


def loud(path: Path) -> list[tuple[int, float, float]]:
    return [sound for sound in tones(path) if sound[0] in (500, 1000)]


@pytest.fixture
def two_parts(tmp_path: Path) -> Path:
    """Two seconds of a transport stream whose clock goes back in the middle."""
    words = "-c:v libx264 -preset fast -crf 8"
    one = write_counted(tmp_path / "1.ts", tone=500, words=words)
    two = write_counted(tmp_path / "2.ts", 12, tone=1000, words=words)
    return joined(tmp_path / "both.ts", one, two)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_joined_parts_play_one_after_the_other(two_parts: Path, tmp_path: Path, name: str) -> None:
    assert restore(job(two_parts, tmp_path / name)) == []
    found, sound = read(tmp_path / name), loud(tmp_path / name)
    begin = float(found.times[0])
    assert numbers(found) == list(range(24))
    assert [float(time) - begin for time in found.times] == pytest.approx([n / 12 for n in range(24)], abs=2e-3)
    assert [tone for tone, _, _ in sound] == [500, 1000]
    assert [heard - begin for _, heard, _ in sound] == pytest.approx([0, 1], abs=FRAME)
    assert sound[-1][2] - begin == pytest.approx(2, abs=FRAME)
    if name != "out.ts":  # ffmpeg lets its own clocks start later
        assert 0 <= begin < FRAME


def test_a_clock_that_starts_at_hours_starts_at_zero(tmp_path: Path) -> None:
    source = write_counted(tmp_path / "a.ts", words="-c:v libx264 -output_ts_offset 43211")
    assert restore(job(source, tmp_path / "out.mp4")) == []
    found = read(tmp_path / "out.mp4")
    assert found.duration == pytest.approx(1, abs=FRAME)
    assert 0 <= found.times[0] < FRAME
    assert loud(tmp_path / "out.mp4")[0][1:] == pytest.approx((found.times[0], 1), abs=FRAME)


def test_a_chosen_part_has_its_pictures_and_its_sound(two_parts: Path, tmp_path: Path) -> None:
    wanted = job(two_parts, tmp_path / "out.mp4", start=Fraction(3, 4), end=Fraction(3, 2))
    assert restore(wanted) == []
    found = read(tmp_path / "out.mp4")
    assert numbers(found) == list(range(9, 18))
    assert [heard for _, heard, _ in loud(tmp_path / "out.mp4")] == pytest.approx([0, 0.25], abs=FRAME / 2)


def test_a_run_that_was_stopped_behind_a_seam_ends_like_one_that_was_not(
    two_parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (writer, opening):
        monkeypatch.setattr(module, "SEGMENT_FRAMES", 8)
    monkeypatch.setattr(progress, "REPORT_EVERY", 0.0)
    once, twice = tmp_path / "once.mp4", tmp_path / "twice.mp4"
    restore(job(two_parts, once))
    with pytest.raises(StoppedHereError):
        api.restore(job(two_parts, twice), stop_after(17))
    restore(job(two_parts, twice))
    a, b = read(once), read(twice)
    assert a.times == b.times
    assert np.array_equal(a.frames, b.frames)
    assert numbers(b) == list(range(24))
    assert tones(once) == tones(twice)


def test_a_mask_video_is_taken_at_the_time_of_the_picture(tmp_path: Path) -> None:
    """The part begins between two frames: the first is shown later than the part begins."""
    source = write_counted(tmp_path / "a.ts", rate=3, words="-c:v libx264 -crf 4")
    mask, picture = tmp_path / "mask.mkv", "color=black:size=64x48:rate=3:duration=4"
    white = "drawbox=x=32:w=32:h=48:color=white:t=fill:enable='gte(n,6)'"
    FFmpegProcess(["-y", "-f", "lavfi", "-i", f"{picture},{white}", "-c:v", "ffv1", str(mask)]).finish()
    wanted = job(source, tmp_path / "out.mkv", mask, start=Fraction(14, 10), frames=3)
    with Session(wanted, events.ignore, ModelPool()) as session:
        session.open()
        sources = list(iter_masked_frames(session))
    assert [number_of(item.frame.planes[0]) for item in sources] == [5, 6, 7]
    assert [item.mask is not None and bool(item.mask.any()) for item in sources] == [False, True, True]
