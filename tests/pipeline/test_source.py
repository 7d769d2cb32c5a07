"""Frames of an open job, with masks and scene boundaries."""

from pathlib import Path

import numpy as np

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job, open_session
from vrx.pipeline.source import iter_masked_frames
from vrx.scenes.detect import Boundary
from vrx.settings import RestoreSettings, Task


def test_cuts_are_found_given_or_left_alone(clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("in.mkv", frames=24, cuts=[16])
    (tmp_path / "cuts").write_text("3\n")
    for scenes, expected in (("auto", [16]), ("off", []), (str(tmp_path / "cuts"), [3])):
        with open_session(make_job(source, selection={"scenes": scenes})) as session:
            frames = list(iter_masked_frames(session))
        assert [n for n, frame in enumerate(frames) if frame.boundary is Boundary.HARD] == expected
        assert all(frame.mask is None for frame in frames)


def test_frames_before_the_first_are_read_for_their_cuts(clip: ClipMaker) -> None:
    with open_session(make_job(clip("in.mkv", frames=24, cuts=[16]))) as session:
        frames = list(iter_masked_frames(session, 14))
    assert [frame.boundary is Boundary.HARD for frame in frames] == [n == 2 for n in range(10)]


def test_masks_are_grown(clip: ClipMaker, tmp_path: Path) -> None:
    from PIL import Image

    mask = np.zeros((48, 64), np.uint8)
    mask[20, 30] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    restore = RestoreSettings(task=Task.INPAINT, mask=tmp_path / "m.png", dilate=2)
    with open_session(make_job(clip("in.mkv", frames=2), restore=restore)) as session:
        for frame in iter_masked_frames(session):
            assert frame.mask is not None
            assert np.argwhere(frame.mask).min(0).tolist() == [18, 28]
            assert frame.mask.sum() == 25
