"""A preview shows what a run of all gives, in files beside its result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import ClipMaker, read, save_picture, turned_clip, write_interlaced
from tests.pipeline.jobs import notes
from tests.pipeline.preview.previews import preview_job
from vrx import events
from vrx.errors import DeviceError, InputError, OutputError, UsageError
from vrx.events import Event, Note
from vrx.pipeline import memory
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.preview.opening import Preview
from vrx.pipeline.preview.progress import is_of_results
from vrx.pipeline.preview.run import check, make_progress, plan, preview
from vrx.pipeline.preview.run import restore as restore_part
from vrx.pipeline.preview.sheet import Sheet
from vrx.pipeline.preview.stretch import LEAD
from vrx.pipeline.run import run
from vrx.pipeline.session import Session
from vrx.previews import Variant
from vrx.settings import Job, RestoreSettings, Task

TICK = Fraction(1, 25)
LOSSLESS = {"codec": "ffv1"}
SIZE = (32, 24)
DEBLUR = RestoreSettings(task=Task.DEBLUR, sigma=1.5)


@pytest.fixture
def clip(tmp_path: Path) -> ClipMaker:
    """Small clips: what is tested here does not depend on their size."""
    return ClipMaker(tmp_path, SIZE)


def make(job: Job, heard: list[Event] | None = None) -> Any:
    return preview(job, events.ignore if heard is None else heard.append, ModelPool())


def variant(job: Job, name: str, **restore: Any) -> Variant:
    return Variant(
        name=name,
        model=job.model,
        restore=replace(job.restore, **restore),
        selection=job.selection,
        output=job.output,
    )


def parts_of(job: Job) -> tuple[np.ndarray, int]:
    """The shown frames of a preview's place, and the number of the first in a run of all at 25 frames a second."""
    with ExitStack() as stack:
        found = Preview(job, events.ignore, ModelPool(), stack)
        found.open()
        ((part,),) = found.parts()
        restored = restore_part(found, part, "0", make_progress(found, [[part]]))
        stretch = part.stretch
        frames = read(restored.result).frames[stretch.lead : stretch.frames]
        return frames, round((stretch.time - (job.selection.start or 0)) / TICK)


def run_all(job: Job, path: Path) -> np.ndarray:
    job = replace(job, preview=None, output=replace(job.output, path=str(path)))
    with Session(job, events.ignore, ModelPool()) as session:
        run(session)
    return read(path).frames


def masks(folder: Path, count: int) -> Path:
    """A mask for each frame, at another place in each."""
    folder.mkdir()
    for number in range(count):
        mask = np.zeros((24, 32), np.uint8)
        mask[4:12, 2 + number % 21 : 10 + number % 21] = 255
        save_picture(folder / f"{number:03}.png", mask)
    return folder


@pytest.mark.parametrize(
    "restore", [RestoreSettings(task=Task.UPSCALE, scale=2), DEBLUR, "inpaint"], ids=["upscale", "deblur", "inpaint"]
)
@pytest.mark.parametrize("selection", [{}, {"start": 2 * TICK}], ids=["all", "part"])
def test_a_place_is_what_a_run_of_all_gives_there(
    clip: ClipMaker, tmp_path: Path, restore: RestoreSettings | str, selection: dict[str, Any]
) -> None:
    source = clip("in.mkv", frames=44, cuts=[22])
    if isinstance(restore, str):
        restore = RestoreSettings(task=Task.INPAINT, mask=masks(tmp_path / "masks", 44))
    job = preview_job(source, restore=restore, selection=selection, at=[27 * TICK], length=6 * TICK, **LOSSLESS)
    shown, first = parts_of(job)
    complete = run_all(job, tmp_path / "all.mkv")
    assert len(shown) == 6
    assert np.array_equal(shown, complete[first : first + 6])


