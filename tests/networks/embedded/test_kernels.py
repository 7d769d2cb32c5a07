"""Kernels by kind and width, and their transfer functions."""

import math

import pytest
import torch
import torch.nn.functional as F

from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE, NONE, kernel, radius, transfer


@pytest.mark.parametrize("kind", [GAUSSIAN, DISK, LINE])
@pytest.mark.parametrize(("width", "angle"), [(1.2, 0.0), (2.0, 0.6), (3.1, 2.5)])
def test_a_width_is_the_deviation_along_the_longer_axis(kind: int, width: float, angle: float) -> None:
    values = kernel(kind, width, angle)
    axis = torch.arange(len(values)) - len(values) // 2
    along = axis * math.cos(angle) + axis[:, None] * math.sin(angle)
    assert float(values.sum()) == pytest.approx(1, abs=1e-5)
    assert width - 1e-5 < float((values * along**2).sum().sqrt()) < 1.06 * width  # pixels are wide themselves
    across = (values * (axis**2 + axis[:, None] ** 2 - along**2)).sum().sqrt()
    assert float(across) == pytest.approx(width, rel=0.05) if kind != LINE else across < 0.55


def test_a_kernel_holds_five_deviations_and_is_a_single_pixel_only_where_next_to_nothing_is_blurred() -> None:
    assert kernel(GAUSSIAN, 2.0).shape == (21, 21)
    assert [len(kernel(kind, 0.05)) for kind in (GAUSSIAN, DISK, LINE)] == [3, 5, 5]
    assert {len(kernel(kind, 0.049)) for kind in (GAUSSIAN, DISK, LINE)} == {1}


def test_disks_have_zeros_and_gaussians_do_not() -> None:
    ring = radius((128, 128), torch.empty(0))
    near = (ring - 0.61 / 6).abs() < 0.004  # of a disk of radius 6
    assert transfer(kernel(DISK, 3.0), (128, 128))[near].abs().max() < 0.08
    assert transfer(kernel(GAUSSIAN, 3.0), (128, 128))[near].min() > 0.08


@pytest.mark.parametrize(("kind", "size"), [(NONE, (8, 10)), (GAUSSIAN, (32, 24)), (LINE, (32, 25)), (DISK, (5, 7))])
def test_a_transfer_function_is_that_of_the_convolution_around_the_edges(kind: int, size: tuple[int, int]) -> None:
    x = torch.rand(size, generator=torch.Generator().manual_seed(1))
    shape = kernel(kind, 2.0, 0.4)
    reach = len(shape) // 2
    wrapped = x.repeat(7, 7)[3 * size[0] - reach : 4 * size[0] + reach, 3 * size[1] - reach : 4 * size[1] + reach]
    expected = F.conv2d(wrapped[None, None], shape[None, None])[0, 0]
    found = torch.fft.irfft2(torch.fft.rfft2(x) * transfer(shape, size), s=size)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
