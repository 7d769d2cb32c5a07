"""Training of the sharp look: what is made small, what moves, and how it goes on."""

import math
import random
from pathlib import Path

import pytest
import torch

from tests.networks.networks import tiny_parts
from vrx.models.embedded.checkpoint import EmbeddedNetworks
from vrx.networks.embedded.recurrent import PIXELS
from vrx.train.pool import GRID, Clips
from vrx.train.sharp import Training
from vrx.train.sharp_losses import (
    Enlarged,
    Shown,
    Weights,
    losses,
    moved_change,
    pattern,
    pull,
    relativistic,
    temporal,
    trust_of,
)
from vrx.train.slots import Batch

SIDE = 8  # positions


def training(parts: EmbeddedNetworks | None = None) -> Training:
    torch.manual_seed(3)
    made = Training(parts or tiny_parts(), average=0.9, critic_rate=1e-3)
    made.updates.rate.fill_(1e-3)
    return made


def batch(made: Training, scale: int) -> Batch:
    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(4)
    low_side, pixels = GRID * PIXELS[scale], scale
    truth = torch.randint(0, 255, (2, 4, 3, low_side * pixels, low_side * pixels), generator=generator)
    low = torch.randint(0, 255, (2, 4, 3, low_side, low_side), generator=generator)
    motion = torch.randn(2, 2, 4, 2, GRID, GRID, generator=generator).half()
    clips = Clips(scale, truth.byte(), low.byte(), motion, torch.rand(2, 3, generator=generator))
    found = Batch(scale, 2, 4, SIDE * 2 // PIXELS[scale], made.network)
    found.refill(clips, 2, random.Random(1), estimate=True)
    return found


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_step_moves_the_trunk_and_the_critic_and_leaves_the_branch(scale: int) -> None:
    made = training()
    before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    critic = [p.detach().clone() for p in made.critic.parameters()]
    values = made.step(batch(made, scale), Weights(), learn=True, rng=random.Random(0))
    moved = {name for name, p in made.network.named_parameters() if not torch.equal(p, before[name])}
    assert {"blocks.0.first.weight", f"stems.{scale}.weight", f"heads.{scale}.weight"} <= moved
    assert not any(name.startswith("later.") for name in moved)
    alike = [torch.equal(p, q) for p, q in zip(made.critic.parameters(), critic, strict=True)]
    assert sum(alike) == 1  # what is added to all logits makes no difference
    assert {"judging", *vars(Weights())} <= values.keys()


def test_the_critic_learns_alone_at_first() -> None:
    made = training()
    before = [p.detach().clone() for p in made.network.parameters()]
    assert set(made.step(batch(made, 4), Weights(), learn=False, rng=random.Random(0))) == {"judging"}
    assert all(torch.equal(p, q) for p, q in zip(made.network.parameters(), before, strict=True))


def test_a_state_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    made, again = training(), training()
    made.step(batch(made, 4), Weights(), learn=True, rng=random.Random(0))
    made.save(tmp_path)
    again.restore(tmp_path / "state.pt")
    for one in (made, again):
        one.step(batch(one, 4), Weights(), learn=True, rng=random.Random(1))
    found, expected = again.averaged(), made.averaged()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert again.steps == made.steps == 2


def test_change_along_the_motion_counts_beyond_the_truths() -> None:
    truth = torch.rand(1, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0)).mul(0.1)
    truth = truth[:, :1].expand(-1, 3, -1, -1, -1)
    still = torch.zeros(1, 3, 2, 4, 4)
    assert temporal(truth * 2, truth, still) < 1e-6  # more contrast, as steady
    flicker = truth + torch.tensor([0.0, 0.1, 0.0]).view(1, 3, 1, 1, 1)
    assert temporal(flicker, truth, still) > 0.05
    rolled = torch.stack([truth[:, 0].roll(4 * t, -1) for t in range(3)], 1)
    moved = still.clone()
    moved[:, :, 0] = -1.0  # positions of 4 pixels
    change = moved_change(rolled, moved)
    assert change[..., 4:].abs().max() < 1e-6
    assert moved_change(rolled, still).abs().mean() > 0.01