@pytest.mark.parametrize("place", [33, 47])
def test_flashes_are_cuts_where_they_are_in_a_run_of_all(clip: ClipMaker, tmp_path: Path, place: int) -> None:
    """Those that are closer together than a scene may be are cuts in the first frames of a run only."""
    source = clip("in.mkv", frames=60, cuts=[22, 30, 34, 38, 42, 44])
    job = preview_job(source, at=[place * TICK], length=4 * TICK, **LOSSLESS)
    shown, first = parts_of(job)
    assert first == place
    assert np.array_equal(shown, run_all(job, tmp_path / "all.mkv")[place : place + 4])


def test_masks_that_begin_with_a_part_are_those_of_the_frames(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv", frames=40)
    restore = RestoreSettings(task=Task.INPAINT, mask=masks(tmp_path / "masks", 12))
    selection = {"start": 20 * TICK, "frames": 12}
    job = preview_job(source, restore=restore, selection=selection, at=[28 * TICK], length=3 * TICK, **LOSSLESS)
    shown, first = parts_of(job)
    assert first == 8
    assert np.array_equal(shown, run_all(job, tmp_path / "all.mkv")[8:11])


def test_cuts_of_a_list_are_those_of_the_run(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv", frames=40)
    cuts = tmp_path / "cuts.txt"
    cuts.write_text("# mine\n12\n20\n23\n")
    job = preview_job(source, selection={"scenes": str(cuts)}, at=[21 * TICK], length=4 * TICK, **LOSSLESS)
    shown, first = parts_of(job)
    assert first == 21
    assert np.array_equal(shown, run_all(job, tmp_path / "all.mkv")[21:25])


@pytest.mark.parametrize("which", ["on", "double"])
def test_interlaced_video_is_shown_as_its_result_goes(tmp_path: Path, which: str) -> None:
    source = tmp_path / "in.mp4"
    write_interlaced(source, flagged=True)
    begin, end = Fraction(80, 1000), Fraction(280, 1000)
    job = preview_job(source, selection={"deinterlace": which}, at=[begin], length=end - begin, **LOSSLESS)
    shown, _ = parts_of(job)
    path = tmp_path / "all.mkv"
    complete = run_all(job, path)
    inside = [number for number, time in enumerate(read(path).times) if begin <= time + TICK / 8 < end]
    assert len(inside) == {"on": 3, "double": 6}[which]
    assert np.abs(shown.astype(int) - complete[inside]).max() <= 1
    assert len(read(make(job).clip).frames) == len(inside)


def test_a_scene_that_began_long_before_is_said(clip: ClipMaker) -> None:
    heard: list[Event] = []
    result = make(preview_job(clip("in.mkv", frames=60), at=[50 * TICK, 10 * TICK], length=2 * TICK), heard)
    assert notes(heard)["preview-joins-late"].facts == {"seconds": "2"}
    assert notes(heard)["preview-joins-late"].text.startswith("0:00:02.000: restored from 16 frames before on, ")
    assert result.places == (10 * TICK, 50 * TICK)  # in order of time
    started = next(event for event in heard if isinstance(event, events.Started))
    assert result.frames == started.frames == 10 + 2 + LEAD + 2


def test_files_stand_beside_the_result(clip: ClipMaker, tmp_path: Path) -> None:
    heard: list[Event] = []
    source = clip("in.mp4", frames=30, codec="libx264")
    before = source.read_bytes()
    result = make(preview_job(source, at=[0, 20 * TICK], length=5 * TICK), heard)
    assert (result.path, result.clip) == (tmp_path / "in.x2.preview.png", tmp_path / "in.x2.preview.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "in.x2.preview.mp4", "in.x2.preview.png"]
    assert source.read_bytes() == before
    clip_frames = read(result.clip)
    assert len(clip_frames.frames) == 10
    assert clip_frames.kinds == ["video"]
    assert clip_frames.pix_fmt == "yuv420p"
    assert clip_frames.times == [number * TICK for number in range(10)]
    picture = read(result.path).frames[0]
    width, height = clip_frames.frames.shape[2], clip_frames.frames.shape[1]
    assert picture.shape[1] == width
    assert 2 * height <= picture.shape[0] <= 2 * height + 20  # both places below each other
    (done,) = [event for event in heard if isinstance(event, events.Previewed)]
    assert done.places == (0.0, 0.8)
    assert (done.output, done.clip) == (str(result.path), str(result.clip))


def test_the_picture_is_a_frame_of_the_clip(clip: ClipMaker) -> None:
    result = make(preview_job(clip("in.mkv", frames=12), at=[2 * TICK], length=4 * TICK))
    sheet, frames = read(result.path).frames[0].astype(int), read(result.clip).frames.astype(int)
    apart = [np.abs(frame - sheet[: len(frame)]).mean() for frame in frames]
    assert min(apart) < 2


def test_the_picture_shows_the_time_that_is_named(tmp_path: Path) -> None:
    """And not a later frame that differs more from its source: flat pictures stay what they are."""
    for number in range(3):
        pixels = np.full((24, 32, 3), 90, np.uint8)
        pixels[:, ::2] += 80 * (number == 2)
        save_picture(tmp_path / f"f_{number}.png", pixels, "rgb24")
    result = make(preview_job(tmp_path / "f_%d.png", at=[0], length=Fraction(3, 24)))
    sheet, frames = read(result.path).frames[0].astype(int), read(result.clip).frames.astype(int)
    first, _, last = (np.abs(frame - sheet[: len(frame)]).mean() for frame in frames)
    assert first < 2 < last


def test_times_of_varying_rates_stay(clip: ClipMaker) -> None:
    times = [0, 40, 80, 200, 240, 280, 410]
    result = make(preview_job(clip("in.mkv", times=times), at=[2 * TICK], length=Fraction(2, 10)))
    assert [round(1000 * time) for time in read(result.clip).times] == [0, 120, 160]


def test_one_frame_gives_a_picture_only(clip: ClipMaker, tmp_path: Path) -> None:
    result = make(preview_job(clip("in.mkv"), at=[0.2], length=None))
    assert result.clip is None
    assert [path.name for path in tmp_path.glob("*preview*")] == ["in.x2.preview.png"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("pix_fmt", ["rgb24", "rgba", "gray", "ya8"])
def test_pictures(tmp_path: Path, pix_fmt: str) -> None:
    shape = {"rgb24": (31, 45, 3), "rgba": (31, 45, 4), "gray": (31, 45), "ya8": (31, 45, 4)}[pix_fmt]
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    result = make(preview_job(save_picture(tmp_path / "p.png", pixels, pix_fmt)))
    assert (result.path.name, result.clip) == ("p.x2.preview.png", None)
    assert result.places == (0,)
    assert not list(tmp_path.glob("*.mp4"))


def test_numbered_pictures(tmp_path: Path) -> None:
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), np.uint8)
        save_picture(tmp_path / f"f_{number + 5:03}.png", pixels, "rgb24")
    result = make(preview_job(tmp_path / "f_%03d.png", at=[Fraction(3, 24)], length=Fraction(3, 24)))
    assert (result.path.name, result.clip.name) == ("f.x2.preview.png", "f.x2.preview.mp4")
    assert len(read(result.clip).frames) == 3


@pytest.mark.parametrize(("turns", "mirrored"), [(1, False), (2, False), (3, True)])
def test_pictures_are_upright(tmp_path: Path, turns: int, mirrored: bool) -> None:
    pixels = np.full((32, 48, 3), 20, np.uint8)
    pixels[:8, :12] = 220
    source = turned_clip(tmp_path / "in.mkv", turns, mirrored, pixels=pixels)
    result = make(preview_job(source, at=[0], length=None))
    sheet = read(result.path).frames[0]
    stored = np.rot90(pixels, turns)
    shown = stored[:, ::-1] if mirrored else stored
    corner = np.unravel_index(shown[..., 0].argmax(), shown.shape[:2])
    height, width = shown.shape[:2]
    whole = Sheet.fit(2, (2 * width, 2 * height)).shown  # below two lines of text, at the left
    row, column = (round((corner[n] + 4) * whole[1 - n] / shown.shape[n]) for n in (0, 1))
    assert sheet[48 + row, column].mean() > 150


@pytest.mark.parametrize(("size", "pix_fmt"), [((33, 27), "yuv444p"), ((34, 22), "yuv420p10le"), ((16, 90), "gray")])
def test_odd_sizes_and_formats(clip: ClipMaker, size: tuple[int, int], pix_fmt: str) -> None:
    result = make(preview_job(clip("in.mkv", frames=3, size=size, pix_fmt=pix_fmt), at=[0], length=TICK))
    assert len(read(result.clip).frames) == 1


def test_a_clip_of_one_frame(clip: ClipMaker) -> None:
    result = make(preview_job(clip("in.mkv", frames=1)))
    assert result.places == (0,)
    assert len(read(result.clip).frames) == 1


def test_hdr_is_shown_as_on_an_ordinary_screen(clip: ClipMaker) -> None:
    options = {"x265-params": "log-level=none:bframes=0:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"}
    source = clip("in.mkv", frames=2, codec="libx265", pix_fmt="yuv420p10le", options=options)
    heard: list[Event] = []
    result = make(preview_job(source, at=[0], length=None), heard)
    assert notes(heard)["preview-of-hdr"].facts == {"transfer": "smpte2084"}
    shown, stored = read(result.path).frames[0][48:400], read(source).frames[0]
    assert shown.max() > stored.max()


def test_variants_stand_beside_each_other_with_the_same_part(clip: ClipMaker) -> None:
    job = preview_job(clip("in.mkv", frames=4, size=(160, 90)), at=[0], length=None)
    assert job.preview is not None
    choices = tuple(variant(job, f"blend {blend:g}", blend=blend) for blend in (0.0, 1.0))
    result = make(replace(job, preview=replace(job.preview, variants=choices)))
    sheet = read(result.path).frames[0]
    assert sheet.shape[1] == 3 * 480 + 2 * 6
    columns = [sheet[48:, left : left + 480].astype(int) for left in (0, 486, 972)]
    assert np.abs(columns[0] - columns[1]).mean() < 1  # blend 0 is the plainly enlarged source
    assert np.abs(columns[1] - columns[2]).mean() > 0.05


def test_variants_of_different_sizes(clip: ClipMaker) -> None:
    job = preview_job(clip("in.mkv", frames=2), at=[0], length=None)
    assert job.preview is not None
    choices = tuple(variant(job, f"scale {scale}", scale=scale) for scale in (2, 4))
    result = make(replace(job, preview=replace(job.preview, variants=choices)))
    assert read(result.path).frames[0].shape[1] == 3 * 480 + 2 * 6


@pytest.mark.parametrize("begin", [lambda job: make(job), lambda job: check(job, ModelPool())])
def test_a_choice_that_needs_too_much_memory_is_named(
    clip: ClipMaker, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Job], object]
) -> None:
    job = preview_job(clip("in.mkv", frames=2, size=(64, 48)), at=[0], length=None)
    assert job.preview is not None
    choices = tuple(variant(job, f"scale {scale}", scale=scale) for scale in (2, 4))
    enough = int(memory.CERTAIN * memory.embedded_memory((256, 192), (64, 48), 8, Task.UPSCALE, 2)) - 1
    monkeypatch.setattr(memory, "host_memory", lambda swap=True: memory.HostMemory(enough, enough))
    with pytest.raises(DeviceError, match=r"^scale 4: \S+ MB of memory are needed, and this machine has"):
        begin(replace(job, preview=replace(job.preview, variants=choices)))


