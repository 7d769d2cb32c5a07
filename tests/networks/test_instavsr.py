"""InstaVSR's network: its sizes, and which parts of its inputs reach what comes out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.instavsr.network import PUBLISHED, SMALL, InstaVsr, InstaVsrConfig

TINY = InstaVsrConfig(widths=(48, 96), layers=1, decoder_widths=(4, 8, 8, 16), decoder_layers=1)
CONFIGS = {"tiny": TINY, "plain": replace(SMALL, widths=(8, 12), decoder_widths=(4, 8))}


def build(config: InstaVsrConfig) -> InstaVsr:
    """A network with random weights; nothing of it is zero."""
    network = InstaVsr(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return network.eval()


def window(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Past, now and future of a source of that size."""
    shapes = (1, 2, 3, 4 * height, 4 * width), (1, 3, height, width), (1, 2, 3, height, width)
    generator = torch.Generator().manual_seed(1)
    past, now, future = (torch.rand(shape, generator=generator) * 2 - 1 for shape in shapes)
    return past, now, future


def test_the_published_scale_has_the_documented_number_of_parameters() -> None:
    """456 M (AdcSR, CVPR 2025), once the first convolution takes a frame of 12 planes instead of five frames."""
    with torch.device("meta"):
        counted = sum(parameter.numel() for parameter in InstaVsr(PUBLISHED).parameters())
    assert counted == 456_954_963
    assert (counted - (PUBLISHED.inputs - 12) * PUBLISHED.widths[0] * 9) // 10**6 == 456


def test_the_small_network_is_as_small_as_documented() -> None:
    assert sum(parameter.numel() for parameter in InstaVsr(SMALL).parameters()) == 471_600


@pytest.mark.parametrize("config", [*CONFIGS.values(), SMALL], ids=[*CONFIGS, "small"])
def test_sizes_are_read_from_tensors(config: InstaVsrConfig) -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in InstaVsr(config).state_dict().items()}
    assert InstaVsrConfig.from_tensors(shapes, {}) == config


@pytest.mark.parametrize(("height", "width"), [(4, 2), (6, 10), (16, 8)])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_even_size_is_enlarged_by_four(config: InstaVsrConfig, height: int, width: int) -> None:
    out = build(config)(*window(height, width))
    assert out.shape == (1, 3, 4 * height, 4 * width)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("frame", range(5))
def test_every_frame_of_the_window_matters(config: InstaVsrConfig, frame: int) -> None:
    network, (past, now, future) = build(config), window(8, 8)
    before = network(past, now, future)
    changed = [*past.unbind(1), now, *future.unbind(1)]
    changed[frame] = changed[frame].neg()
    assert not torch.equal(before, network(torch.stack(changed[:2], 1), changed[2], torch.stack(changed[3:], 1)))


def test_the_small_network_starts_from_bicubic_interpolation() -> None:
    past, now, future = window(6, 8)
    out = InstaVsr(SMALL)(past, now, future)
    assert torch.equal(out, F.interpolate(now, scale_factor=4, mode="bicubic"))


def test_forward_is_latent_and_decoder() -> None:
    network, (past, now, future) = build(TINY), window(6, 8)
    latent = network.latent(past, now, future)
    assert latent.shape == (1, TINY.features, 3, 4)
    assert torch.equal(network.decode(latent, now), network(past, now, future))


@pytest.mark.parametrize("widths", [(100, 200), ()])
def test_widths_that_cannot_be_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"share|widths"):
        replace(TINY, widths=widths).validate(10**6)
