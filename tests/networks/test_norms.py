import pytest
import torch

from vrx.networks.norms import RMSNorm
from vrx.networks.wan.autoencoder import ChannelNorm
from vrx.networks.wan.rope import BASE, apply_real_rope, apply_rope, rope

TYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.mark.parametrize("dtype", TYPES)
@torch.inference_mode()
def test_nothing_stays_nothing(dtype: torch.dtype) -> None:
    assert not ChannelNorm(8).to(dtype)(torch.zeros(1, 8, 2, 3, 3, dtype=dtype)).any()
    assert not RMSNorm(8).to(dtype)(torch.zeros(1, 5, 8, dtype=dtype)).any()


@pytest.mark.parametrize("dtype", TYPES)
@torch.inference_mode()
def test_every_position_gets_the_length_of_its_width(dtype: torch.dtype) -> None:
    x = torch.randn(1, 48, 2, 5, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    for size in (1e-2, 1.0, 30.0):
        length = ChannelNorm(48).to(dtype)(x * size).float().norm(dim=1)
        torch.testing.assert_close(length, torch.full_like(length, 48**0.5), rtol=0.01, atol=0)


@torch.inference_mode()
def test_the_mean_of_squares_is_taken_in_float32() -> None:
    x = torch.randn(1, 3, 1536, generator=torch.Generator().manual_seed(0)).bfloat16()
    wide = x.double()
    expected = (wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt()).bfloat16()
    assert torch.equal(RMSNorm(1536).bfloat16()(x), expected)


@torch.inference_mode()
def test_turns_keep_lengths_and_tell_distances() -> None:
    x = torch.randn(1, 1, 1, 12, generator=torch.Generator().manual_seed(0)).expand(1, 1, 2 * 3 * 4, 12)
    turned = apply_rope(x, rope((2, 3, 4), 5, 12, x.device))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    later = apply_rope(x, rope((2, 3, 4), 9, 12, x.device))
    torch.testing.assert_close(turned @ turned.mT, later @ later.mT, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(turned, later)


@pytest.mark.parametrize("first", [0, 5, 1020, 1024, 2047])
def test_factors_of_any_place_are_those_of_its_angle(first: int) -> None:
    factors = rope((8, 3, 4), first, 12, torch.device("cpu")).unflatten(0, (8, 3, 4))
    for axis, (start, channels) in enumerate(((first, slice(0, 2)), (0, slice(2, 4)), (0, slice(4, 6)))):
        places = torch.arange(start, start + (8, 3, 4)[axis], dtype=torch.float64)
        angle = torch.outer(places, BASE ** (-torch.arange(0, 4, 2, dtype=torch.float64) / 4))
        shape = [1, 1, 1, 2]
        shape[axis] = len(places)
        expected = torch.polar(torch.ones_like(angle), angle).to(torch.complex64).view(shape)
        assert torch.equal(factors[..., channels], expected.expand(8, 3, 4, 2))


def test_rotation_without_complex_numbers_is_the_same() -> None:
    x, factors = torch.randn(1, 2, 24, 12), rope((2, 3, 4), 5, 12, torch.device("cpu"))
    torch.testing.assert_close(apply_real_rope(x, torch.view_as_real(factors)), apply_rope(x, factors))
