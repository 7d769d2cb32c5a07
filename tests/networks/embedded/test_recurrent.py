"""The enlarging network whose features move along the optical flow."""

import pytest
import torch

from vrx.networks.embedded.degradation import LEVELS
from vrx.networks.embedded.recurrent import (
    BOUND,
    LATER_BOUND,
    PIXELS,
    ClipMotion,
    Neighbors,
    PreviousFrame,
    RecurrentConfig,
    RecurrentNetwork,
    bounded,
    fetch,
    inside,
    warp,
)

OUTSIDE = 1e4


def network() -> RecurrentNetwork:
    """A small one whose last layers are not zero."""
    torch.manual_seed(0)
    made = RecurrentNetwork(RecurrentConfig(channels=8, blocks=2, later_blocks=1)).eval()
    assert made.combine is not None
    ends = (made.heads, made.conditions, made.combine)
    for parameter in (parameter for part in ends for parameter in part.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def first(made: RecurrentNetwork, scale: int, side: int = 6) -> tuple[torch.Tensor, PreviousFrame, torch.Tensor]:
    pixels = PIXELS[scale]
    picture = torch.rand(1, 3, pixels * side, pixels * side)
    empty = PreviousFrame(torch.rand(1, made.config.channels, side, side), torch.rand_like(picture))
    return picture, empty, torch.zeros(1, 2, side, side)


@pytest.mark.parametrize("scale", PIXELS)
def test_a_fresh_network_adds_nothing_and_gives_every_pixel(scale: int) -> None:
    made = RecurrentNetwork(RecurrentConfig(channels=8, blocks=1))
    picture, _, _ = first(made, scale)
    residual, previous = made.step(scale, picture, made.shifts(torch.zeros(1, LEVELS)), Neighbors())
    assert residual.shape == (1, 3 * (scale * PIXELS[scale]) ** 2, 6, 6)
    assert not residual.any()
    assert previous.features.shape == (1, 8, 6, 6)


@pytest.mark.parametrize("scale", PIXELS)
@torch.no_grad()
def test_motion_from_outside_is_as_a_first_frame(scale: int) -> None:
    made = network()
    picture, previous, motion = first(made, scale)
    shifts = made.shifts(torch.rand(1, LEVELS))
    alone, _ = made.step(scale, picture, shifts, Neighbors())
    after, _ = made.step(scale, picture, shifts, Neighbors(previous, motion + OUTSIDE))
    torch.testing.assert_close(after, alone)


@torch.no_grad()
def test_a_clip_is_its_frames_one_after_the_other() -> None:
    made = network()
    clip, levels = torch.rand(2, 3, 3, 6, 6), torch.rand(2, LEVELS)
    motion = torch.rand(2, 3, 2, 6, 6)
    start = PreviousFrame(torch.rand(2, 8, 6, 6), torch.rand(2, 3, 6, 6))
    together, *_ = made(4, clip, levels, start, ClipMotion(motion))
    for number in range(2):
        one = slice(number, number + 1)
        previous, shifts = PreviousFrame(start.features[one], start.picture[one]), made.shifts(levels[one])
        for t in range(3):
            residual, previous = made.step(4, clip[one, t], shifts, Neighbors(previous, motion[one, t]))
            torch.testing.assert_close(residual, together[one, t], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_later_frames_count_where_a_clip_foresees_them() -> None:
    made = network()
    clip, levels, motion = torch.rand(2, 3, 3, 6, 6), torch.rand(2, LEVELS), torch.rand(2, 2, 3, 2, 6, 6).unbind(1)
    start = PreviousFrame(torch.rand(2, 8, 6, 6), torch.rand(2, 3, 6, 6))
    seen, *_ = made(4, clip, levels, start, ClipMotion(motion[0], motion[1], foreseen=torch.tensor([1.0, 0.0])))
    blind, *_ = made(4, clip, levels, start, ClipMotion(motion[0]))
    torch.testing.assert_close(seen[1], blind[1])
    assert not torch.allclose(seen[0], blind[0], atol=1e-3)


@torch.no_grad()
def test_a_frame_knows_of_all_that_come_after_it() -> None:
    made, levels = network(), torch.rand(1, LEVELS)
    clip, motion = torch.rand(1, 4, 3, 6, 6), torch.zeros(1, 4, 2, 6, 6)
    found = made.look_back(4, clip, levels, motion)
    changed = clip.clone()
    changed[:, 3] = 1 - clip[:, 3]
    other = made.look_back(4, changed, levels, motion)
    assert all(not torch.allclose(a, b, atol=1e-4) for a, b in zip(found, other, strict=True))
    torch.testing.assert_close(made.look_back(4, clip[:, 2:], levels, motion[:, 2:])[0], found[2])


def test_content_is_fetched_from_where_it_was() -> None:
    picture = torch.rand(1, 1, 8, 8)
    motion = torch.zeros(1, 2, 4, 4)
    motion[:, 0] = 1.0  # positions, of two pixels each
    moved = fetch(picture, motion, 2)
    torch.testing.assert_close(moved[..., :6], picture[..., 2:], atol=1e-5, rtol=1e-4)
    assert inside(motion)[0, 0].sum(1).tolist() == [3.0] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gathered_rows_are_what_sampling_gives(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 8, 6, 9, generator=generator).to(dtype)
    motion = torch.randn(2, 2, 6, 9, generator=generator) * 3
    valid = inside(motion)
    expected = fetch(features.float(), motion, 1) * valid
    found = warp(features, motion, valid)
    assert found.dtype is dtype
    torch.testing.assert_close(found.float(), expected, atol=1e-5 if dtype is torch.float32 else 2e-2, rtol=0)


def test_one_position_is_no_trouble() -> None:
    one, still = torch.rand(1, 8, 1, 1), torch.zeros(1, 2, 1, 1)
    torch.testing.assert_close(warp(one, still, inside(still)), one)
    assert torch.isfinite(fetch(torch.rand(1, 3, 2, 2), still, 2)).all()


def test_small_features_stay_and_large_ones_are_bounded() -> None:
    assert (LATER_BOUND, BOUND) == (4.0, 8.0)  # which trained weights are made for
    small = torch.linspace(-0.4, 0.4, 9)
    torch.testing.assert_close(bounded(small, BOUND), small, atol=4e-4, rtol=0)
    large = torch.tensor([-float("inf"), -1e30, -10.0, 2.6, 10.0, 1e30])
    found = bounded(large, BOUND)
    assert found.diff().ge(0).all()
    assert found[[0, 1, -1]].abs().tolist() == [BOUND] * 3
    assert float(found[3]) == pytest.approx(2.6, rel=0.04)  # the largest feature of plain clips


def test_a_feedback_that_amplifies_stays_within_bounds() -> None:
    """Each frame has three times the features of the one before, which without bounds is 3 ** 40 times."""
    made = network()
    with torch.no_grad():
        for part in (made, made.later):
            assert part is not None
            torch.nn.init.dirac_(part.recall.weight)
            part.recall.weight *= 3
    picture, previous, motion = first(made, 4)
    clip = ClipMotion(motion.expand(40, 1, 2, 6, 6).transpose(0, 1), motion.expand(40, 1, 2, 6, 6).transpose(0, 1))
    pictures = picture.expand(40, 3, 6, 6)[None]
    levels = torch.zeros(1, LEVELS)
    with torch.no_grad():
        later = torch.cat(made.look_back(4, pictures, levels, clip.after))
        residuals, last, *_ = made(4, pictures, levels, previous, clip)
    assert later.isfinite().all()
    assert LATER_BOUND / 10 < later.abs().max() <= LATER_BOUND
    assert residuals.isfinite().all()
    assert last.features.abs().max() <= BOUND
