"""The recipe of the embedded model, a few steps of it: what is drawn, what is compared, what moves."""

import random
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.networks import TINY, tiny_network
from vrx.models.classical import bicubic
from vrx.models.embedded import MODES, SMALL, EmbeddedNetwork
from vrx.models.grids import upscale_inputs
from vrx.models.sharpness import SharpnessNetwork
from vrx.models.strength import StrengthNetwork
from vrx.restorers.embedded import EmbeddedOptions, EmbeddedParts, EmbeddedRestorer
from vrx.train import batches, degrade, embedded, evaluate, pack
from vrx.train.clips import draw, load_clips
from vrx.train.losses import charbonnier, gradient, temporal_difference
from vrx.train.rollout import restored


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """One shard of two moving clips."""
    torch.manual_seed(0)
    folder = tmp_path / "data"
    folder.mkdir()
    picture = torch.nn.functional.interpolate(torch.rand(1, 3, 24, 24), (240, 240), mode="bicubic").clamp(0, 1)
    runs = [torch.stack([picture[0, :, t : t + 192, 2 * t : 2 * t + 192] for t in range(6)]) for _ in range(2)]
    save_file({"clips": (torch.stack(runs) * 255).to(torch.uint8)}, folder / "clips-0-000.safetensors")
    return folder


def arguments(data: Path, out: Path, **changes: object) -> Namespace:
    usual = {"minutes": None, "batch": 1, "frames": 2, "short": 0.0, "rate": 1e-3, "dtype": "fp32", "device": "cpu"}
    rest = {"steps": 2, "seed": 0, "start": None, "only": None, "resume": False}
    return Namespace(data=data, out=out, **{**usual, **rest, **changes})


def test_losses_are_of_each_clip() -> None:
    truth = torch.rand(2, 3, 3, 8, 8)
    out = truth.clone()
    out[1, 1:] += 0.1
    for loss in (charbonnier, gradient, temporal_difference):
        values = loss(out, truth)
        assert values.shape == (2,)
        assert values[0] <= 1e-3
    assert charbonnier(out, truth)[1] == pytest.approx(0.1 * 2 / 3, rel=0.02)
    assert gradient(out, truth)[1] == pytest.approx(0, abs=1e-6)
    assert temporal_difference(out, truth)[1] == pytest.approx(0.05)


def test_a_soft_clip_counts_as_much_as_a_sharp_one() -> None:
    """A tenth of the base's error is the same loss, whatever that error was."""

    nothing = EmbeddedNetwork(TINY)  # fresh: it adds nothing

    def loss(*errors: float) -> float:
        truth = torch.full((len(errors), 2, 3, 16, 16), 0.5)
        base = truth + torch.tensor(errors).view(-1, 1, 1, 1, 1) * torch.randn(truth.shape).sign()
        inputs, levels = torch.zeros(len(errors), 2, 6, 4, 4), torch.zeros(len(errors), 3)
        batch = batches.Batch("upscale4", inputs, levels, base, truth, None, torch.zeros(len(errors), 1, 2, 4, 4))
        return float(embedded.losses(nothing, batch, torch.float32)[0].detach())

    assert loss(0.02) == pytest.approx(loss(0.2), rel=0.01)
    assert loss(0.02, 0.2) == pytest.approx(loss(0.2), rel=0.01)


@pytest.mark.parametrize("mode", MODES)
def test_every_use_gets_batches_whose_parts_agree(clips: Path, mode: str) -> None:
    rng = random.Random(1)
    for _ in range(4):
        batch = batches.make_batch(mode, draw(load_clips(clips), 1, 2, rng), rng)
        side = {"upscale3": 3, "upscale2": 4}.get(mode, 4)  # output pixels a position
        assert batch.inputs.shape[:3] == (1, 2, MODES[mode].inputs)
        assert batch.base.shape == batch.truth.shape == (1, 2, 3, *(side * n for n in batch.inputs.shape[-2:]))
        assert (batch.motion is None) == (MODES[mode].hints == 0)
        if batch.motion is not None:
            assert batch.motion.shape == (1, 1, 2, *batch.inputs.shape[-2:])
        assert torch.isfinite(batch.inputs).all()
        assert float(((batch.base - batch.truth) ** 2).mean()) < 0.05
        if batch.mask is not None and not batch.flickers:  # not compressed: what is known is right
            error = (batch.base - batch.truth).abs() * (1 - batch.mask)
            assert float(error.max()) < 3e-3


