"""The enlarging network in 8 bits: exactly the stated steps, close to the same network in numbers."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.networks.networks import needs_int8_units, tiny_enlarging
from vrx.models.embedded.checkpoint import load_networks
from vrx.networks.embedded import int8, recurrent
from vrx.networks.embedded.degradation import LEVELS
from vrx.networks.embedded.int8 import Int8Block, Int8Conv2d, Peaks, narrow_network, to_bytes
from vrx.networks.embedded.recurrent import Block, Neighbors, PreviousFrame, RecurrentNetwork

pytestmark = needs_int8_units
SHIPPED = Path(int8.__file__).parents[2] / "data" / "embedded.safetensors"


def steps(peak: Tensor, count: int) -> Tensor:
    """Half of each channel's peak is this many steps away."""
    return peak[:, None, None] / (2 * count)


def rounded(weight: Tensor) -> Tensor:
    """In 127 steps to the largest of each output channel."""
    scale = weight.abs().amax((1, 2, 3), keepdim=True) / 127
    return (weight / scale).round() * scale


def channels_last(*sides: int) -> Tensor:
    return torch.randn(*sides).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_a_convolution_multiplies_whole_steps_of_half_a_peak() -> None:
    torch.manual_seed(0)
    layer, x, peak = nn.Conv2d(16, 32, 3, padding=1), channels_last(1, 16, 9, 11), torch.rand(16) + 1
    unit = steps(peak, 127)
    seen = (x / unit).round().clamp(-128, 127)
    assert (seen.abs() > 126).any()  # some of it is beyond what has steps
    expected = F.conv2d(seen, rounded(layer.weight * unit), layer.bias, padding=1)
    assert torch.allclose(Int8Conv2d(layer, peak)(x), expected, atol=1e-4)
    assert Int8Conv2d(layer, peak)(x.bfloat16()).dtype is torch.bfloat16


@torch.no_grad()
def test_a_block_keeps_the_sign_behind_its_activation_and_adds_to_its_input() -> None:
    torch.manual_seed(0)
    block, x, shift = Block(16), channels_last(1, 16, 9, 11), torch.randn(1, 16)
    nn.init.normal_(block.second.weight, std=0.1)
    stream, raised, lowered = torch.rand(16) + 4, torch.rand(16) + 3, torch.rand(16) * 0.3 + 0.2
    peak = torch.maximum(raised, lowered * 231 / 24)
    outer, inner = steps(stream, 127), steps(peak, 231)
    assert block.first.bias is not None
    seen = (x / outer).round().clamp(-128, 127)
    weight = block.first.weight * outer / inner[:, None]
    hidden = F.conv2d(seen, rounded(weight), (block.first.bias + shift[0]) / inner.flatten(), padding=1)
    hidden = F.leaky_relu(hidden.bfloat16().float(), 0.1).round().clamp(-24, 231)
    expected = x + F.conv2d(hidden, rounded(block.second.weight * inner), padding=1)
    found = Int8Block(block, stream, raised, lowered)(x.clone(), shift)
    assert ((found - expected).abs() < 1e-4).float().mean() > 0.99  # a sum half way between two steps may go either way
    assert (found - expected).abs().max() < 2 * float(inner.max())
    assert (hidden == -24).any() or (hidden < -10).any()


def test_channels_that_met_little_have_steps_for_a_thousandth_of_the_largest_peak() -> None:
    found = int8.as_steps(torch.tensor([4.0, 1.0, 0.001, 0.0]), 100)
    torch.testing.assert_close(found, torch.tensor([4.0, 1.0, 0.004, 0.004]) / 200)
    torch.testing.assert_close(int8.as_steps(torch.zeros(2), 100), torch.full((2,), 0.001) / 200)


def test_bands_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = channels_last(1, 8, 21, 13) * 90
    whole = to_bytes(x, 128, torch.clone)
    monkeypatch.setattr(recurrent, "BAND", 100)
    assert torch.equal(to_bytes(x, 128, torch.clone), whole)
    assert torch.equal(whole.float(), x.round().clamp(-128, 127) + 128)
    assert whole.is_contiguous(memory_format=torch.channels_last)


def in_bytes(network: RecurrentNetwork, peaks: tuple[Peaks, Peaks | None]) -> RecurrentNetwork:
    network.place(torch.device("cpu"), torch.float32)
    narrow_network(network, *peaks)
    return network


def some_peaks(blocks: int, channels: int = 8) -> Peaks:
    stream, raised, lowered = (torch.full((blocks, channels), peak) for peak in (4.0, 3.0, 0.3))
    return Peaks(stream, raised, lowered, torch.full((channels,), 4.0))


@torch.inference_mode()
def test_a_picture_in_bands_is_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network = in_bytes(tiny_enlarging(), (some_peaks(2), some_peaks(1)))
    picture, motion = torch.rand(1, 3, 40, 16), torch.rand(1, 2, 40, 16)
    previous = PreviousFrame(channels_last(1, 8, 40, 16), torch.rand_like(picture))
    neighbors, shifts = Neighbors(previous, motion, channels_last(1, 8, 40, 16)), network.shifts(torch.rand(1, LEVELS))
    whole = network.step(4, picture, shifts, neighbors)
    monkeypatch.setattr(recurrent, "MOST_POSITIONS", 160)
    bands = network.step(4, picture, shifts, neighbors)
    assert torch.allclose(whole[0], bands[0], atol=1e-6)
    assert torch.allclose(whole[1].features, bands[1].features, atol=1e-6)


@torch.inference_mode()
def test_the_shipped_network_restores_nearly_the_same() -> None:
    """Its results lie some 50 dB from those in numbers: with steps twice or half as wide it would be less."""
    torch.manual_seed(0)
    fine = F.interpolate(torch.rand(1, 3, 24, 32), (48, 64), mode="bicubic").clamp(0, 1)
    moved = [fine[..., top : top + 40, left : left + 48] for top, left in ((0, 0), (2, 3), (5, 6))]
    results = []
    for narrow in (False, True):
        networks = load_networks(SHIPPED)
        network, peaks = networks.enlarging, networks.peaks
        assert peaks is not None
        network = in_bytes(network, peaks) if narrow else network
        shifts, state, residuals = network.shifts(torch.zeros(1, LEVELS)), None, []
        for picture, step in zip(moved, (0.0, 1.0, 1.0), strict=True):
            motion = torch.full((1, 2, 40, 48), 3 * step)
            residual, state = network.step(4, picture, shifts, Neighbors(state, motion if state else None))
            residuals.append(residual)
        results.append(torch.cat(residuals))
    error, size = (results[1] - results[0]).square().mean(), results[0].square().mean()
    assert 10 * float(torch.log10(size / error)) > 14
    assert -10 * float(torch.log10(error)) > 49.5


@pytest.mark.parametrize("fault", [RuntimeError, AttributeError, TypeError])
def test_a_torch_that_cannot_is_found_out(fault: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise fault

    assert int8.multiplies_rightly.__wrapped__()
    with monkeypatch.context() as patch:
        patch.setattr(Int8Conv2d, "add_to", fail)
        assert not int8.multiplies_rightly.__wrapped__()
    monkeypatch.setattr(Int8Conv2d, "add_to", lambda self, total, steps: total)
    assert not int8.multiplies_rightly.__wrapped__()
