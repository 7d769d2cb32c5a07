import math

import cv2
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vrx.networks.embedded.classical import (
    KERNEL_RADIUS,
    bicubic,
    bicubic_grid,
    fast_size,
    gaussian,
    lanczos,
    separable,
    smooth_fill,
    wiener,
)
from vrx.networks.embedded.grid import to_pixels


def picture(height: int = 72, width: int = 90) -> torch.Tensor:
    torch.manual_seed(1)
    small = torch.rand(1, 3, 9, 10)
    return F.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)


def test_a_kernel_sums_to_one_and_is_symmetric() -> None:
    line = gaussian(2.5, 12, torch.zeros(1))
    torch.testing.assert_close(line.sum(), torch.tensor(1.0))
    assert torch.equal(line, line.flip(0))


def test_deconvolution_undoes_most_of_a_blur() -> None:
    sharp = picture()
    blurred = separable(sharp, gaussian(2.0, KERNEL_RADIUS, sharp))
    before = (blurred - sharp).square().mean()
    after = (wiener(blurred, 2.0) - sharp).square().mean()
    assert after < before / 10


def test_no_blur_leaves_the_picture_alone() -> None:
    assert torch.equal(wiener(picture(), 0.0), picture())


def test_deconvolution_takes_tiny_pictures() -> None:
    assert wiener(torch.rand(1, 3, 4, 8), 1.5).shape == (1, 3, 4, 8)


def test_a_fill_keeps_known_pixels_and_stays_in_range() -> None:
    x = picture()
    mask = (torch.rand(1, 1, *x.shape[-2:], generator=torch.Generator().manual_seed(3)) < 0.6).float()
    filled = smooth_fill(x * (1 - mask), mask)
    assert torch.equal(filled * (1 - mask), x * (1 - mask))
    assert filled.min() >= 0
    assert filled.max() <= 1.0001
    assert ((filled - x).abs() * mask).max() < 0.2


def test_a_large_hole_is_filled_from_around_and_nothing_known_becomes_gray() -> None:
    x = torch.full((1, 3, 64, 64), 0.25)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 12:52, 12:52] = 1
    torch.testing.assert_close(smooth_fill(x * (1 - mask), mask), x, atol=1e-3, rtol=0)
    torch.testing.assert_close(smooth_fill(x, torch.ones_like(mask)), torch.full_like(x, 0.5))


def test_bicubic_keeps_a_flat_picture_and_gives_the_size() -> None:
    out = bicubic(torch.full((2, 3, 5, 7), 0.3), 3)
    torch.testing.assert_close(out, torch.full((2, 3, 15, 21), 0.3))


@given(st.integers(1, 5000))
def test_fast_sizes_are_smooth_and_not_smaller(size: int) -> None:
    found = fast_size(size)
    assert size <= found < 2 * size + 2
    for prime in (2, 3, 5):
        while found % prime == 0:
            found //= prime
    assert found == 1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(9, 13), (1, 1), (2, 5)])
def test_bicubic_on_the_grid_is_bicubic(scale: int, size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    found = F.pixel_shuffle(bicubic_grid(x, scale), scale)
    torch.testing.assert_close(found, bicubic(x, scale), atol=2e-6, rtol=0)
    again = to_pixels(bicubic_grid(x, scale))
    assert torch.equal(again, found)
    assert again.is_contiguous()


def test_deconvolution_gives_in_where_noise_would_be_amplified() -> None:
    """A fine grating under a blur that leaves a fiftieth of it: H / (H^2 + 4e-4) is 25, not 50."""
    sigma, remains = 2.0, 0.02
    cycles = math.sqrt(-math.log(remains) / 2) / (math.pi * sigma)  # a pixel; H = exp(-2 (pi sigma f)^2)
    period = round(1 / cycles, 1)
    columns = torch.arange(401, dtype=torch.float64)
    left = math.exp(-2 * (math.pi * sigma / period) ** 2)
    grating = 0.5 + left * 0.1 * torch.cos(2 * math.pi * columns / period)
    found = wiener(grating.expand(1, 1, 65, -1).contiguous(), sigma)[0, 0, 32, 150:250] - 0.5
    gain = float(found.abs().max()) / (left * 0.1)
    assert gain == pytest.approx(left / (left**2 + 4e-4), rel=0.05)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lanczos_is_opencv_s(scale: int) -> None:
    picture = torch.rand(3, 13, 17, generator=torch.Generator().manual_seed(1))
    size = (17 * scale, 13 * scale)
    wanted = cv2.resize(picture.permute(1, 2, 0).numpy(), size, interpolation=cv2.INTER_LANCZOS4)
    found = lanczos(picture[None], scale)[0]
    torch.testing.assert_close(found, torch.from_numpy(wanted).permute(2, 0, 1), atol=1e-5, rtol=0)
