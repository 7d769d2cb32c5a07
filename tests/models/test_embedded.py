"""What is undone before the network that deblurs and inpaints sees it."""

import pytest
import torch

from vrx.models import embedded
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.embedded import EmbeddedOptions, load_parts
from vrx.weights.hashes import packaged_path


@pytest.mark.parametrize(("estimate", "undone"), [(0.1, 0.0), (0.29, 0.0), (0.31, 0.31), (2.0, 2.0)])
def test_a_blur_too_weak_to_see_is_left_alone(monkeypatch: pytest.MonkeyPatch, estimate: float, undone: float) -> None:
    """Below 0.3 pixels the picture itself is the base: an inverse filter would only ring."""
    monkeypatch.setattr(embedded, "estimate_sigma", lambda network, frames: estimate)
    encode = embedded.Encode(
        EmbeddedOptions(task="deblur"), load_parts(packaged_path("embedded.safetensors")).sharpness
    )
    frames = torch.rand(1, 3, 16, 16)
    scene = SceneStart(0, (16, 16), (16, 16))
    chunk, state = encode.step(DeviceChunk(frames), encode.start(scene))
    assert state.sigma == undone
    assert torch.equal(chunk.base, frames) is (undone == 0)


@pytest.mark.parametrize("value", [0.7, 5.58409847864432, None])
def test_a_saved_blur_loses_no_digit(value: float | None) -> None:
    sharpness = load_parts(packaged_path("embedded.safetensors")).sharpness
    encode = embedded.Encode(EmbeddedOptions(task="deblur", sigma=value), sharpness)
    scene = SceneStart(0, (16, 16), (16, 16))
    assert encode.load(scene, encode.save(encode.start(scene))).sigma == value
