"""Single missing pixels among known ones are told by these, where neighbors in time are less sure."""

import torch

from vrx.models.embedded.neighbors import AROUND, AROUND_ERROR_SIDE, advantage, ring


def test_a_ring_leaves_the_middle_out() -> None:
    planes = torch.zeros(1, 9, 9)
    planes[0, 4, 4] = 90
    known = torch.ones(1, 9, 9)
    assert ring(planes, known, 1, 3)[0, 4, 4] == 0
    assert torch.isclose(ring(planes, known, 1, 3)[0, 4, 5], torch.tensor(90 / 8))
    assert ring(planes, known, 3, 5)[0, 4, 5] == 0  # within the inner part
    known[0, 4, 4] = 0
    assert ring(planes, known, 1, 3)[0, 4, 5] == 0


def test_smooth_surroundings_tell_a_pixel_better_than_unsure_neighbors() -> None:
    smooth = torch.linspace(0, 1, 40).expand(3, 40, 40)
    rough = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    known = (torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(1)) < 0.6).float().expand(2, -1, -1)
    unsure, sure = torch.full((2, 40, 40), 0.02), torch.full((2, 40, 40), 1e-6)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert advantage(smooth, known, unsure)[inner].mean() < 0.1
    assert advantage(rough, known, sure)[inner].min() > 0.9
    assert advantage(rough, known, unsure)[inner].mean() > 0.6


def test_nothing_around_tells_the_middle_of_a_hole() -> None:
    picture, known = torch.zeros(3, 60, 60), torch.ones(2, 60, 60)
    known[:, 15:45, 15:45] = 0
    found = advantage(picture, known, torch.full((2, 60, 60), 0.02))
    assert found[:, 25:35, 25:35].min() == 1
    assert found[:, :8, :8].max() < 0.1


def test_the_surroundings_are_those_that_were_tried() -> None:
    assert AROUND == ((1, 3, (0.3, 0.5)), (3, 9, (0.03, 0.08)))
    assert AROUND_ERROR_SIDE == 9
