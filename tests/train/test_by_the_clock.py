"""The recipe that trains the enlarging network by the clock: clips, damage, updates."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import vrx
from tests.conftest import ROOT
from vrx.networks.embedded.recurrent import STANDARD, ClipMotion, PreviousFrame, RecurrentConfig, RecurrentNetwork
from vrx.train import pool, recurrent, slots, spoil
from vrx.train.objective import FLOOR, USUAL, excess, objective
from vrx.train.pool import Clips, Footage, Maker, Pool
from vrx.train.recurrent import Step, Training
from vrx.train.start import Start, grown, shortened
from vrx.train.synthesis import VIVID, Photographs, saturate, text_bank, vary
from vrx.train.updates import Updates, orthogonal
from vrx.train.validate import Case, Validation


def scene(frames: int = 4, side: int = 32) -> torch.Tensor:
    """A smooth gray clip [1, T, 3, side, side]."""
    torch.manual_seed(1)
    coarse = torch.rand(1, 1, 6, 6).expand(1, 3, 6, 6)
    picture = nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0.1, 0.9)
    return picture[:, None].expand(1, frames, 3, side, side).clone()


def test_a_coarser_quantizer_does_more_harm() -> None:
    clip, motion = scene(), torch.zeros(1, 4, 2, 32, 32)
    errors = [
        (spoil.coded(clip, motion, torch.tensor([qp]), modern=False) - clip).abs().mean() for qp in (12.0, 28.0, 40.0)
    ]
    assert errors[0] < 0.01
    assert errors[0] < errors[1] < errors[2]


def test_mpeg4_is_measured_by_its_steps() -> None:
    assert float(spoil.quantizer_step(torch.tensor(spoil.qp_of_step(24.0)))) == pytest.approx(24.0)


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    torch.manual_seed(0)
    clips = torch.full((2, 4, 3, 48, 48), 0.5)
    noisy = spoil.add_noise(clips, torch.tensor([0.02, 0.08]))
    spread = (noisy - clips).flatten(1).std(1)
    assert spread.tolist() == pytest.approx([0.02, 0.08], rel=0.1)


def test_the_oldest_clips_are_replaced_first() -> None:
    def clips(value: int) -> Clips:
        full = torch.full((2, 1), value)
        return Clips(4, full, full, full, full)

    stock = Pool(3)
    for value in (1, 2):
        stock.add(clips(value))
    assert stock.filled == 3
    assert stock.clips is not None
    assert stock.clips.truth[:, 0].tolist() == [2, 1, 2]


def test_frames_are_drawn_from_one_run() -> None:
    footage = Footage(torch.zeros(48, 3, 2, 2, dtype=torch.uint8), 24, {})
    rng = random.Random(0)
    for _ in range(50):
        start = footage.start(rng, 16)
        assert start // 24 == (start + 15) // 24


def test_updates_find_a_minimum_and_go_on_where_they_were_saved() -> None:
    torch.manual_seed(0)
    weights = [("a", nn.Parameter(torch.randn(4, 4, 3, 3))), ("b", nn.Parameter(torch.randn(5)))]
    updates = Updates(weights, 4)
    updates.rate.fill_(0.01)
    for _ in range(150):
        for _, p in weights:
            p.grad = 2 * p.detach()
        updates.step()
    assert all(float(p.detach().abs().mean()) < 0.3 for _, p in weights)
    other = Updates([(name, nn.Parameter(torch.zeros_like(p))) for name, p in weights], 4)
    other.restore(updates.state())
    torch.testing.assert_close(other.parameters[0].detach(), weights[0][1].detach())
    torch.testing.assert_close(other.averaged()["b"], updates.averaged()["b"])


def test_gradients_that_are_not_finite_move_nothing() -> None:
    weight = nn.Parameter(torch.ones(5))
    updates = Updates([("a", nn.Parameter(torch.ones(4, 4, 3, 3))), ("b", weight)], 4)
    updates.rate.fill_(0.1)
    updates.parameters[0].grad = torch.zeros(4, 4, 3, 3)
    weight.grad = torch.full((5,), float("nan"))
    updates.step()
    assert weight.detach().tolist() == [1.0] * 5


def test_an_update_is_orthogonal() -> None:
    torch.manual_seed(0)
    made = orthogonal(torch.randn(2, 4, 36))
    assert torch.linalg.svdvals(made).sub(1).abs().max() < 0.5


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_step_moves_the_network(scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pool, slots):
        monkeypatch.setattr(module, "GRID", 16)
    torch.manual_seed(0)
    photos = torch.randint(0, 255, (2, 3, 80, 100), dtype=torch.uint8)
    maker = Maker(Photographs(photos, text_bank(1, 80, 100)), [], 4, 1)
    clips = maker.make(scale, 2)
    maker.close()
    training = Training.begin(RecurrentConfig(channels=8, blocks=1, later_blocks=1), torch.device("cpu"), None)
    training.updates.rate.fill_(1e-3)
    batch = slots.Batch(scale, 2, 4, 12, training.network)
    before = [p.detach().clone() for p in training.network.heads.parameters()]
    batch.refill(clips, 2, random.Random(0), estimate=True)
    Step(training.network, training.damage, training.updates, batch).run()
    after = training.network.heads.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert batch.features.abs().sum() > 0
    assert batch.gains.isfinite().all()


def test_the_loss_is_relative_to_that_of_the_base() -> None:
    """Distance, half of the squared error of luma, and a fifth of the change of the error."""
    truth = torch.rand(2, 4, 3, 8, 8)
    error = 0.1 * torch.randn_like(truth)
    loss, gain = objective(truth + error, truth + error, truth)
    assert float(loss) == pytest.approx(1 + 0.5 + 0.2, rel=1e-5)
    assert gain.tolist() == pytest.approx([0, 0], abs=1e-5)
    loss, gain = objective(truth + error / 2, truth + error, truth)
    assert float(loss) == pytest.approx(0.5 + 0.5 / 4 + 0.2 / 2, rel=0.02)
    assert gain.tolist() == pytest.approx([6.02, 6.02], abs=0.01)
    still = truth[:, :1].expand(-1, 4, -1, -1, -1)
    loss, _ = objective(still + FLOOR / 2, still, still)  # a base without an error counts as one of FLOOR
    assert float(loss) == pytest.approx(0.25 + 0.5 / 4, rel=1e-3)


def test_features_beyond_what_is_usual_count_a_position() -> None:
    assert (USUAL, recurrent.EXCESS_WEIGHT) == (0.4, 1.0)
    usual = torch.full((2, 3, 4, 4), USUAL * 5.0)
    assert float(excess([usual, -usual], 5.0)) == 0
    assert float(excess([], 5.0)) == 0
    grown_apart = usual.clone()
    grown_apart[:, 1] += 2
    assert float(excess([grown_apart, usual], 5.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("average", [0.5, 0.999])
def test_the_average_follows_as_closely_as_was_asked_for(average: float) -> None:
    kernel, weight = nn.Parameter(torch.zeros(4, 4, 3, 3)), nn.Parameter(torch.zeros(5))
    updates = Updates([("a", kernel), ("b", weight)], 4, average)
    updates.count.fill_(1e6)  # long after the start, where it follows closely
    kernel.grad, weight.grad = torch.zeros_like(kernel), torch.zeros_like(weight)
    with torch.no_grad():
        weight.fill_(1.0)
    updates.step()
    assert updates.averaged()["b"].tolist() == pytest.approx([1 - average] * 5, rel=1e-3)


def test_training_starts_from_the_weights_that_ship() -> None:
    shipped = Path(vrx.__file__).parent / "data" / "embedded.safetensors"
    training = Training.begin(STANDARD, torch.device("cpu"), Start(shipped))
    tensors = load_file(shipped)
    for prefix, part in (("enlarging.", training.network), ("damage.", training.damage)):
        for name, value in part.state_dict().items():
            assert torch.equal(value, tensors[prefix + name].float())
    averaged = training.updates.averaged()
    assert all(torch.equal(averaged[f"network.{n}"], p) for n, p in training.network.named_parameters())


@torch.no_grad()
def test_a_network_that_gets_a_branch_for_later_frames_begins_as_it_was() -> None:
    torch.manual_seed(0)
    plain = RecurrentNetwork(RecurrentConfig(channels=8, blocks=2))
    for parameter in plain.parameters():
        nn.init.normal_(parameter, std=0.1)
    larger = RecurrentNetwork(RecurrentConfig(channels=8, blocks=2, later_blocks=1))
    larger.load_state_dict(grown(plain.state_dict(), larger))
    assert larger.later is not None
    assert torch.equal(
        larger.get_parameter("later.blocks.0.first.weight"), plain.get_parameter("blocks.0.first.weight")
    )
    clip, levels, motion = torch.rand(1, 3, 3, 6, 6), torch.rand(1, 3), torch.rand(1, 3, 2, 6, 6)
    start = PreviousFrame(torch.rand(1, 8, 6, 6), torch.rand(1, 3, 6, 6))
    expected, *_ = plain(4, clip, levels, start, ClipMotion(motion))
    found, *_ = larger(4, clip, levels, start, ClipMotion(motion, motion))
    torch.testing.assert_close(found, expected)


def test_a_shorter_network_begins_with_some_blocks_of_a_longer_one() -> None:
    torch.manual_seed(0)
    long = RecurrentNetwork(RecurrentConfig(channels=8, blocks=4, later_blocks=1)).state_dict()
    long["conditions.2.weight"].normal_()
    long["conditions.2.bias"].normal_()
    short = RecurrentNetwork(RecurrentConfig(channels=8, blocks=2))
    short.load_state_dict(shortened(long, (1, 3)))
    for number, kept in enumerate((1, 3)):
        for name, weight in short.blocks[number].state_dict().items():
            assert torch.equal(weight, long[f"blocks.{kept}.{name}"])
    levels = torch.rand(1, 3)
    longer = RecurrentNetwork(RecurrentConfig(channels=8, blocks=4, later_blocks=1))
    longer.load_state_dict(long)
    for shift, kept in zip(short.shifts(levels), (1, 3), strict=True):
        torch.testing.assert_close(shift, longer.shifts(levels)[kept])


def test_the_estimator_stays_as_it_is_where_it_is_to_be_kept() -> None:
    shipped = Path(vrx.__file__).parent / "data" / "embedded.safetensors"
    training = Training.begin(STANDARD, torch.device("cpu"), Start(shipped), keep_damage=True)
    assert not any(name.startswith("damage.") for name in training.updates.names)
    kept, tensors = training.averaged(), load_file(shipped)
    assert all(torch.equal(kept[n], tensors[n].float()) for n in tensors if n.startswith("damage."))


def test_the_recipe_needs_few_packages() -> None:
    """Those that a machine lent for its GPU has, beside two small ones."""
    missing = ("av", "scenedetect", "huggingface_hub", "typer", "rich", "imageio_ffmpeg")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing})); import vrx.train.recurrent"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_colors_move_away_from_gray_and_gray_stays() -> None:
    clips = torch.tensor([0.5, 0.4, 0.6]).view(1, 1, 3, 1, 1).expand(2, 1, 3, 2, 2)
    found = saturate(clips, torch.tensor([2.0, 0.5]))[..., 0, 0]
    torch.testing.assert_close(found[:, 0], torch.tensor([[0.5, 0.3, 0.7], [0.5, 0.45, 0.55]]))
    assert saturate(clips, 100.0).max() == 1
    torch.testing.assert_close(saturate(scene(), VIVID), scene())


def test_some_clips_are_vivid_and_some_pale() -> None:
    torch.manual_seed(0)
    clips = torch.tensor([0.5, 0.4, 0.6]).view(1, 1, 3, 1, 1).expand(400, 1, 3, 2, 2)
    spread = vary(clips).amax((1, 2, 3, 4)) - vary(clips).amin((1, 2, 3, 4))
    assert 0.4 < float(spread.max()) < 0.2 * VIVID * 1.1
    assert float(spread.min()) < 0.08
    assert 0.05 < float((spread > 0.23).float().mean()) < 0.3


def test_validation_shows_features_that_run_away() -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(RecurrentConfig(channels=8, blocks=1, later_blocks=1))
    low = torch.full((1, 12, 3, 6, 6), 100, dtype=torch.uint8)
    case = Case("x4", 4, low, low, torch.zeros(1, 2, 12, 2, 6, 6), 0.0)

    def largest() -> list[float]:
        return [float(part.split()[-1]) for part in Validation.largest(case, network).split(",")]

    assert network.later is not None
    with torch.no_grad():
        network.later.recall.weight *= 0
    calm = largest()
    with torch.no_grad():
        torch.nn.init.dirac_(network.later.recall.weight)
        network.later.recall.weight *= 3
    wild = largest()
    assert wild[0] == calm[0]
    assert wild[1] > 3 * calm[1]
