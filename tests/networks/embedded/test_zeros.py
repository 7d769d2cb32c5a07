"""Kernels told by the zeros they leave in a spectrum."""

import math

import pytest
import torch
from torch import Tensor

from vrx.networks.embedded.classical import filter_padded
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE, NONE, kernel, transfer
from vrx.networks.embedded.symptoms import GRID, lively, tile_power
from vrx.networks.embedded.zeros import (
    ZEROS,
    Match,
    Zeros,
    find_zeros,
    frequencies,
    full_spectrum,
    log_spectra,
    quantization_power,
    starting_kernels,
)


def picture(kind: int, width: float, angle: float, noise: float) -> Tensor:
    """A picture [1, 256, 256] whose power falls as that of natural ones, blurred, with noise in levels."""
    generator = torch.Generator().manual_seed(5)
    ring = torch.hypot(torch.fft.fftfreq(320)[:, None], torch.fft.rfftfreq(320)[None]).clamp_min(1 / 320)
    scene = torch.fft.irfft2(torch.fft.rfft2(torch.randn(320, 320, generator=generator)) / ring**1.2)
    scene = 0.5 + 0.2 * scene / scene.std()
    shape = kernel(kind, width, angle)
    seen = filter_padded(scene[None, None], lambda spectrum, size: spectrum * transfer(shape, size))[
        0, :, 32:-32, 32:-32
    ]
    seen = seen + noise / 255 * torch.randn(seen.shape, generator=generator)
    return (seen * 255).round() / 255


def zeros(seen: Tensor, covered: float = 0.0) -> Zeros:
    return find_zeros(lively(tile_power(seen), 1.0), covered)


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("width", [1.3, 2.2, 3.4])
def test_a_disk_is_told_to_a_few_percent(width: float, noise: float) -> None:
    found = zeros(picture(DISK, width, 0, noise))
    assert found.disk.width == pytest.approx(width, rel=0.04)
    assert found.disk.misfit < found.line.misfit - 0.1


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0, 0.01), (14.0, 0.1)])
def test_a_width_between_those_tried_first_is_told_as_far_as_noise_lets_it(noise: float, tolerance: float) -> None:
    assert zeros(picture(DISK, 2.269, 0, noise)).disk.width == pytest.approx(2.269, abs=tolerance)


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize(("width", "angle"), [(1.7, 0.5), (2.6, 1.2), (3.5, 2.6)])
def test_a_line_is_told_to_a_few_percent_and_degrees(width: float, angle: float, noise: float) -> None:
    found = zeros(picture(LINE, width, angle, noise))
    assert found.line.width == pytest.approx(width, rel=0.05)
    assert abs(math.remainder(found.line.angle - angle, math.pi)) < 0.07
    assert found.line.misfit < found.disk.misfit - 0.1


def test_a_gaussian_has_none() -> None:
    found = zeros(picture(GAUSSIAN, 1.5, 0, 2.0))
    assert min(found.disk.misfit, found.line.misfit) > 0.8
    assert found.of(GAUSSIAN) is None


def test_what_quantization_covers_is_not_read() -> None:
    step = 24 / 255
    seen = picture(DISK, 2.2, 0, 0.0)
    spectrum = torch.fft.rfft2(seen - seen.mean(), norm="ortho")
    dead = torch.where(spectrum.abs() < step, 0, spectrum)  # as an encoder leaves it: holes where there was little
    coded = torch.fft.irfft2(dead, norm="ortho") + seen.mean()
    right, wrong = zeros(coded, quantization_power(step)), zeros(coded)
    assert right.disk.width == pytest.approx(2.2, rel=0.06)
    assert abs(math.log(wrong.disk.width / 2.2)) > abs(math.log(right.disk.width / 2.2))
    assert quantization_power(step) == pytest.approx(step**2 / 12)


def test_nothing_is_found_in_nothing() -> None:
    found = find_zeros(torch.zeros(GRID, GRID // 2 + 1), 0.0)
    assert torch.isfinite(found.numbers()).all()
    assert found.numbers().shape == (ZEROS,)


def test_numbers_are_those_of_the_matches() -> None:
    seen = Zeros(0.01, Match(0.5, math.e), Match(0.75, 1.0, 0.25))
    expected = [-2, 0.5, 1, 0.75, 0, 0.25, math.cos(0.5), math.sin(0.5)]
    assert seen.numbers().tolist() == pytest.approx(expected, abs=1e-6)
    assert (seen.of(DISK), seen.of(LINE)) == (seen.disk, seen.line)


def test_what_is_compared_are_frequencies_from_3_to_50_hundredths_of_a_cycle_a_pixel() -> None:
    ring, compared = frequencies(GRID)
    assert compared[0, 3:5].tolist() == [False, True]
    assert compared[64, :2].tolist() == [True, False]
    assert float(ring.amin()) == pytest.approx(0.03)


def test_kernels_to_begin_with_are_as_dense_as_their_zeros_need() -> None:
    kernels, spectra = starting_kernels(GRID)
    assert kernels[0] == (NONE, 0.0, 0.0)
    assert float(spectra[0].abs().amax()) < 0.05
    for kind, step, least, most in ((DISK, 0.15, 0.6, 4.5), (LINE, 0.3, 0.8, 4.4)):
        widths = sorted({width for one, width, _ in kernels if one == kind})
        assert (widths[0], widths[-1], widths[1] - widths[0]) == pytest.approx((least, most, step))
    assert len({angle for one, _, angle in kernels if one == LINE}) == 16


def test_a_window_fills_zeros_and_spectra_are_whole() -> None:
    shape = transfer(kernel(DISK, 2.2), (GRID, GRID)).square()
    assert full_spectrum(shape).shape == (GRID, GRID)
    torch.testing.assert_close(full_spectrum(shape)[3, 5], full_spectrum(shape)[-3, -5])
    look = log_spectra([(DISK, 2.2, 0.0)], GRID)[0]
    assert float(look.amin()) > float(shape.clamp_min(1e-10).log10().amin())
