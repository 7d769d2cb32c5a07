"""The rhythm that enlarging leaves in a picture."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.classical import filter_padded
from vrx.networks.embedded.kernels import GAUSSIAN, kernel, transfer
from vrx.networks.embedded.resampling import RHYTHM, SAMPLES, block_frequencies, prominence, rhythm

CLEAR = 1.2  # log10 of power, that blurred and sharp pictures hardly reach


def picture(height: int = 200, width: int = 200, seed: int = 3) -> Tensor:
    """A picture [1, H, W] whose power falls as that of natural ones."""
    generator = torch.Generator().manual_seed(seed)
    ring = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]).clamp_min(1 / 200)
    scene = torch.fft.irfft2(torch.fft.rfft2(torch.randn(height, width, generator=generator)) / ring, (height, width))
    return rounded(0.5 + 0.15 * scene / scene.std())[None]


def rounded(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round() / 255


def enlarged(x: Tensor, height: int, width: int, mode: str = "bicubic") -> Tensor:
    return rounded(F.interpolate(x[None], (height, width), mode=mode, align_corners=False)[0])


def blurred(x: Tensor, width: float) -> Tensor:
    shape = kernel(GAUSSIAN, width)
    return rounded(filter_padded(x[None], lambda spectrum, size: spectrum * transfer(shape, size))[0])


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("factor", [1.3, 1.5, 1.8, 2.6])
def test_an_enlarged_picture_has_a_rhythm_at_the_grid_of_the_smaller_one(factor: float, mode: str) -> None:
    side = round(200 * factor)
    seen = enlarged(picture(), side, side, mode)
    assert rhythm(seen)[0] > CLEAR
    cycles = 200 / side
    peaks = prominence(seen)
    place = int(peaks.argmax()) / SAMPLES
    assert min(abs(place - cycles), abs(place - (1 - cycles))) < 0.004


def test_sharp_and_blurred_pictures_have_none() -> None:
    for seen in (picture(), blurred(picture(), 0.8), blurred(picture(), 2.0)):
        assert rhythm(seen)[[0, 3]].max() < CLEAR


def test_a_blur_on_top_wipes_it_out() -> None:
    soft = enlarged(picture(), 300, 300)
    assert rhythm(blurred(soft, 1.6))[0] < CLEAR < rhythm(soft)[0]


@pytest.mark.parametrize(("height", "width", "number", "other"), [(200, 340, 1, 2), (340, 200, 2, 1)])
def test_each_direction_is_told(height: int, width: int, number: int, other: int) -> None:
    found = rhythm(enlarged(picture(), height, width))
    assert found[number] > CLEAR > found[other]
    assert found[0] < CLEAR


def test_rhythms_of_blocks_are_apart() -> None:
    seen = picture()
    seen[:, :, ::8] += 24 / 255
    seen[:, ::8] += 24 / 255
    found = rhythm(seen)
    assert found[3] > CLEAR > found[:3].max()
    by_a_third = rhythm(enlarged(picture(201, 201), 268, 268))  # three cycles of four pixels: 3/4, seen as 1/4
    assert by_a_third[3] > CLEAR > by_a_third[0]


def test_which_frequencies_are_those_of_blocks() -> None:
    found = block_frequencies(128)
    near = [place for place in range(SAMPLES // 2 + 1) if min(place % 128, -place % 128) <= 16]
    assert found.nonzero().flatten().tolist() == near


def test_numbers_are_powers_over_those_around() -> None:
    found, peaks = rhythm(enlarged(picture(), 300, 300)), prominence(enlarged(picture(), 300, 300))
    assert found.shape == (RHYTHM,)
    assert float(found[1]) == pytest.approx(math.log10(float(peaks[~block_frequencies(300)].max())), abs=1e-5)
    assert float(peaks.median()) == pytest.approx(1, abs=0.6)


def test_numbers_are_those_that_the_guard_was_trained_with() -> None:
    for seen, numbers in (
        (enlarged(picture(), 300, 300), [3.2549, 3.2549, 3.3030, 0.5612]),
        (enlarged(picture(100, 120), 150, 190), [0.6623, 1.4810, 2.8569, 0.6977]),
    ):
        assert rhythm(seen).tolist() == pytest.approx(numbers, abs=0.005)


@pytest.mark.parametrize(("every", "counts"), [(9, True), (11, False)])
def test_slow_rhythms_are_those_of_the_picture(every: int, counts: bool) -> None:
    seen = picture()
    seen[:, :, ::every] += 40 / 255
    assert (float(prominence(seen)[round(SAMPLES / every)]) > 1) == counts


def test_nothing_is_read_in_small_or_plain_pictures() -> None:
    assert rhythm(picture(47, 200)).tolist() == [0] * RHYTHM
    assert rhythm(torch.full((2, 64, 64), 0.5)).tolist() == [0] * RHYTHM
    assert rhythm(picture(48, 48))[1:3].min() > 0
