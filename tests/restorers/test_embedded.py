"""The shipped checkpoint over time: earlier frames help, and what is fed back comes to rest."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import vrx
from vrx.models.classical import bicubic
from vrx.restorers import embedded
from vrx.restorers.base import Pixels, SceneStart
from vrx.restorers.embedded import EmbeddedOptions, EmbeddedRestorer, load_parts
from vrx.train.degrade import quantise, shrink

CHECKPOINT = Path(vrx.__file__).parent / "data" / "embedded.safetensors"
SIDE = 160  # pixels of the result


@pytest.fixture(scope="module")
def picture() -> Tensor:
    """Boxes of all sizes, more grey than coloured, twice as large as they are shown, [1, 3, 2 H, 2 W]."""
    generator = torch.Generator().manual_seed(5)
    canvas = torch.full((1, 3, 2 * SIDE + 80, 2 * SIDE + 80), 0.5)
    colours = list(
        torch.rand(400, 1, 1, 1, generator=generator) * 0.8 + torch.rand(400, 3, 1, 1, generator=generator) / 5
    )
    while colours:
        top, left, tall, wide = (torch.rand(4, generator=generator) * torch.tensor([400, 400, 60, 60])).int().tolist()
        canvas[..., top : top + tall + 2, left : left + wide + 2] = colours.pop()
    return canvas


def view(picture: Tensor, offset: int) -> Tensor:
    """What is seen after the camera moved by half pixels, [3, H, W]."""
    return F.avg_pool2d(picture[..., offset : offset + 2 * SIDE, 2 * offset : 2 * offset + 2 * SIDE], 2)[0]


def gains(truth: Tensor) -> Tensor:
    """dB over bicubic of every frame, enlarged by 4 in chunks of two."""
    low = quantise(shrink(truth, 4))
    height, width = low.shape[-2:]
    restorer = EmbeddedRestorer(
        EmbeddedOptions(task="upscale", scale=4, strength=0.0),
        load_parts(CHECKPOINT),
        torch.device("cpu"),
        torch.float32,
    )
    scene = SceneStart(0, (height, width), (4 * height, 4 * width))
    stages = (restorer.encode, restorer.generate, restorer.decode)
    states = [stage.start(scene) for stage in stages]
    frames = []
    with torch.inference_mode():
        for start in range(0, len(low), 2):
            chunk = Pixels(low[start : start + 2].clone(), None, frozenset({0} if start == 0 else ()))
            for place, stage in enumerate(stages):
                chunk, states[place] = stage.step(chunk, states[place])
            frames.append(chunk.frames)
    errors = [((x - truth) ** 2)[..., 8:-8, 8:-8].mean((1, 2, 3)) for x in (bicubic(low, 4), torch.cat(frames))]
    return 10 * torch.log10(errors[0] / errors[1])


def test_frames_of_a_moving_scene_help_each_other(picture: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = quantise(torch.stack([view(picture, t) for t in range(10)]))
    found = gains(truth)
    assert found.min() > 1.0
    assert found[6:].mean() > found[0] + 0.3
    monkeypatch.setattr("vrx.restorers.embedded.LEAD_FRAMES", 1)
    alone = gains(truth)
    assert found[0] > alone[0] + 0.3  # its scene goes on, and that helps the first frame too
    torch.testing.assert_close(found[6:], alone[6:], atol=0.05, rtol=0)


def test_a_still_scene_comes_to_rest(picture: Tensor) -> None:
    found = gains(quantise(view(picture, 0)).expand(60, -1, -1, -1))
    assert found.min() > 1.0
    assert (found[40:] - found[20]).abs().max() < 0.1


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_scenes_have_a_shorter_lead(picture: Tensor, frames: int) -> None:
    found = gains(quantise(torch.stack([view(picture, t) for t in range(frames)])))
    assert len(found) == frames
    assert found.min() > 1.0


@pytest.mark.parametrize(("estimate", "undone"), [(0.1, 0.0), (0.29, 0.0), (0.31, 0.31), (2.0, 2.0)])
def test_a_blur_too_weak_to_see_is_left_alone(monkeypatch: pytest.MonkeyPatch, estimate: float, undone: float) -> None:
    """Below 0.3 pixels the picture itself is the base: an inverse filter would only ring."""
    monkeypatch.setattr(embedded, "estimate_sigma", lambda network, frames: estimate)
    parts = load_parts(CHECKPOINT)
    encode = embedded.Encode(EmbeddedOptions(task="deblur"), parts.sharpness, parts.strength)
    frames = torch.rand(1, 3, 16, 16)
    scene = SceneStart(0, (16, 16), (16, 16))
    chunk, state = encode.step(Pixels(frames, None, frozenset()), encode.start(scene))
    assert state.sigma == undone
    assert torch.equal(chunk.carry["base"], frames) is (undone == 0)
