"""The networks that name blur and damage and choose the filter."""

import math

import pytest
import torch
from torch import Tensor

from vrx.networks.embedded.diagnosis import (
    CHROMA_POINTS,
    FOUND,
    POINTS,
    WIDTH_OFFSET,
    BlurDiagnosis,
    Evidence,
    diagnose,
    gather,
    hidden_power,
    recognize,
    refine_by_zeros,
    to_diagnosis,
    width_inputs,
    zeros_of,
)
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, KINDS, LINE
from vrx.networks.embedded.symptoms import SYMPTOMS, gray, tile_power
from vrx.networks.embedded.zeros import ZEROS, Match, Zeros, find_zeros

SEEN = Zeros(0.02, Match(0.4, 2.0), Match(0.6, 3.0, 0.5))


@pytest.fixture
def network() -> BlurDiagnosis:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return BlurDiagnosis().eval()


@torch.inference_mode()
@pytest.mark.parametrize("width", [None, 0.7, 3.25])
def test_a_given_width_is_believed(network: BlurDiagnosis, width: float | None) -> None:
    found, recipe = diagnose(network, Evidence(torch.randn(SYMPTOMS), SEEN), width)
    assert found.width == recipe.width
    assert (found.width == width) is (width is not None)
    assert float(found.chances.sum()) == pytest.approx(1, abs=1e-6)
    assert float(recipe.shares.sum()) == pytest.approx(1, abs=1e-6)
    assert (recipe.luma.shape, recipe.chroma.shape) == ((POINTS,), (CHROMA_POINTS,))
    assert recipe.luma.min() >= -5
    assert recipe.luma.max() < 2


@torch.inference_mode()
def test_whatever_is_found_stays_within_limits(network: BlurDiagnosis) -> None:
    for layer, value in (("weight", 0.0), ("bias", 50.0)):
        torch.nn.init.constant_(getattr(network.causes[-1], layer), value)
        torch.nn.init.constant_(getattr(network.revision[-1], layer), 0.0)
    found, recipe = diagnose(network, Evidence(torch.full((SYMPTOMS,), 1e9), SEEN), None)
    assert (found.width, network.normalized(torch.full((1, SYMPTOMS), 1e9)).unique().tolist()) == (8, [6])
    assert found.noise == pytest.approx(math.exp(5) - 0.5)
    assert all(torch.isfinite(x).all() for x in (recipe.shares, recipe.luma, recipe.chroma))
    torch.nn.init.constant_(network.causes[-1].get_parameter("bias"), -50.0)
    found, _ = diagnose(network, Evidence(torch.zeros(SYMPTOMS), SEEN), None)
    assert (found.width, found.noise, found.compression) == (0, 0, 0)