def test_events_are_those_of_one_run(clip: ClipMaker) -> None:
    heard: list[Event] = []
    job = preview_job(clip("in.mkv", frames=20), at=[2 * TICK, 10 * TICK], length=2 * TICK)
    assert job.preview is not None
    choices = tuple(variant(job, f"blend {blend:g}", blend=blend) for blend in (0.0, 1.0))
    result = make(replace(job, preview=replace(job.preview, variants=choices)), heard)
    (started,) = [event for event in heard if isinstance(event, events.Started)]
    assert (started.output, started.frames, started.model) == (str(result.path), 2 * (4 + 12), "embedded")
    done = [event.done for event in heard if isinstance(event, events.Advanced)]
    assert done == sorted(done)
    assert done[-1] == 2 * (4 + 12)
    assert {event.input for event in heard} == {job.source}
    assert not [event for event in heard if isinstance(event, events.Finished | events.SceneBegan)]
    texts = [event.text for event in heard if isinstance(event, events.Noted)]
    assert len(texts) == len(set(texts))
    found = notes(heard)["degradation-estimated"]
    assert found.facts["scene"] is None
    assert found.text.startswith("at 0:00:00.400: ")
    assert "scene" not in found.text


def test_existing_files_stay(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv")
    job = preview_job(source, at=[0], length=TICK)
    (tmp_path / "in.x2.preview.mp4").write_text("mine")
    for attempt in (lambda: make(job), lambda: check(job, ModelPool())):
        with pytest.raises(OutputError, match=r"in\.x2\.preview\.mp4 exists. Replace it with -y"):
            attempt()
    skipping = replace(job, output=replace(job.output, skip_existing=True))
    with pytest.raises(OutputError, match="exists"):  # one of two is not a preview
        make(skipping)
    assert (tmp_path / "in.x2.preview.mp4").read_text() == "mine"
    assert not (tmp_path / "in.x2.preview.png").exists()
    made = make(replace(job, output=replace(job.output, overwrite=True)))
    assert len(read(made.clip).frames) == 1
    heard: list[Event] = []
    assert make(skipping, heard).skipped
    assert isinstance(heard[-1], events.Skipped)


def test_a_failure_leaves_nothing(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vrx.pipeline.preview import compose

    def fail(*words: object) -> None:
        raise MemoryError

    job = preview_job(clip("in.mkv"), at=[0], length=2 * TICK)
    monkeypatch.setattr(compose.Clip, "end_place", fail)
    with pytest.raises(Exception, match="out of memory"):
        make(job)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_what_cannot_be_read_or_is_not_there(clip: ClipMaker, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError):
        make(preview_job(tmp_path / "text.mp4"))
    source = clip("in.mkv")
    (tmp_path / "in.x2.preview.png").write_text("mine")
    for job in (preview_job(source, at=[9]), preview_job(source, at=[0, 9])):
        for refuse in (lambda job: check(job, ModelPool()), make):
            with pytest.raises(UsageError, match="past the end"):  # and not that the file exists
                refuse(job)
    with pytest.raises(UsageError, match=r"--at 0:00:01\.000 is past the end"):
        make(preview_job(save_picture(tmp_path / "p.png", np.zeros((8, 8, 3), np.uint8), "rgb24"), at=[1]))


def test_notes_about_how_results_are_written_are_not_those_of_previews() -> None:
    assert {code for code in events.NOTE_CODES if is_of_results(Note(code, "")) and not code.endswith("-loss")} == {
        *("encoder", "encoder-chosen", "container-chosen", "pixel-format-chosen"),
        *("encoder-setting-unused", "stage-seconds", "mask-alignment"),
    }


def test_a_plan_says_what_will_be_restored(clip: ClipMaker, tmp_path: Path) -> None:
    job = preview_job(clip("in.mkv", frames=20), at=[2 * TICK, 10 * TICK], length=2 * TICK)
    found = plan(job, events.ignore, ModelPool())
    assert found.output == f"{tmp_path / 'in.x2.preview.png'} and {tmp_path / 'in.x2.preview.mp4'}"
    assert (found.frames, found.source_size, found.target_size) == (16, (32, 24), (64, 48))
    assert found.action == "write"
    # the source is FFV1, which a run would tell to stay so; a preview is written as it always is
    assert (found.encoder, found.pix_fmt, found.container) == ("libx264", "yuv420p", "mp4")
    assert found.notes == ("shows 0:00:00.080", "shows 0:00:00.400")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
    (tmp_path / "in.x2.preview.png").write_text("mine")
    assert plan(job, events.ignore, ModelPool()).action == "refuse"
