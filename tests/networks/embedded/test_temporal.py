"""Noise in time: a still scene comes to rest, what is covered and uncovered leaves no ghost, bands leave no seam."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded import temporal
from vrx.networks.embedded.temporal import WHITE, Average, Noise, begin, join

LEVEL = 6 / 255


def noise_of(spread: float = WHITE) -> Noise:
    return Noise(torch.full((1, 2, 1, 1), LEVEL**2), torch.full((1, 2, 1, 1), spread))


NOISE = noise_of()


def noise(*shape: int, seed: int) -> Tensor:
    return LEVEL * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def scene(height: int = 48, width: int = 64) -> Tensor:
    row, column = torch.arange(height)[:, None] / 7, torch.arange(width) / 9
    luma = 0.5 + 0.3 * torch.sin(column) * torch.cos(row)
    return torch.stack([luma, 0.1 * torch.sin(row + column), 0.1 * torch.cos(column - row)])[None]


def follow(frames: list[Tensor], motion: Tensor, known: Noise = NOISE) -> list[Average]:
    found = [begin(frames[0], known)]
    for now in frames[1:]:
        found.append(join(now, known, found[-1], motion))
    return found


def error(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).square().mean().sqrt()) / LEVEL


def test_a_still_scene_comes_to_rest() -> None:
    truth = scene()
    found = follow([truth + noise(1, 3, 48, 64, seed=n) for n in range(24)], torch.zeros(1, 2, 48, 64))
    errors = [error(x.planes, truth) for x in found]
    assert errors[0] == pytest.approx(1.0, abs=0.02)
    assert errors[3] == pytest.approx(0.5, abs=0.03)  # of four frames
    assert errors[23] == pytest.approx(0.336, abs=0.01)
    claimed = found[23].variance.mean().sqrt() / LEVEL
    assert float(claimed) == pytest.approx(errors[23], abs=0.08)


@pytest.mark.parametrize("side", [1, 2])
def test_what_moves_is_found_where_it_was(side: int) -> None:
    wide = scene(width=96)
    truth = [wide[..., 2 * n : 2 * n + 64] for n in range(8)]
    motion = torch.zeros(1, 2, 48 // side, 64 // side)
    motion[:, 0] = 2 / side
    found = follow([x + noise(1, 3, 48, 64, seed=n) for n, x in enumerate(truth)], motion)
    inner = (..., slice(0, 46))  # what has come in meanwhile is as noisy as it came
    assert error(found[7].planes[inner], truth[7][inner]) < 0.45
    fresh = (..., slice(62, 64))
    assert torch.equal(found[7].variance[fresh], NOISE.variance.expand(1, 2, 48, 2))


@pytest.mark.parametrize("contrast", [20 / 255, 80 / 255])
def test_what_goes_away_leaves_no_ghost(contrast: float) -> None:
    empty = scene()
    shown = empty.clone()
    shown[:, 0, 16:32, 20:44] += contrast
    frames = [shown] * 8 + [empty] * 2
    found = follow([x + noise(1, 3, 48, 64, seed=n) for n, x in enumerate(frames)], torch.zeros(1, 2, 48, 64))
    place = (slice(None), slice(0, 1), slice(18, 30), slice(22, 42))
    for after in (8, 9):
        ghost = float((found[after].planes - empty)[place].mean())
        assert abs(ghost) < 0.06 * contrast + 0.5 / 255
    assert error(found[9].planes[..., 48:], empty[..., 48:]) < 0.4  # the rest is as still as before


def blotches(seed: int) -> Tensor:
    """Noise whose pixels are alike over about 5 x 5 of them, as of shared and smoothed chroma; of LEVEL."""
    wide = F.avg_pool2d(torch.randn(1, 3, 52, 68, generator=torch.Generator().manual_seed(seed)), 5, 1)
    return LEVEL * wide / wide.std()


def test_noise_that_has_shapes_comes_to_rest_where_its_spread_is_known() -> None:
    truth = scene()
    frames = [truth + blotches(n) for n in range(12)]
    still = torch.zeros(1, 2, 48, 64)
    for spread, left in ((WHITE, 0.895), (0.1, 0.768), (0.5, 0.425)):
        found = follow(frames, still, noise_of(spread))[-1]
        assert error(found.planes, truth) == pytest.approx(left, abs=0.005)


@pytest.mark.parametrize("contrast", [40 / 255, 80 / 255])
def test_what_goes_away_under_such_noise_leaves_no_ghost(contrast: float) -> None:
    empty = scene()
    shown = empty.clone()
    shown[:, 0, 16:32, 20:44] += contrast
    frames = [shown] * 8 + [empty] * 2
    noisy, still = [x + blotches(n) for n, x in enumerate(frames)], torch.zeros(1, 2, 48, 64)
    found = follow(noisy, still, noise_of(0.5))[9]
    place = (slice(None), slice(0, 1), slice(18, 30), slice(22, 42))
    assert abs(float((found.planes - empty)[place].mean())) < 0.1 * contrast + 0.5 / 255


def test_a_cut_that_nobody_found_begins_anew() -> None:
    other = 1 - scene().flip(-1)
    found = follow([scene() + noise(1, 3, 48, 64, seed=n) for n in range(6)] + [other], torch.zeros(1, 2, 48, 64))
    assert error(found[-1].planes, other) < 0.25


def test_constants() -> None:
    frames = [scene().roll(n // 3, -1) + noise(1, 3, 48, 64, seed=n) for n in range(6)]
    found = follow(frames, torch.zeros(1, 2, 48, 64))[-1]
    numbers = [float(x) * 1e3 for x in (found.planes.std(), found.variance[:, 0].mean().sqrt())]
    assert numbers == pytest.approx([257.81, 12.97], abs=0.02)
    assert temporal.LEAST_GAIN == 0.05


def test_bands_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [scene() + noise(1, 3, 48, 64, seed=n) for n in range(3)]
    motion = torch.randn(1, 2, 24, 32, generator=torch.Generator().manual_seed(9))
    whole = follow(frames, motion)[-1]
    monkeypatch.setattr(temporal, "MOST_PIXELS", 64 * 10)
    bands = follow(frames, motion)[-1]
    torch.testing.assert_close(bands.planes, whole.planes, atol=1e-6, rtol=0)
    torch.testing.assert_close(bands.variance, whole.variance, atol=1e-8, rtol=0)


def test_a_mean_survives_as_tensors() -> None:
    average = begin(scene(), NOISE)
    again = Average.from_tensors(average.tensors())
    assert again is not None
    assert torch.equal(again.planes, average.planes)
    assert torch.equal(again.variance, average.variance)
    assert again.planes.data_ptr() != average.planes.data_ptr()
    assert Average.from_tensors({}) is None