def test_steps_move_the_network_and_go_on_where_they_stopped(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    embedded.train(arguments(clips, out))
    first = load_file(out / "embedded.safetensors")
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 2
    embedded.train(arguments(clips, out, steps=3, resume=True))
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 3
    second = load_file(out / "embedded.safetensors")
    assert first.keys() == second.keys() == EmbeddedNetwork(SMALL).state_dict().keys()
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_only_one_family_moves_where_that_is_asked(clips: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    network = EmbeddedNetwork(SMALL)
    torch.nn.init.normal_(network.heads["deblur"].weight, std=0.01)  # zero, it would hold back what is before it
    save_file(network.state_dict(), start)
    embedded.train(arguments(clips, tmp_path / "out", start=start, only=["deblur"]))
    before, after = load_file(start), load_file(tmp_path / "out" / "embedded.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.split(".")[1] == "deblur" for name in moved)
    assert any(name.startswith("families.deblur.after") for name in moved)


def test_packing_takes_the_mean_of_networks() -> None:
    first = {"a": torch.tensor([1.0, 2.0]), "sharpness.b": torch.zeros(1)}
    second = {"a": torch.tensor([3.0, 2.0])}
    assert pack.mean([first, second])["a"].tolist() == [2.0, 2.0]
    assert set(pack.mean([second, first])) == {"a"}


def test_a_lead_is_the_clip_played_back_and_forth_and_nothing_is_learnt_from_it(clips: Path) -> None:
    assert batches.back_and_forth(4, 9) == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert batches.back_and_forth(1, 3) == [0, 0, 0]
    assert batches.back_and_forth(3, 3) == [0, 1, 2]
    rng = random.Random(2)
    truth = draw(load_clips(clips), 1, 3, rng)
    batch = batches.make_batch("upscale4", truth, rng, lead=4)
    assert batch.truth.shape[1] == batch.inputs.shape[1] == batch.motion.shape[1] + 1 == 7  # type: ignore[union-attr]
    assert torch.equal(batch.truth[:, 0], batch.truth[:, 4])
    network = EmbeddedNetwork(TINY)
    changed = replace(batch, truth=batch.truth.clone())
    changed.truth[:, :4] = 0
    assert torch.equal(*(embedded.losses(network, x, torch.float32)[0] for x in (batch, changed)))


def test_what_is_trained_is_what_runs(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames, hints and all: the recipe's batches and the streamed restorer agree."""
    rng = random.Random(3)
    network = tiny_network()
    truth = draw(load_clips(clips), 1, 4, rng)
    low = degrade.quantise(degrade.shrink(truth[0], 4))
    options = EmbeddedOptions(task="upscale", scale=4, strength=0.0)
    parts = EmbeddedParts(network, SharpnessNetwork().eval(), StrengthNetwork().eval())
    base, motion = bicubic(low, 4)[None], batches.motion_of(low, 1)
    inputs = upscale_inputs(low, 4)[None]
    batch = batches.Batch("upscale4", inputs, batches.levels_of(1, 0, 0.0), base, truth, None, motion)
    with torch.inference_mode():
        trained = restored(network, batch, torch.float32)[0].clamp(0, 1)
        restorer = EmbeddedRestorer(options, parts, torch.device("cpu"), torch.float32)
        monkeypatch.setattr("vrx.restorers.embedded.LEAD_FRAMES", 1)  # nothing before the first frame, as in a batch
        streamed = evaluate.restored(restorer, low, None, 4)
    torch.testing.assert_close(streamed, trained, atol=1e-4, rtol=0)
