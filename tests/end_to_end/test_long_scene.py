"""The example that ships, enlarged as its README says, but for its border: no frame of its one scene comes apart."""

from pathlib import Path

import av
import numpy as np

import vrx
from tests.conftest import ROOT

CROP = 160, 90, 80, 45  # width, height, left, top: a quarter of the picture, in the middle


def frames_of(path: Path) -> np.ndarray:
    """Luma [T, H, W]."""
    with av.open(str(path)) as box:
        return np.array([frame.to_ndarray(format="gray").astype(np.float32) for frame in box.decode(video=0)])


def slopes(frames: np.ndarray) -> np.ndarray:
    """How steep each frame is on average: levels of luma from pixel to pixel."""
    return np.abs(np.diff(frames, axis=2)).mean(axis=(1, 2))


def test_every_frame_of_a_scene_is_as_steep_as_its_source(tmp_path: Path) -> None:
    """Features that grow from frame to frame would show in the last ones."""
    source, result = ROOT / "examples" / "flower.mp4", tmp_path / "result.mkv"
    vrx.upscale(source, result, scale=4, crop=":".join(map(str, CROP)))
    width, height, left, top = CROP
    before = slopes(frames_of(source)[:, top : top + height, left : left + width])
    after = slopes(frames_of(result)) * 4  # from pixel to pixel of the source
    assert len(after) == len(before) == 60
    assert (after / before).max() < 1.5
    assert (after / before).min() > 0.7
