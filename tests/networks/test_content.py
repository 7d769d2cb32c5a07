import cv2
import numpy as np
import pytest
import torch
from scenedetect import ContentDetector, FrameTimecode

from vrx.networks.content import content_change, hue_saturation_value


def test_hue_saturation_and_value_are_those_of_8_bit_pictures() -> None:
    levels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    levels[:8] = levels[:8, :, :1]  # gray
    theirs = cv2.cvtColor(levels, cv2.COLOR_RGB2HSV).astype(int)
    ours = hue_saturation_value(torch.from_numpy(levels).permute(2, 0, 1).float() / 255).permute(1, 2, 0).numpy()
    assert np.abs(ours[..., 1:] - theirs[..., 1:]).max() <= 1
    turn = np.abs(ours[..., 0] - theirs[..., 0])
    assert np.minimum(turn, 180 - turn).max() <= 1


@pytest.mark.parametrize("amount", [0.05, 0.2, 0.6])
def test_the_change_is_the_detectors_score(amount: float) -> None:
    generator = np.random.default_rng(2)
    a = generator.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    b = np.where(generator.random((48, 64, 1)) < amount, 255 - a, a).astype(np.uint8)
    detector = ContentDetector(threshold=255.0)
    for number, picture in enumerate((a, b)):
        detector.process_frame(FrameTimecode(number, 25.0), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    theirs = detector._frame_score
    ours = content_change(*(torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p in (a, b)))
    assert ours == pytest.approx(theirs, rel=0.02)
