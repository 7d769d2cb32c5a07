"""Grain: its size is measured, and what is drawn has strength and size asked for, and is the same again."""

import pytest
import torch

from vrx.networks.embedded import grain as module
from vrx.networks.embedded.classical import gaussian, separable
from vrx.networks.embedded.grain import Grain, add_grain, frame_seed, grain_size
from vrx.networks.embedded.planes import to_planes


@pytest.mark.parametrize(("size", "expected"), [(0.0, 0.0), (0.6, 0.56), (1.0, 1.0), (2.0, 2.0), (9.0, 3.0)])
def test_the_size_of_grain_is_measured(size: float, expected: float) -> None:
    drawn = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(1))
    coarse = separable(drawn, gaussian(size, 30, drawn)) if size else drawn
    assert grain_size(coarse) == pytest.approx(expected, abs=0.07)


def test_nothing_has_no_size() -> None:
    assert grain_size(torch.zeros(1, 1, 9, 9)) == grain_size(torch.ones(1, 1, 1, 1)) == 0


@pytest.mark.parametrize("size", [0.0, 1.2])
def test_grain_is_as_strong_and_as_coarse_as_asked_for(size: float) -> None:
    frame = torch.full((3, 200, 220), 0.5)
    add_grain(frame, Grain(0.03, 0.01, size, 0.0), 7)
    planes = to_planes(frame[None])[0]
    assert float(planes[0].std()) == pytest.approx(0.03, rel=0.04)
    assert planes[1:].std((1, 2)).tolist() == pytest.approx([0.01, 0.01], rel=0.04)
    assert grain_size(planes[:1] - 0.5) == pytest.approx(size, abs=0.06)
    assert grain_size(planes[1:]) == 0


def test_grain_is_the_same_for_a_seed_and_another_for_the_next() -> None:
    found = []
    for seed in (5, 5, 6, 5 + (1 << 63)):
        frame = torch.full((3, 20, 30), 0.5)
        add_grain(frame, Grain(0.03, 0.01), seed)
        found.append(frame)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(found[0], found[3])
    white = torch.ones(3, 20, 30)
    add_grain(white, Grain(0.03, 0.01), 5)
    assert float(white.max()) == 1


def test_seeds_of_frames() -> None:
    assert frame_seed(3, 2, 5) == 3 + 2 * 1_000_003 + 5
    assert (module.FINEST, module.COARSEST, module.REACH) == (0.35, 3.0, 3)


def test_grain_survives_as_numbers() -> None:
    grain = Grain(1 / 3, 0.1, 0.7, 0.2)
    assert Grain.from_tensor(grain.tensor()) == grain
