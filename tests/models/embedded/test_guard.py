"""The guard of enlarging: tolerance, steady shares, plain parts, notes, bands, and a state that survives."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.embedded import guard
from vrx.models.embedded.checkpoint import EmbeddedNetworks, load_networks
from vrx.models.embedded.guard import EXACT, GuardState, Tolerance, keep_agreeing, tolerance_of
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.runner import restore_scene
from vrx.networks.embedded.classical import bicubic, lanczos
from vrx.train.degrade import quantize, shrink
from vrx.weights.hashes import packaged_path

SCENE = SceneStart(2, (24, 32), (48, 64))


def source(frames: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return F.interpolate(0.2 + 0.6 * torch.rand(frames, 3, 6, 8, generator=generator), size=(24, 32), mode="bicubic")


def spoiled(low: Tensor) -> Tensor:
    frames = bicubic(low, 2)
    frames[..., :32] += 0.1 * torch.randn(frames[..., :32].shape, generator=torch.Generator().manual_seed(2))
    return frames.clamp(0, 1)


def test_what_agrees_is_not_touched() -> None:
    low = source()
    frames = bicubic(low, 2)
    before = frames.clone()
    notes, state = keep_agreeing(frames, low, 2, Tolerance(0.0, 0.0), GuardState(SCENE))
    assert torch.equal(frames, before)
    assert (notes, state.told) == ((), False)


def test_what_does_not_is_enlarged_plainly_and_told_once() -> None:
    low = source()
    frames, before = spoiled(low), spoiled(low)
    notes, state = keep_agreeing(frames, low, 2, EXACT, GuardState(SCENE))
    plain = lanczos(low, 2)
    assert (frames - plain)[..., :24].abs().mean() < 0.3 * (before - plain)[..., :24].abs().mean()
    assert torch.equal(frames[..., 52:], before[..., 52:])
    assert [(note.code, note.facts["scene"]) for note in notes] == [("plainly-enlarged", 3)]
    again, _ = keep_agreeing(spoiled(low), low, 2, EXACT, state)
    assert again == ()
    whole, _ = keep_agreeing(spoiled(low), low, 2, Tolerance(60.0, 0.0), GuardState(SCENE))
    assert whole == ()


def test_the_share_follows_half_way_a_frame() -> None:
    low = source(1)
    _, first = keep_agreeing(bicubic(low, 2), low, 2, EXACT, GuardState(SCENE))
    _, second = keep_agreeing(spoiled(low), low, 2, EXACT, first)
    _, alone = keep_agreeing(spoiled(low), low, 2, EXACT, GuardState(SCENE))
    assert first.share is not None and second.share is not None and alone.share is not None  # noqa: PT018
    torch.testing.assert_close(second.share, 0.5 + alone.share / 2)


def test_frames_together_or_apart_and_saved_between_are_the_same() -> None:
    low, together = source(), spoiled(source())
    keep_agreeing(together, low, 2, EXACT, GuardState(SCENE))
    state, parts = GuardState(SCENE), []
    for picture, frame in zip(low.split(1), spoiled(low).split(1), strict=True):
        state = GuardState.from_tensors(SCENE, state.tensors())
        _, state = keep_agreeing(frame, picture, 2, EXACT, state)
        parts.append(frame)
    assert torch.equal(torch.cat(parts), together)


def test_bands_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    low, whole, banded = source(), spoiled(source()), spoiled(source())
    keep_agreeing(whole, low, 2, EXACT, GuardState(SCENE))
    monkeypatch.setattr(guard, "BAND", 5 * 32)
    monkeypatch.setattr(guard, "LEAST_ROWS", 1)
    keep_agreeing(banded, low, 2, EXACT, GuardState(SCENE))
    torch.testing.assert_close(banded, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("levels", "luma_noise", "difference", "lifted"),
    [
        ([0.0, 0.0, 0.0], 0.0, 0.0, 1.0),
        ([0.5, 0.0, 0.0], 0.0, 1.3 * 6.7, 1.0),
        ([0.5, 0.0, 0.0], 10.0, 13.0, 1.0),
        ([0.0, 0.2, 0.0], 0.0, 0.675, 0.5),
        ([0.0, 0.9, 1.0], 0.0, 5.4, 0.0),
    ],
)
def test_damage_sets_the_tolerance(levels: list[float], luma_noise: float, difference: float, lifted: float) -> None:
    found = tolerance_of(torch.tensor(levels), luma_noise)
    assert (found.difference, found.lifted) == pytest.approx((difference, lifted), abs=1e-6)


@pytest.fixture(scope="module")
def shipped() -> EmbeddedNetworks:
    return load_networks(packaged_path("embedded.safetensors"))


def synthetic(kind: str) -> Tensor:
    """[5, 3, 96, 128]: patterns that no camera makes."""
    y, x = torch.arange(96.0)[:, None], torch.arange(128.0)
    picture = {
        "flat": 0 * x + 0 * y + 77 / 255,
        "black": 0 * x + 0 * y,
        "gradient": (0.8 * x + 0 * y) / 255,
        "checker": ((x // 4 + y // 4) % 2),
        "fine lines": (x // 2 % 2) + 0 * y,
    }[kind]
    return quantize(picture.expand(5, 3, -1, -1))


@pytest.mark.parametrize("kind", ["flat", "black", "gradient", "checker", "fine lines"])
@pytest.mark.parametrize("scale", [2, 4])
def test_synthetic_pictures_are_hardly_worse_than_plainly_enlarged(
    shipped: EmbeddedNetworks, kind: str, scale: int
) -> None:
    truth = synthetic(kind)
    low = quantize(shrink(truth, scale))
    restorer = EmbeddedRestorer(
        EmbeddedOptions(task="upscale", scale=scale), shipped, torch.device("cpu"), torch.float32
    )
    with torch.inference_mode():
        parts = restore_scene(restorer, [DeviceChunk(low[:4]), DeviceChunk(low[4:])])
        found = torch.cat([part.frames for part in parts])
    errors = [
        (quantize(x) - truth)[..., 8:-8, 8:-8].square().mean().clamp_min(1e-9) for x in (lanczos(low, scale), found)
    ]
    if kind == "gradient":  # Lanczos is within rounding of the truth, and the network nearly
        assert 255 * errors[1].sqrt() < 0.65
    else:
        assert float(10 * torch.log10(errors[0] / errors[1])) > -0.1
