"""The recipe that trains InstaVSR: windows along the flow, both phases, states."""

from __future__ import annotations

import argparse
import math
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from vrx.networks.embedded.recurrent import fetch
from vrx.networks.instavsr.network import SMALL, InstaVsr
from vrx.train import critics, instavsr, instavsr_losses, pool, prepared, recurrence
from vrx.train.instavsr import Training, begin, one_step, save
from vrx.train.pool import Maker
from vrx.train.prepared import Scenes, draw, run_flow
from vrx.train.synthesis import Photographs, text_bank

TINY = replace(SMALL, widths=(8,), decoder_widths=(8,))


def moving_scenes(frames: int = 4, side: int = 24) -> Scenes:
    """Two clips whose content moves 1 pixel of the source to the right and 2 down a frame, with exact flows."""
    generator = torch.Generator().manual_seed(0)
    wide = F.interpolate(torch.rand(2, 3, 30, 30, generator=generator), scale_factor=8, mode="bicubic").clamp(0, 1)
    size = 4 * side
    views = [wide[..., 80 - 8 * t : 80 - 8 * t + size, 80 - 4 * t : 80 - 4 * t + size] for t in range(frames)]
    truth = (torch.stack(views, 1) * 255).to(torch.uint8)
    low = F.avg_pool2d(truth.flatten(0, 1).float(), 4).to(torch.uint8).view(2, frames, 3, side, side)
    step = torch.tensor([1.0, 2.0]).view(2, 1, 1)
    flow = torch.zeros(2, frames, 4, 2, side, side)
    for t in range(frames):
        for n, offset in enumerate(prepared.OFFSETS):
            flow[:, t, n] = step * (min(max(t + offset, 0), frames - 1) - t)
    motion = (-2 * step).expand(2, frames - 1, 2, 2 * side, 2 * side)
    return Scenes(truth, low, flow.half(), motion.half())


def arguments(folder: Path, phase: str = "pretrain", **changes: object) -> argparse.Namespace:
    """Of a small run."""
    common = {"seed": 0, "start": None, "device": "cpu", "phase": phase, "reach": 2, "rate": 2e-3, "resume": False}
    size = {"batch": 2, "shares": 2, "side": 16, "frames": 3, "steps": 1000, "out": folder}
    return argparse.Namespace(**{**common, **size, **changes})


def run(training: Training, scenes: Scenes, args: argparse.Namespace, steps: int) -> list[dict[str, float]]:
    """Some steps."""
    with ThreadPoolExecutor(args.shares) as workers:
        return [one_step(training, scenes, args, workers) for _ in range(steps)]


