"""--crop: what is restored, its masks, its resumption, and what is said of it."""

import json
from pathlib import Path

import numpy as np
import pytest

import vrx as package
from tests.clips import ClipMaker, read, save_picture
from tests.conftest import Command
from tests.media.test_borders import film
from tests.pipeline.jobs import make_job, notes, open_session
from vrx import events
from vrx.errors import UsageError
from vrx.geometry import Crop, parse_box
from vrx.media.borders import find_borders
from vrx.media.read import Span
from vrx.pipeline import session
from vrx.pipeline.resume.fingerprint import fingerprint_of
from vrx.settings import RestoreSettings, Task

LETTERBOX = "scale=96:40,pad=96:64:0:12"


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    """The example clip, small, between black bars."""
    return film(tmp_path / "in.mkv", LETTERBOX, "-c:v", "ffv1", "-pix_fmt", "yuv420p", "-frames:v", "6")


def test_a_crop_is_the_run_of_a_cropped_source(boxed: Path, vrx: Command) -> None:
    film(boxed.with_name("cut.mkv"), "crop=96:40:0:12", "-c:v", "ffv1", source=boxed)
    for name, words in (("in", ("--crop", "96:40:0:12")), ("cut", ())):
        done = vrx("upscale", f"{name}.mkv", "-s", "2", "--codec", "ffv1", "-o", f"{name}.out.mkv", *words)
        assert done.returncode == 0, done.stderr
    found, expected = (read(boxed.with_name(f"{name}.out.mkv")) for name in ("in", "cut"))
    np.testing.assert_array_equal(found.frames, expected.frames)
    assert (found.frames.shape[1:3], found.times) == ((80, 192), expected.times)


def test_borders_are_found_and_said_once(boxed: Path, vrx: Command) -> None:
    words = ("--crop", "auto", "--json", "--html", "page.html", "-o", "out.mkv")
    done = vrx("upscale", boxed.name, "-s", "2", *words)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    said = [event for event in events if event.get("code") == "cropped"]
    assert [(event["text"], event["facts"]) for event in said] == [
        ("cropped from 96x64 to 96x40 (--crop 96:40:0:12)", {"crop": "96:40:0:12"})
    ]
    assert read(boxed.with_name("out.mkv")).frames.shape[1:3] == (80, 192)
    assert not [event for event in events if event.get("code", "").startswith(("compared-part", "shift-found"))]
    done = vrx("restore", "out.mkv", "--crop", "auto", "-o", "again.mkv")
    assert "no black borders found; nothing is cropped" in done.stderr


def test_a_preview_shows_the_part_and_says_so_once(boxed: Path, vrx: Command) -> None:
    done = vrx("preview", boxed.name, "-s", "2", "--crop", "auto", "--length", "frame", "--vary", "blend=0.5,1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cropped from 96x64 to 96x40") == 1


