"""Whole runs over video that is shown otherwise than it is stored, in this process."""

from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import save_picture, turned_clip
from vrx.api import restore
from vrx.errors import UsageError
from vrx.events import Event, Noted
from vrx.media.orientation import UPRIGHT, Orientation, read_orientation
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task

STORED, SHOWN = (48, 32), (32, 48)
TURN = Orientation(1, mirrored=True)


def mask_of(path: Path, size: tuple[int, int]) -> Path:
    """White in the top left as it is shown."""
    pixels = np.zeros(size[::-1], np.uint8)
    pixels[4:12, 2:10] = 255
    return save_picture(path, pixels)


def job(folder: Path, output: str, size: tuple[int, int] = SHOWN) -> Job:
    return Job(
        source=str(turned_clip(folder / "a.mkv", TURN.turns, TURN.mirrored, "gray")),
        model=ModelSettings(device="cpu"),
        restore=RestoreSettings(task=Task.INPAINT, mask=mask_of(folder / "m.png", size)),
        selection=SelectionSettings(frames=1),
        output=OutputSettings(path=str(folder / output), codec="auto" if output.endswith("png") else "ffv1"),
    )


def shown(path: Path) -> np.ndarray:
    """The first picture of a file as people see it."""
    with av.open(str(path)) as box:
        picture = next(box.decode(video=0))
        return (read_orientation(picture) or UPRIGHT).turn(picture.to_ndarray(format="gray"))


@pytest.mark.parametrize(("output", "said"), [("kept.mkv", False), ("turned.avi", True), ("turned.png", True)])
def test_the_mask_lies_where_it_is_shown(tmp_path: Path, output: str, said: bool) -> None:
    notes: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Noted):
            notes.append(event.text)

    restore(job(tmp_path, output), watch)
    before, after = shown(tmp_path / "a.mkv"), shown(tmp_path / output)
    assert before.shape == after.shape == SHOWN[::-1]
    rows, columns = np.nonzero(before != after)
    assert len(rows) > 0
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 11, 2, 9)
    assert any("the pixels are turned" in note for note in notes) == said


def test_a_mask_of_the_stored_size_is_refused_with_the_shown_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="48x32, the video is displayed at 32x48"):
        restore(job(tmp_path, "a.mkv.mkv", STORED))