def test_change_counts_less_where_the_truth_changes_as_well() -> None:
    """By exp(-50) of the squared change: 0.1 in each of three channels."""
    truth, out = torch.zeros(1, 2, 3, 16, 16), torch.zeros(1, 2, 3, 16, 16)
    truth[:, 1], out[:, 1] = 0.1, 0.3
    assert temporal(out, truth, torch.zeros(1, 2, 2, 4, 4)) == pytest.approx(0.2 * math.exp(-50 * 0.03))


def test_settings_are_those_that_were_tried() -> None:
    assert vars(Weights()) == {
        "distance": 2.0, "invention": 6.0, "shrunk": 5.0, "pattern": 30.0, "temporal": 3.0, "critic": 0.025
    }  # fmt: skip
    critic = [Weights(critic=1.0).shares(scale)["critic"] for scale in (2, 3, 4)]
    assert critic == [0.6, 0.8, 1.0]  # the less was lost, the less is invented


def test_the_critic_hardly_counts_where_clips_are_damaged() -> None:
    trust = trust_of(torch.tensor([[0.0, 0.0, 0.0], [0.4, 0.1, 0.0], [1.1, 0.0, 0.5]]))
    assert trust.tolist() == pytest.approx([1.0, 0.6, 0.2])
    ahead = torch.zeros(3, 1, 2, 2)
    assert relativistic(ahead, ahead + 1, trust) > relativistic(ahead, ahead - 1, trust)
    assert relativistic(ahead, ahead, trust) == pytest.approx(0.6931 * float(trust.mean()), abs=1e-3)


def test_what_the_critic_sees_lies_in_adjacent_frames() -> None:
    out = torch.arange(4.0).view(1, 4, 1, 1, 1).expand(1, 4, 3, 136, 136)
    clips = Enlarged(4, out, out, out + 10, torch.zeros(1, 4, 2, 34, 34), torch.ones(1))
    for seed in range(5):
        shown = Shown.of(clips, random.Random(seed))
        first, second = ((float(picture.mean()) + 1) / 2 for picture in shown.made)
        assert second == first + 1
        assert first >= 1
        assert torch.equal(shown.real, shown.made + 20)
        assert shown.made.shape == (2, 3, 128, 128)


def test_the_gradient_at_the_pictures_is_that_of_all_terms_by_their_weight() -> None:
    made = torch.tensor([1.0, 2.0], requires_grad=True)
    terms = {"a": made.sum(), "b": made.square().sum()}
    gradient, values = pull(terms, made, {"a": 2.0, "b": 0.5}, measure=True)
    assert gradient.tolist() == [3.0, 4.0]
    assert values == pytest.approx({"a": 3.0, "b": 5.0, "|a|": 2 * 2**0.5, "|b|": 5**0.5})


def test_what_repeats_with_the_sources_pixels_is_a_pattern() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 3, 64, 64, generator=generator) * 0.1
    comb = torch.tensor([0.1, -0.1]).repeat(32).expand(1, 3, 64, 64)
    assert pattern(comb, 4) == pytest.approx(0.1)
    assert pattern(noise, 4) < 0.02


def test_errors_count_where_the_faithful_look_has_none() -> None:
    made, truth = training(), torch.full((1, 4, 3, 32, 32), 0.5)
    out, plain = truth + 0.1, truth.clone()
    plain[..., :16] += 0.1
    clips = Enlarged(4, out, plain, truth, torch.zeros(1, 4, 2, 8, 8), torch.ones(1))
    terms = losses(made.critic, clips, Shown.of(clips, random.Random(0)))
    assert terms["distance"] == pytest.approx(0.1)
    assert terms["invention"] == pytest.approx(0.05)