def test_a_preview_looks_for_borders_once(boxed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each place and choice."""
    sources: list[Path] = []

    def find(source: Path, span: Span) -> Crop | None:
        sources.append(source)
        return find_borders(source, span)

    monkeypatch.setattr(session, "find_borders", find)
    package.preview(boxed, scale=2, crop="auto", at=[0, 0.1], length=None, vary={"blend": [0.5, 1]})
    assert sources == [boxed]


def test_masks_and_boxes_are_of_the_complete_picture(boxed: Path) -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[20:30, 10:40] = 255
    save_picture(boxed.with_name("m.png"), mask)
    restore = RestoreSettings(
        task=Task.INPAINT, mask=boxed.with_name("m.png"), boxes=(parse_box("60,40,10,20"),), dilate=0
    )
    job = make_job(boxed, boxed.with_name("out.mkv"), restore=restore, selection={"crop": Crop(96, 40, 0, 12)})
    with open_session(job) as opened:
        assert opened.mask is not None
        found = opened.mask.at(next(opened.reader.frames()).time)
    expected = mask > 0
    expected[40:60, 60:70] = True
    np.testing.assert_array_equal(found, expected[12:52])


def test_a_box_that_covers_the_part_is_refused(boxed: Path) -> None:
    restore = RestoreSettings(task=Task.INPAINT, boxes=(parse_box("0,0,96,60"),))
    job = make_job(boxed, boxed.with_name("out.mkv"), restore=restore, selection={"crop": Crop(96, 40, 0, 12)})
    with pytest.raises(UsageError, match="covers all that is restored"), open_session(job):
        pass


def test_boxes_outside_of_the_part_are_said_to_fill_nothing(boxed: Path) -> None:
    restore = RestoreSettings(task=Task.INPAINT, boxes=(parse_box("0,0,20,8"),), dilate=0)
    for crop, count in ((Crop(96, 40, 0, 12), 1), (None, 0)):
        heard: list[events.Event] = []
        job = make_job(boxed, boxed.with_name("out.mkv"), restore=restore, selection={"crop": crop})
        with open_session(job, heard):
            assert ("empty-mask" in notes(heard)) == count


@pytest.mark.parametrize(
    ("marked", "expected"), [((0, 10), "lies outside of what is cropped"), ((10, 54), "covers all that is restored")]
)
def test_masks_are_judged_by_the_part(boxed: Path, marked: tuple[int, int], expected: str) -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[slice(*marked)] = 255
    save_picture(boxed.with_name("m.png"), mask)
    restore = RestoreSettings(task=Task.INPAINT, mask=boxed.with_name("m.png"))
    heard: list[events.Event] = []
    job = make_job(boxed, boxed.with_name("out.mkv"), restore=restore, selection={"crop": Crop(96, 40, 0, 12)})
    try:
        with open_session(job, heard):
            said = [event.text for event in heard if isinstance(event, events.Noted)]
    except UsageError as error:
        said = [str(error)]
    assert f"the mask {boxed.with_name('m.png')} {expected}" in " ".join(said)


def test_the_complete_picture_as_a_crop_is_said_to_be_that(boxed: Path) -> None:
    said = []
    for crop in (Crop(96, 64), Crop(96, 64, 0, 0)):
        heard: list[events.Event] = []
        with open_session(make_job(boxed, boxed.with_name("out.mkv"), selection={"crop": crop}), heard):
            said += [event.text for event in heard if isinstance(event, events.Noted) and event.code == "cropped"]
    assert said == [f"--crop {x} is the complete picture; nothing is cropped" for x in ("96:64", "96:64:0:0")]


def test_what_was_found_is_in_the_fingerprint(boxed: Path) -> None:
    marks = []
    for crop in ("auto", Crop(96, 40, 0, 12), Crop(96, 38, 0, 12)):
        with open_session(make_job(boxed, boxed.with_name("out.mkv"), selection={"crop": crop})) as opened:
            marks.append(fingerprint_of(opened, []))
    assert marks[0] == marks[1]
    assert marks[0] != marks[2]


def test_python_crops_too(boxed: Path) -> None:
    heard: list[object] = []
    done = package.upscale(boxed, boxed.with_name("out.mkv"), scale=2, crop="auto", frames=2, on_event=heard.append)
    assert read(done.path).frames.shape == (2, 80, 192, 3)  # type: ignore[arg-type]
    assert "cropped" in notes(heard)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--crop is 'middle'"):
        package.upscale(boxed, boxed.with_name("out.mkv"), crop="middle")


def test_numbered_pictures_and_pictures_are_cropped(clip: ClipMaker, vrx: Command) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[12:52] = np.random.default_rng(0).integers(60, 250, (40, 96, 3))
    for number in (1, 2):
        save_picture(clip.folder / f"f_{number}.png", picture, "rgb24")
    for name, output in (("f_%d.png", "o_%d.png"), ("f_1.png", "o_1.jpg")):
        done = vrx("restore", name, "--crop", "auto", "-o", output)
        assert done.returncode == 0, done.stderr
    for name in ("o_1.png", "o_2.png", "o_1.jpg"):
        assert package.probe(clip.folder / name).video.size == (96, 40)
