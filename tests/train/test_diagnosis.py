"""The recipe of the networks that name blur and damage."""

import math
import random

import numpy as np
import pytest
import torch

from vrx.networks.embedded.blur import BlurEstimator
from vrx.networks.embedded.diagnosis import BlurDiagnosis, Evidence, diagnose
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE, NONE
from vrx.train import blurred, diagnosis


@pytest.fixture(scope="module")
def samples() -> list[blurred.Sample]:
    noise = np.random.default_rng(1)
    photos = [noise.integers(0, 255, (300, 400, 3), np.uint8) for _ in range(2)]
    runs = [noise.integers(0, 255, (6, 150, 210, 3), np.uint8)]
    rng = random.Random(3)
    return [blurred.draw_sample(lambda: rng.choice(photos), lambda: runs[0], rng) for _ in range(24)]


def smallest(samples: list[blurred.Sample], count: int) -> list[blurred.Sample]:
    return sorted(samples, key=lambda sample: sample.low.size)[:count]


def test_samples_are_of_every_kind_and_say_what_was_done(samples: list[blurred.Sample]) -> None:
    assert {s.kind for s in samples} == {NONE, GAUSSIAN, DISK, LINE}
    assert all(s.low.shape == s.truth.shape and s.low.dtype == np.uint8 for s in samples)
    assert all((s.width > 0) is (s.kind != NONE) for s in samples)
    untouched = [s for s in samples if s.kind == NONE and not s.noise and not s.compression]
    assert untouched
    assert all(np.abs(s.low.mean(-1) - s.truth.mean(-1)).mean() < 25 for s in untouched)  # at most colors were shared
    assert any(s.noise for s in samples)
    assert any(s.compression for s in samples)
    assert {len(s.low) for s in samples} == {1, 2, 4}


def test_sizes_reach_from_thumbnails_to_a_quarter_of_a_film() -> None:
    rng = random.Random(1)
    heights = [blurred.draw_size(rng)[0] for _ in range(2000)]
    assert (min(heights), max(heights)) == (48, 440)
    large = sum(height > 320 for height in heights) / 2000
    small = sum(height <= 128 for height in heights) / 2000
    assert large == pytest.approx(0.2, abs=0.03)
    assert small == pytest.approx(0.14, abs=0.03)


@pytest.mark.parametrize("kind", [GAUSSIAN, DISK, LINE])
def test_a_blur_has_the_width_that_is_said(kind: int) -> None:
    point = np.zeros((1, 61, 61, 3), np.uint8)
    point[:, 29:32, 29:32] = 255
    low, width = blurred.blur(point, kind, 2.5, 0.8, random.Random(1))
    y, x = np.mgrid[-30:31, -30:31]
    along = x * math.cos(0.8) + y * math.sin(0.8)
    spread = (low[0, ..., 0] * along**2).sum() / low[0, ..., 0].sum() - 2 / 3  # the point's own
    assert width == pytest.approx(2.5, rel=0.08)
    assert spread**0.5 == pytest.approx(width, rel=0.08)


def test_gain_is_that_of_the_filtered_pictures() -> None:
    power = torch.tensor([[[4.0, 1.0], [2.0, 1.0], [1.0, 1.0]]])  # half of the first is the truth, all of the second
    weight = torch.tensor([0.5, 0.5])
    assert diagnosis.gain(torch.ones(1, 2), power, weight).tolist() == [0]
    best = diagnosis.gain(torch.tensor([[0.5, 1.0]]), power, weight)
    assert float(best) == pytest.approx(10 * math.log10(0.5 / diagnosis.QUIET), abs=0.01)
    assert float(diagnosis.gain(torch.tensor([[2.0, 1.0]]), power, weight)) < 0


def test_training_gives_networks_that_filter(samples: list[blurred.Sample]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        table = diagnosis.tabulate(smallest(samples, 8), BlurEstimator().eval())
        network = diagnosis.fitted(table, epochs=1500, steps=4)
    assert not network.training
    found = network.find(network.normalized(table.seen), torch.zeros(8))
    assert int((found[:, :4].argmax(1) == table.kind).sum()) >= 6
    _, recipe = diagnose(network, Evidence(table.seen[0], table.zeros[0]), 2.0)
    luma, _ = recipe.gains((32, 32), torch.empty(0))
    assert torch.isfinite(luma).all()


def test_zeros_are_read_under_a_compression_that_is_not_quite_right(samples: list[blurred.Sample]) -> None:
    coded = [sample for sample in samples if sample.compression > 0.3 and min(sample.low.shape[1:3]) > 100][:1]
    with torch.random.fork_rng():
        read = []
        for seed in range(4):
            torch.manual_seed(seed)
            read.append(diagnosis.tabulate(coded, BlurEstimator().eval()).zeros[0])
    assert len(set(read)) == 4


def test_a_first_network_that_is_given_stays(samples: list[blurred.Sample]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        table = diagnosis.tabulate(smallest(samples, 6), BlurEstimator().eval())
        base = BlurDiagnosis().eval()
        network = diagnosis.fitted(table, base, epochs=900, steps=2)
    for name, value in base.state_dict().items():
        changes = name.startswith(("revision.", "ratios."))
        assert torch.equal(network.state_dict()[name], value) is not changes, name
    found = network.find(network.normalized(table.seen), torch.zeros(6))
    revised = network.revise(network.normalized(table.seen), torch.zeros(6), found, diagnosis.numbers(table))
    assert int((revised[:, :4].argmax(1) == table.kind).sum()) >= 5
