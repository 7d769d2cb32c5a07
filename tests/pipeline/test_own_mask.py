"""Masks of several inputs in one folder."""

from pathlib import Path

import numpy as np
import pytest

from tests.clips import ClipMaker, read, save_picture
from tests.conftest import Command
from vrx.errors import UsageError
from vrx.pipeline.own_mask import own_mask


def folder_of(tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("source", "names", "expected"),
    [
        ("in/a.png", ["a.png", "b.png"], "a.png"),
        ("in/a.jpg", ["a.png", "a_mask.png", "b.png"], "a_mask.png"),
        ("a2.png", ["a1.png", "a2.png", "a3.png"], "a2.png"),
        ("clip.mp4", ["clip.mask.mkv", "other.mask.mkv"], "clip.mask.mkv"),
        ("clip.mp4", ["clip.png", "clip2.png"], "clip.png"),
        ("clip.mp4", ["clip-mask.mov", "clip.txt"], "clip-mask.mov"),
        ("clip.mp4", ["0001.png", "0002.png"], ""),
        ("0001.mp4", ["0001.png", "0002.png"], ""),
        ("only.png", ["m.png"], ""),
        ("f_%d.png", ["f_1.png", "f_2.png"], ""),
        ("-", ["-.png", "b.png"], ""),
    ],
)
def test_a_mask_is_named_after_its_input(tmp_path: Path, source: str, names: list[str], expected: str) -> None:
    folder = folder_of(tmp_path, *names)
    assert own_mask(folder, source) == folder / expected


def test_a_picture_without_a_mask_of_its_own_gets_no_other_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.png", "b.png")
    with pytest.raises(UsageError, match=r"no picture named after c\.jpg") as found:
        own_mask(folder, "c.jpg")
    assert found.value.hint is not None
    assert "c.mask.png" in found.value.hint
    assert own_mask(folder / "a.png", "c.jpg") == folder / "a.png"


def test_a_single_mask_is_that_of_all_beside_results_of_earlier_runs(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "m.png", "a.inpaint.png", "b.inpaint.png")
    assert own_mask(folder, "a.png") == folder


def test_an_input_is_not_its_own_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path, "a.png", "a_mask.png")
    assert own_mask(folder, "masks/a.png") == folder / "a_mask.png"
    (folder / "a_mask.png").unlink()
    assert own_mask(folder, "masks/a.png") == folder


def test_each_of_a_batch_is_filled_where_its_own_mask_is(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    for number in (1, 2):
        clip(f"in/a{number}.png", codec="png", pix_fmt="rgb24", frames=1)
        mask = np.zeros((48, 64), np.uint8)
        mask[16:32, 20 * number : 20 * number + 8] = 255
        save_picture(tmp_path / "masks" / f"a{number}.png", mask)
    for run in range(2):  # the second finds results among the masks
        done = vrx("inpaint", "in", "--mask", "masks", "-o", "masks/", "-y", "--dilate", "0")
        assert done.returncode == 0, done.stderr
        for number in (1, 2):
            names = (f"in/a{number}.png", f"masks/a{number}.inpaint.png")
            before, after = (read(tmp_path / name).frames[0] for name in names)
            columns = np.flatnonzero((before != after).any((0, 2)))
            assert 20 * number <= columns.min() <= columns.max() < 20 * number + 8, run
