"""The example that ships, enlarged as its README says: no frame of its one scene comes apart."""

from pathlib import Path

import av
import numpy as np

import vrx
from tests.conftest import ROOT


def slopes(path: Path, factor: int = 1) -> np.ndarray:
    """How steep each frame is on average: levels of luma from pixel to pixel of the source."""
    with av.open(str(path)) as box:
        frames = [frame.to_ndarray(format="gray").astype(np.float32) for frame in box.decode(video=0)]
    return np.array([np.abs(np.diff(frame, axis=1)).mean() * factor for frame in frames])


def test_every_frame_of_a_scene_is_as_steep_as_its_source(tmp_path: Path) -> None:
    """Features that grow from frame to frame would show in the last ones."""
    source, result = ROOT / "examples" / "flower.mp4", tmp_path / "result.mkv"
    vrx.upscale(source, result, scale=4)
    before, after = slopes(source), slopes(result, 4)
    assert len(after) == len(before) == 60
    assert (after / before).max() < 1.5
    assert (after / before).min() > 0.7
