"""LPIPS and DISTS against their authors' code, on weights made by a formula.

`EXPECTED` was computed with the packages lpips 0.1.4 (`LPIPS(net="alex")`, `normalize=True`) and dists-pytorch 0.1,
whose networks were filled with `wave` under torchvision's names.  torchmetrics 1.9.0, filled in the same way (`_LPIPS`
without dropout and `DISTSNetwork`), gives the same numbers to 1e-8.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vrx.models.measures import Measure
from vrx.networks.perceptual import AlexNet, Dists, Lpips, Vgg16, pool_power

SIZES = ((64, 64), (100, 131), (35, 32))
EXPECTED: dict[str, tuple[float, ...]] = {
    "lpips": (0.024371177, 0.029351456, 0.030415982),
    "dists": (0.018456042, 0.023782432, 0.017175436),
}


def wave(shape: tuple[int, ...], seed: int) -> Tensor:
    """Numbers that look random, between limits that keep signals as strong as they are."""
    count = math.prod(shape)
    values = torch.frac(torch.sin(torch.arange(count, dtype=torch.float64) * 12.9898 + seed) * 43758.5453)
    spread = math.sqrt(6 / math.prod(shape[1:])) if len(shape) == 4 and shape[2] > 1 else 0.1
    return (values * spread).float().reshape(shape)


def fill(backbone: nn.Module) -> None:
    """Weights and biases by their published place, so that any network with these names gets the same."""
    for name, parameter in backbone.named_parameters():
        place = int(name.split(".")[-2])
        parameter.data = wave(tuple(parameter.shape), 2 * place + name.endswith("bias"))


def linear() -> list[Tensor]:
    """Those of LPIPS' layers, not below zero."""
    return [wave((width,), 100 + number).abs() for number, width in enumerate((64, 192, 384, 256, 256))]


def shares() -> tuple[Tensor, Tensor]:
    """DISTS' alpha and beta, not below zero."""
    alpha, beta = (wave((1, 1475, 1, 1), seed).abs() for seed in (200, 201))
    return alpha, beta


def pictures(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A picture [1, 3, H, W] in 0..1, and another beside it."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in size), indexing="ij")
    one = torch.stack([0.5 + 0.4 * torch.sin(x / (4 + c)) * torch.cos(y / (3 + c)) for c in range(3)])
    other = one + 0.1 * torch.sin(3 * x + 5 * y) + 0.02
    return one[None].float(), other.clamp(0, 1)[None].float()


def lpips() -> Lpips:
    network = Lpips()
    fill(network.backbone)
    network.linear = nn.ParameterList(linear())
    return network


def dists() -> Dists:
    network = Dists()
    fill(network.backbone)
    network.alpha.data, network.beta.data = shares()
    return network


@pytest.mark.parametrize(("name", "build"), [("lpips", lpips), ("dists", dists)])
def test_distances_are_those_of_the_published_code(name: str, build: Callable[[], nn.Module]) -> None:
    network = build()
    with torch.inference_mode():
        found = [float(network(*pictures(size))) for size in SIZES]
        same = [float(network(*pictures(size)[:1] * 2)) for size in SIZES]
    assert found == pytest.approx(EXPECTED[name], rel=1e-4)
    assert same == pytest.approx([0.0] * len(SIZES), abs=1e-6)


def test_names_are_torchvisions() -> None:
    assert set(AlexNet().state_dict()) == {f"features.{n}.{k}" for n in (0, 3, 6, 8, 10) for k in ("weight", "bias")}
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    assert set(Vgg16().state_dict()) == {f"features.{n}.{k}" for n in places for k in ("weight", "bias")}


def test_pooling_keeps_the_power_of_even_pictures() -> None:
    even = torch.full((1, 2, 9, 9), 3.0)
    assert pool_power(even)[..., 1:-1, 1:-1] == pytest.approx(3.0)
    assert pool_power(even).shape == (1, 2, 5, 5)


def test_a_batch_is_measured_pair_by_pair() -> None:
    network = lpips()
    one, other = pictures((40, 40))
    with torch.inference_mode():
        both = network(torch.cat([one, one]), torch.cat([other, one]))
    assert both[0] > 0.001
    assert float(both[1]) == pytest.approx(0, abs=1e-6)


def test_sizes_that_are_too_small_or_take_too_much_memory_are_named() -> None:
    measure = Measure("dists", Dists())
    assert measure.obstacle((1920, 1200)) == ""
    assert measure.obstacle((1921, 1200)) == "above 2,304,000 pixels"
    assert measure.obstacle((16, 15)) == "below 16 pixels a side"
    assert measure.distance(torch.zeros(3, 15, 16), torch.zeros(3, 15, 16)) is None
    assert Measure("lpips", Lpips()).obstacle((7680, 4320)) == ""
