"""What is undone before the network that deblurs and inpaints sees it."""

import pytest
import torch

from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.embedded import keep_size
from vrx.models.embedded.checkpoint import load_networks
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.weights.hashes import packaged_path


@pytest.mark.parametrize(("estimate", "undone"), [(0.1, 0.0), (0.29, 0.0), (0.31, 0.31), (2.0, 2.0)])
def test_a_blur_too_weak_to_see_is_left_alone(monkeypatch: pytest.MonkeyPatch, estimate: float, undone: float) -> None:
    """Below 0.3 pixels the picture itself is the base: an inverse filter would only ring."""
    monkeypatch.setattr(keep_size, "estimate_sigma", lambda network, frames: estimate)
    encode = keep_size.Encode(EmbeddedOptions(task="deblur"), load_networks(packaged_path("embedded.safetensors")).blur)
    frames = torch.rand(1, 3, 16, 16)
    scene = SceneStart(0, (16, 16), (16, 16))
    chunk, state = encode.step(DeviceChunk(frames), encode.start(scene))
    assert state.sigma == undone
    assert torch.equal(chunk.base, frames) is (undone == 0)


@pytest.mark.parametrize("value", [0.7, 5.58409847864432, None])
def test_a_saved_blur_loses_no_digit(value: float | None) -> None:
    sharpness = load_networks(packaged_path("embedded.safetensors")).blur
    encode = keep_size.Encode(EmbeddedOptions(task="deblur", sigma=value), sharpness)
    scene = SceneStart(0, (16, 16), (16, 16))
    assert encode.load(scene, encode.save(encode.start(scene))).sigma == value
