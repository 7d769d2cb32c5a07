"""What a trial of a deblurring is measured by, and who decides."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded import guard
from vrx.networks.embedded.classical import filter_padded
from vrx.networks.embedded.deconvolution import Recipe, deconvolve
from vrx.networks.embedded.diagnosis import CHROMA_POINTS, POINTS, Diagnosis, Evidence
from vrx.networks.embedded.guard import MEASURES, DeblurGuard, Trial, excess, measure
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE, NONE, kernel, transfer
from vrx.networks.embedded.resampling import RHYTHM, rhythm
from vrx.networks.embedded.symptoms import SYMPTOMS, gray
from vrx.networks.embedded.zeros import Match, Zeros

SEEN = Zeros(0.02, Match(0.4, 2.5), Match(0.6, 1.5, 0.5))


def trial_of(truth: Tensor, done: int, said: int, ratio: float = -3.0) -> Trial:
    """A picture [1, 3, H, W] under one kind of blur, undone as another."""
    blur, shares = kernel(done, 2.0), torch.eye(4, dtype=torch.float64)[said]
    low = filter_padded(truth, lambda x, size: x * transfer(blur, size))
    recipe = Recipe(
        shares, 2.0, 0.3, torch.full((POINTS,), ratio).double(), torch.full((CHROMA_POINTS,), ratio).double()
    )
    after = deconvolve(low, lambda size: recipe.gains(size, low))
    found = Diagnosis(shares, 2.0, 0.3, 0.0, 0.0)
    return Trial(gray(low), gray(after), found, recipe, Evidence(torch.zeros(SYMPTOMS), SEEN), told=False)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (NONE, [1.0, 0.0]),
        (GAUSSIAN, [1.0, 0.0]),
        (DISK, [0.4, math.log(2.7 / 2.2)]),
        (LINE, [0.6, math.log(1.7 / 2.2)]),
    ],
)
def test_zeros_fit_as_well_as_those_of_the_diagnosed_kind(picture: Tensor, kind: int, expected: list[float]) -> None:
    trial = trial_of(picture, GAUSSIAN, kind)
    assert guard.fitting(trial).tolist() == pytest.approx(expected, abs=1e-6)
    seen = measure(trial)
    assert seen[-12:-10].tolist() == pytest.approx(expected, abs=1e-6)
    assert seen[-20:-12].tolist() == pytest.approx(SEEN.numbers().tolist(), abs=1e-6)


def test_the_rhythm_of_what_was_enlarged_is_measured(picture: Tensor) -> None:
    large = F.interpolate(picture, (240, 288), mode="bicubic").clamp(0, 1)
    for truth in (picture, large):
        trial = trial_of(truth, NONE, GAUSSIAN)
        assert measure(trial)[-RHYTHM:].tolist() == rhythm(trial.before[:, 0]).tolist()


@pytest.fixture(scope="module")
def picture() -> Tensor:
    generator = torch.Generator().manual_seed(5)
    size = (160, 192)
    ring = torch.hypot(torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])).clamp_min(1 / 128)
    texture = torch.fft.irfft2(torch.fft.rfft2(torch.randn(3, *size, generator=generator)) / ring, s=size)
    return (0.5 + 0.12 * texture / texture.std()).clamp(0, 1)[None]


def test_measures_are_finite_whatever_the_picture(picture: Tensor) -> None:
    for truth in (picture, picture * 0, picture[..., :20, :24]):
        found = measure(trial_of(truth, GAUSSIAN, LINE))
        assert found.shape == (MEASURES,)
        assert torch.isfinite(found).all()


def test_the_forecast_tells_right_from_wrong(picture: Tensor) -> None:
    """Most of the change leads to the truth where the blur is as said, less than half where there was none."""
    right = guard.forecast(trial_of(picture, GAUSSIAN, GAUSSIAN))
    assert right[GAUSSIAN] > 0.8
    assert right[NONE] < 0.1
    assert right[4] == right[GAUSSIAN]  # the only chance
    assert right[5] > right[6]  # the error shrinks


def test_a_filter_that_does_not_fit_goes_beyond_and_does_not_come_back(picture: Tensor) -> None:
    fits, wrong = (guard.consistency(trial_of(picture, done, GAUSSIAN, -5.0)) for done in (GAUSSIAN, NONE))
    assert wrong[1] > fits[1] + 0.5
    assert (fits[2] <= fits[3]) & (fits[3] <= fits[4])


def test_excess_is_what_leaves_the_values_around() -> None:
    luma = torch.full((1, 1, 20, 20), 0.5)
    luma[..., 10:] = 0.7
    step = torch.zeros_like(luma)
    step[..., 9:11] = 0.1
    beyond = excess(luma, step, 2)  # 0.6 is between its neighbors, 0.8 is not
    assert beyond[0, 0, 5, 8:12].tolist() == pytest.approx([0, 0, 0.1, 0], abs=1e-6)
    assert excess(luma, -step, 2)[0, 0, 5, 8:12].tolist() == pytest.approx([0, 0.1, 0, 0], abs=1e-6)
    assert excess(luma, step * 0, 2).abs().max() == 0


def test_energies_are_apart_by_scale() -> None:
    fine = torch.tensor([0.1, -0.1]).repeat(48).expand(1, 1, 96, 96)
    coarse = 0.1 * torch.sin(torch.arange(96) * 2 * math.pi / 48).expand(1, 1, 96, 96)
    assert guard.energies(fine).argmax() == 0
    assert guard.energies(coarse).argmax() == 2
    assert float(guard.energies(coarse)[2]) == pytest.approx(math.log10(0.005), abs=0.1)


@pytest.mark.parametrize(("said", "expected"), [(0.1, 0.0), (0.2, 0.0), (0.45, 0.5), (0.7, 1.0), (0.9, 1.0)])
def test_the_most_careful_decides(said: float, expected: float) -> None:
    network = DeblurGuard().eval()
    with torch.no_grad():
        for number, member in enumerate(network.members):
            last = member[-1]  # type: ignore[index]
            last.weight.zero_()
            last.bias.copy_(torch.tensor([math.log(said / (1 - said)), 0.0]) + 3 * number)
        strength, share = network(torch.randn(3, MEASURES))
    assert strength.tolist() == pytest.approx([expected] * 3, abs=1e-5)
    assert share.tolist() == pytest.approx([0.6] * 3, abs=1e-5)