@torch.inference_mode()
def test_shares_start_from_the_chances_and_a_width_is_told(network: BlurDiagnosis) -> None:
    for layer in network.ratios[-1].parameters():
        torch.nn.init.zeros_(layer)
    normal, width = torch.randn(3, SYMPTOMS), torch.tensor([0.0, 1.0, 2.0])
    found = network.find(normal, width)
    luma, chroma, shares = network.choose(normal, width, found)
    torch.testing.assert_close(shares, found[:, : len(KINDS)].softmax(1))
    assert luma[:, 1:].unique().tolist() == chroma[:, 1:].unique().tolist() == [-1.5]
    assert luma[:, 0].unique().tolist() == chroma[:, 0].unique().tolist() == [-5]  # the mean stays
    expected = torch.tensor([[-1, 0], [1, 0.18232], [1, 0.78846]])
    torch.testing.assert_close(width_inputs(width), expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_the_second_network_revises_what_the_first_found(network: BlurDiagnosis) -> None:
    normal, width, zeros = torch.randn(2, SYMPTOMS), torch.zeros(2), torch.randn(2, ZEROS)
    found = network.find(normal, width)
    revised = network.revise(normal, width, found, zeros)
    assert not torch.equal(revised, found)
    assert not torch.equal(network.revise(normal, width, found, zeros + 1), revised)
    for layer in network.revision[-1].parameters():
        torch.nn.init.zeros_(layer)
    assert torch.equal(network.revise(normal, width, found, zeros), found)
    symptoms = torch.randn(SYMPTOMS)
    far = Zeros(0.02, Match(0.9, 0.6), Match(0.9, 0.6))  # far from whatever is found
    assert diagnose(network, Evidence(symptoms, far), None)[0].noise == recognize(network, symptoms, None).noise


def numbers(kind: int, width: float, angle: float) -> Tensor:
    found = torch.zeros(1, FOUND)
    found[0, kind] = 5
    rest = [math.log(width + WIDTH_OFFSET), math.cos(2 * angle), math.sin(2 * angle)]
    found[0, len(KINDS) : len(KINDS) + 3] = torch.tensor(rest)
    return found


@pytest.mark.parametrize(("width", "expected"), [(None, 1.7), (3.0, 3.0)])
def test_numbers_are_read_in_their_units(width: float | None, expected: float) -> None:
    rest = numbers(LINE, 1.7, 0.6)[0]
    rest[-2:] = torch.tensor([math.log(2.5), 0.4])  # half a level is added to noise
    found = to_diagnosis(rest, width)
    assert found.kind == LINE
    assert (found.width, found.angle, found.noise, found.compression) == pytest.approx((expected, 0.6, 2.0, 0.4))


@pytest.mark.parametrize(
    ("kind", "width", "angle", "expected"),
    [
        (DISK, 1.5, 0.0, (2.0, 0.0)),
        (DISK, 1.3, 0.0, (2.0, 0.0)),
        (DISK, 1.25, 0.0, (1.25, 0.0)),  # too far: another ring was taken for the first
        (DISK, 3.05, 0.0, (2.0, 0.0)),
        (DISK, 3.1, 0.0, (3.1, 0.0)),
        (LINE, 2.2, 0.25, (3.0, 0.5)),
        (LINE, 2.2, 0.25 + math.pi, (3.0, 0.5)),
        (LINE, 2.2, 0.84, (3.0, 0.5)),
        (LINE, 2.2, 0.86, (2.2, 0.86)),  # another direction
        (GAUSSIAN, 2.0, 0.0, (2.0, 0.0)),  # has no zeros
    ],
)
def test_zeros_near_what_was_found_tell_it_more_exactly(
    kind: int, width: float, angle: float, expected: tuple[float, float]
) -> None:
    found = refine_by_zeros(numbers(kind, width, angle), [SEEN], torch.zeros(1))
    torch.testing.assert_close(found, numbers(kind, *expected))


def test_zeros_do_not_count_against_a_given_width() -> None:
    found = numbers(LINE, 2.2, 0.25)
    assert torch.equal(refine_by_zeros(found, [SEEN], torch.tensor([1.0])), found)
    torch.testing.assert_close(refine_by_zeros(found, [SEEN], torch.tensor([2.8])), numbers(LINE, 3.0, 0.5))


def test_an_encoder_covers_what_its_step_rounds_away() -> None:
    assert hidden_power(0.0) == pytest.approx((0.625 * 2 ** (10 / 6) / 255) ** 2 / 12)
    assert hidden_power(1.0) == pytest.approx((0.625 * 2 ** (35 / 6) / 255) ** 2 / 12)


def test_zeros_are_those_of_the_livelier_half() -> None:
    torch.manual_seed(2)
    frames = torch.rand(1, 3, 128, 416)  # four tiles, one every 96 pixels
    frames[..., 224:] = 0.5 + 0.001 * frames[..., 224:]
    both = tile_power(gray(frames[..., :224])[:, 0]).mean(0)
    torch.testing.assert_close(zeros_of(frames, 0.1).numbers(), find_zeros(both, hidden_power(0.1)).numbers())


@torch.inference_mode()
def test_zeros_are_looked_for_above_what_an_encoder_covers(network: BlurDiagnosis) -> None:
    torch.manual_seed(2)
    frames, symptoms = torch.rand(1, 3, 128, 128), torch.randn(SYMPTOMS)
    network.causes[-1].get_parameter("bias")[-1] = 3.0
    seen = gather(network, symptoms, frames, None)
    assert seen.symptoms is symptoms
    compression = recognize(network, symptoms, None).compression
    assert compression > 1
    assert seen.zeros == zeros_of(frames, compression) != zeros_of(frames, 0.0)
