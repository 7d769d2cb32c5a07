from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.clips import ClipMaker, save_picture
from vrx.events import Note
from vrx.media.read import Reader, Span
from vrx.pipeline.masking import open_mask
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
