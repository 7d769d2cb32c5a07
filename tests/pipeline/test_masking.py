from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.clips import ClipMaker, save_picture
from vrx.errors import UsageError
from vrx.events import Note
from vrx.geometry import TimeRange, parse_box
from vrx.media.orientation import UPRIGHT, Orientation
from vrx.media.read import Reader, Span
from vrx.pipeline.masking import draw_box, open_mask, open_masks
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task


def masks(folder: Path, count: int) -> Path:
    """The n-th of them marks column n."""
    folder.mkdir()
    for number in range(count):
        pixels = np.zeros((48, 64), np.uint8)
        pixels[:, number] = 255
        save_picture(folder / f"m_{number}.png", pixels)
    return folder


def columns(source: Path, folder: Path, selection: SelectionSettings, notes: list[Note]) -> list[int]:
    """Which mask every frame of a part gets."""
    restore = RestoreSettings(task=Task.INPAINT, mask=folder)
    job = Job(source=str(source), model=ModelSettings(), restore=restore, selection=selection, output=OutputSettings())
    span = Span(selection.start or Fraction(0), selection.end, selection.frames)
    with Reader(source, span, notes.append) as reader, open_mask(job, reader, folder, notes.append) as track:
        return [int(np.flatnonzero(track.at(frame.time).any(0))[0]) for frame in reader.frames()]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_masks_for_the_whole_video_begin_where_the_part_does(clip: ClipMaker, tmp_path: Path, name: str) -> None:
    source = clip(name, frames=12, codec="ffv1" if name.endswith("mkv") else "mpeg4")
    notes: list[Note] = []
    part = SelectionSettings(start=Fraction(1, 5), frames=4)
    assert columns(source, masks(tmp_path / "whole", 12), part, notes) == [5, 6, 7, 8]
    assert "number 6 is the first used" in notes[0].text
    assert columns(source, masks(tmp_path / "part", 4), part, notes) == [0, 1, 2, 3]
    assert "number 1 is the first used" in notes[1].text
    assert len(notes) == 2
    late = SelectionSettings(start=Fraction(1, 25))
    assert columns(source, masks(tmp_path / "late", 11), late, notes)[:2] == [0, 1]
    assert columns(source, tmp_path / "whole", late, notes)[:2] == [1, 2]


def test_too_few_masks_are_told_before_work_where_frames_are_counted(clip: ClipMaker, tmp_path: Path) -> None:
    for number in range(5):
        clip(f"f_{number}.png", codec="png", pix_fmt="rgb24", frames=1)
    notes: list[Note] = []
    folder = masks(tmp_path / "few", 3)
    assert columns(tmp_path / "f_%d.png", folder, SelectionSettings(), notes) == [0, 1, 2, 2, 2]
    assert [note.text for note in notes] == [
        f"the mask {folder} ends before the video: 3 masks for 5 frames; the last one is used"
    ]
    part = SelectionSettings(start=Fraction(2, 24))
    assert columns(tmp_path / "f_%d.png", masks(tmp_path / "all", 5), part, notes) == [2, 3, 4]


def test_boxes_mark_every_pixel_that_they_touch() -> None:
    mask = draw_box(parse_box("10.5,25%,3,50%"), (64, 48), UPRIGHT)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (12, 35, 10, 13)
    assert mask.sum() == 24 * 4
    edge = draw_box(parse_box("60,40,100,100"), (64, 48), UPRIGHT)
    assert edge.sum() == 4 * 8


def test_boxes_lie_where_the_picture_is_shown() -> None:
    turned = Orientation(turns=1)
    mask = draw_box(parse_box("0,0,10,20"), (64, 48), turned)  # shown at 48x64
    assert mask.shape == (48, 64)
    assert turned.turn(mask)[:20, :10].all()
    assert mask.sum() == 200


@pytest.mark.parametrize(("text", "words"), [("64,0,5,5", "outside"), ("0,0,100%,100%", "complete picture")])
def test_boxes_that_make_no_sense_are_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        draw_box(parse_box(text), (64, 48), UPRIGHT)


def test_a_mask_and_boxes_are_joined_each_in_its_time(clip: ClipMaker, tmp_path: Path) -> None:
    pixels = np.zeros((48, 64), np.uint8)
    pixels[:, 0] = 255
    save_picture(tmp_path / "m.png", pixels)
    boxes = (parse_box("10,0,1,100%"), parse_box("20,0,1,100%@0.04-0.12"))
    restore = RestoreSettings(task=Task.INPAINT, mask=tmp_path / "m.png", boxes=boxes, dilate=0)
    job = Job(
        source="x", model=ModelSettings(), restore=restore, selection=SelectionSettings(), output=OutputSettings()
    )
    with Reader(clip(frames=4), Span(), lambda _: None) as reader:
        found = open_masks(job, reader, lambda _: None)
        assert found is not None
        with found:
            columns = [np.flatnonzero(found.at(frame.time)[0]).tolist() for frame in reader.frames()]
    assert columns == [[0, 10], [0, 10, 20], [0, 10, 20], [0, 10]]
    late = RestoreSettings(
        task=Task.INPAINT, mask=tmp_path / "m.png", mask_time=TimeRange(Fraction("0.04"), Fraction("0.12"))
    )
    with Reader(tmp_path / "clip.mkv", Span(), lambda _: None) as reader:
        found = open_masks(Job(**{**vars(job), "restore": late}), reader, lambda _: None)
        assert found is not None
        with found:
            assert [bool(found.at(frame.time).any()) for frame in reader.frames()] == [False, True, True, False]
    upscale = Job(**{**vars(job), "restore": RestoreSettings(task=Task.UPSCALE, scale=2)})
    with Reader(tmp_path / "clip.mkv", Span(), lambda _: None) as reader:
        assert open_masks(upscale, reader, lambda _: None) is None


@pytest.mark.parametrize(("name", "ends"), [("a.mkv", "0:00:00.480"), ("a.png", "0:00:00.000")])
def test_masks_and_boxes_that_begin_after_the_end_are_told(
    clip: ClipMaker, tmp_path: Path, name: str, ends: str
) -> None:
    source = clip(name, frames=12) if name == "a.mkv" else save_picture(tmp_path / name, np.zeros((48, 64), np.uint8))
    mask = save_picture(tmp_path / "m.png", np.eye(48, 64, dtype=np.uint8) * 255)
    boxes = tuple(map(parse_box, ("1,1,4,4", "2,2,4,4@0-0.1", "3,3,4,4@9-10")))
    restore = RestoreSettings(task=Task.INPAINT, mask=mask, mask_time=TimeRange(Fraction(1, 2)), boxes=boxes)
    job = Job(
        source=str(source),
        model=ModelSettings(),
        restore=restore,
        selection=SelectionSettings(),
        output=OutputSettings(),
    )
    notes: list[Note] = []
    with Reader(source, Span(), notes.append) as reader:
        found = open_masks(job, reader, notes.append)
        assert found is not None
        with found:
            pass
    assert [(note.code, note.text) for note in notes] == [
        ("empty-mask", f"a --mask begins at 0:00:00.500, and the video ends at {ends}: it fills nothing"),
        ("empty-mask", f"a --box begins at 0:00:09.000, and the video ends at {ends}: it fills nothing"),
    ]