def change_of(weights: list[Tensor], network: InstaVsr) -> float:
    """How far a network's weights are from earlier ones, at most."""
    return max(float((a - b.detach()).abs().max()) for a, b in zip(weights, network.parameters(), strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_varied_clips_still_move_along_their_flows(seed: int) -> None:
    batch = draw(moving_scenes(), 2, (3, 16), random.Random(seed))
    inside = (..., slice(24, -24), slice(24, -24))
    assert recurrence.moved_change(batch.truth, batch.motion)[inside].abs().max() < 0.02
    past = fetch(batch.truth[:, 0], batch.flow[:, 2, 0], 4)
    assert (past - batch.truth[:, 2])[inside].abs().max() < 0.02
    future = fetch(batch.low[:, 1], batch.flow[:, 0, 2], 1)
    assert (future - batch.low[:, 0])[..., 5:-5, 5:-5].abs().max() < 0.02


def test_a_run_out_of_a_clip_looks_no_further_than_its_ends() -> None:
    flow = moving_scenes(frames=6).flow[0].float()
    found = run_flow(flow, 2, 3)[..., 0, 0]
    assert found[:, :, 0].tolist() == [[0, 0, 1, 2], [-1, -1, 1, 1], [-2, -1, 0, 0]]


def test_finished_frames_go_back_into_the_window() -> None:
    torch.manual_seed(0)
    network = InstaVsr(TINY)
    torch.nn.init.normal_(network.decoder.get_parameter("conv_residual.weight"), std=0.1)
    batch = draw(moving_scenes(), 1, (3, 16), random.Random(0))
    made = recurrence.restore(network, batch.low, batch.flow, 1).frames
    past, future = recurrence.window(batch.low, batch.flow, [made[:, 0], made[:, 1]], made[:, 0])
    assert torch.equal(network(past, batch.low[:, 2], future), made[:, 2])
    nearest = fetch(made[:, 1], batch.flow[:, 2, 1], 4)
    assert torch.equal(past[:, 1], nearest)


@pytest.mark.parametrize(("reach", "reached"), [(1, False), (3, True)])
def test_gradients_go_back_as_far_as_asked(reach: int, reached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = draw(moving_scenes(), 1, (3, 16), random.Random(0))
    first, network = torch.zeros(1, 1, 3, 1, 1, requires_grad=True), InstaVsr(TINY)
    torch.nn.init.normal_(network.decoder.get_parameter("conv_residual.weight"), std=0.1)
    monkeypatch.setattr(network, "latent", lambda past, *_: F.avg_pool2d(past[:, 1], 4).repeat(1, 3, 1, 1)[:, :8])
    low = torch.cat([batch.low[:, :1] + first, batch.low[:, 1:]], 1)
    (found,) = torch.autograd.grad(recurrence.restore(network, low, batch.flow, reach).frames[:, 2].sum(), first)
    assert bool(found.abs().sum() > 0) == reached


def test_pretraining_comes_closer_to_the_truth_than_bicubic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instavsr_losses, "FLOOR", 1e-3)  # these clips are smooth
    args = arguments(tmp_path)
    terms = run(begin(args, TINY), moving_scenes(), args, 30)
    assert terms[0]["fidelity"] == pytest.approx(1.0, abs=0.03)
    assert sum(t["fidelity"] for t in terms[-5:]) / 5 < 0.96


def test_the_judges_learn_while_the_restorer_waits_and_then_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instavsr, "WAIT", 10)
    args = arguments(tmp_path, "adversarial")
    training, scenes = begin(args, TINY), moving_scenes()
    before = [p.detach().clone() for p in training.network.parameters()]
    first, *_, last = run(training, scenes, args, 10)
    assert change_of(before, training.network) == 0
    assert all(last[name] < 0.999 * first[name] for name in ("critic", "latent critic", "encoder"))
    (both,) = run(training, scenes, args, 1)
    assert change_of(before, training.network) > 0
    assert {"fidelity", "temporal", "pixel", "latent", "features"} <= both.keys()


@pytest.mark.parametrize("phase", ["pretrain", "adversarial"])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(
    tmp_path: Path, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instavsr, "WAIT", 1)
    args, scenes = arguments(tmp_path, phase), moving_scenes()
    training = begin(args, TINY)
    run(training, scenes, args, 2)
    save(training, args)
    whole = run(training, scenes, args, 2)
    again = begin(arguments(tmp_path, phase, resume=True, seed=0), TINY)
    assert run(again, scenes, args, 2) == whole
    assert all(torch.equal(a, b) for a, b in zip(training.mean, again.mean, strict=True))


@pytest.mark.cuda
@pytest.mark.parametrize("phase", ["pretrain", "adversarial"])
def test_both_phases_run_on_a_gpu(tmp_path: Path, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instavsr, "WAIT", 1)
    args = arguments(tmp_path, phase, device="cuda", shares=1)
    training = begin(args, TINY)
    before = [p.detach().clone() for p in training.network.parameters()]
    terms = run(training, moving_scenes().to(torch.device("cuda")), args, 2)
    assert change_of(before, training.network) > 0
    assert all(map(math.isfinite, terms[-1].values()))


def test_saved_weights_are_the_average_and_name_their_sizes(tmp_path: Path) -> None:
    args = arguments(tmp_path)
    training = begin(args, TINY)
    run(training, moving_scenes(), args, 2)
    save(training, args)
    tensors = load_file(tmp_path / "instavsr.safetensors")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert TINY.from_tensors(shapes, {}) == TINY
    assert all(torch.equal(tensors[name], mean) for name, mean in training.averaged().items())


def test_a_start_takes_the_weights_of_a_file(tmp_path: Path) -> None:
    args = arguments(tmp_path)
    first = begin(args, TINY)
    run(first, moving_scenes(), args, 1)
    save(first, args)
    second = begin(arguments(tmp_path, "adversarial", start=tmp_path / "instavsr.safetensors", seed=5), TINY)
    assert change_of(first.mean, second.network) == 0


def test_the_log_survives_that_terms_come_in_when_the_wait_is_over() -> None:
    line = instavsr.line(3, 6.0, [{"critic": 1.0}, {"critic": 2.0, "pixel": 3.0}, {"critic": 4.0, "pixel": 5.0}])
    assert line == "step 3  2.00 s  critic 3.0000  pixel 4.0000"


def test_spectral_norms_are_one_after_they_were_renewed() -> None:
    torch.manual_seed(0)
    judges = instavsr_losses.Judges(TINY)
    for _ in range(30):
        judges.renew_norms()
    weight = judges.pixel.leave.weight
    assert isinstance(weight, torch.Tensor)
    norm = torch.linalg.matrix_norm(weight.detach().flatten(1), 2)
    assert float(norm) == pytest.approx(1.0, rel=0.02)


def test_features_of_the_truth_are_at_no_distance_from_themselves() -> None:
    features = [torch.rand(1, 2, 4, 4)]
    assert critics.feature_distance(features, features) == 0
    assert critics.feature_distance([2 * features[0]], features) == pytest.approx(1.0)


def test_clips_are_prepared_with_the_flows_of_what_was_left_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pool, prepared):
        monkeypatch.setattr(module, "GRID", 16)
    torch.manual_seed(0)
    photos = torch.randint(0, 255, (2, 3, 80, 100), dtype=torch.uint8)
    maker = Maker(Photographs(photos, text_bank(1, 80, 100)), [], 4, 1, prepared.DAMAGE)
    with ThreadPoolExecutor(1) as workers:
        scenes = prepared.prepare(maker, 3, workers)
    maker.close()
    assert scenes.flow.shape == (3, 4, 4, 2, 16, 16)
    assert scenes.motion.shape == (3, 3, 2, 32, 32)
    assert scenes.flow[:, 0, :2].abs().max() == 0
    assert scenes.flow[:, -1, 2:].abs().max() == 0


def test_every_kind_of_damage_harms_and_blur_takes_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GRID", 16)
    photos = torch.randint(0, 255, (2, 3, 80, 100), dtype=torch.uint8)

    def detail(kind: str, soft: float) -> Tensor:
        torch.manual_seed(0)
        maker = Maker(Photographs(photos, text_bank(1, 80, 100)), [], 2, 1, pool.Recipe({kind: 1.0}, soft))
        low = maker.make(4, 2).low.float()
        maker.close()
        return (low[..., 1:] - low[..., :-1]).abs().mean()

    assert detail("clean", 1.0) < 0.9 * detail("clean", 0.0)
    assert detail("stills", 0.0) < 0.98 * detail("clean", 0.0)
