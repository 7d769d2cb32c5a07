"""Completion: pictures between their pixels, holes of maps, and the motion of a camera."""

import torch
from torch import Tensor

from vrx.networks.embedded.completion import box, fit_motion, grid_places, is_inside, push_pull, sample


def ramp(height: int, width: int) -> Tensor:
    """x + 2 y, [1, h, w]."""
    x, y = grid_places(slice(0, height), slice(0, width), torch.zeros(1))
    return (x + 2 * y)[None]


def test_places_are_x_and_y_of_a_rectangle() -> None:
    places = grid_places(slice(3, 5), slice(10, 13), torch.zeros(1))
    assert places[0].tolist() == [[10, 11, 12]] * 2
    assert places[1].tolist() == [[3, 3, 3], [4, 4, 4]]


def test_samples_lie_between_pixels() -> None:
    places = grid_places(slice(2, 6), slice(2, 7), torch.zeros(1)) + torch.tensor([0.25, 0.5]).view(2, 1, 1)
    for mode, off in (("bilinear", 1e-4), ("bicubic", 0.1)):  # the cubic kernel bends straight lines a little
        assert torch.allclose(sample(ramp(9, 10), places, mode), (places[0] + 2 * places[1])[None], atol=off)


def test_inside_ends_at_the_last_pixel() -> None:
    places = torch.tensor([[[-0.1, 0.0, 4.0, 4.1]], [[1.0, 1.0, 1.0, 1.0]]])
    assert is_inside(places, (3, 5)).tolist() == [[[0, 1, 1, 0]]]


def test_known_values_stay_and_holes_are_closed_smoothly() -> None:
    values, weights = ramp(40, 37), torch.ones(1, 40, 37)
    weights[:, 10:25, 12:30] = 0
    filled = push_pull(values * weights + 500 * (1 - weights), weights)
    assert torch.equal(filled[weights > 0], values[weights > 0])
    assert (filled - values).abs().max() < 6


def test_nothing_known_gives_nothing() -> None:
    assert push_pull(torch.rand(2, 9, 9), torch.zeros(1, 9, 9)).abs().max() == 0


def test_the_camera_is_found_beside_what_moves_on_its_own() -> None:
    x, y = grid_places(slice(0, 60), slice(0, 80), torch.zeros(1))
    camera = torch.stack([1.5 + 0.02 * x - 0.01 * y, -0.5 + 0.03 * y])
    motion = camera.clone()
    motion[:, 10:40, 20:50] += 6
    assert (fit_motion(motion, torch.ones(1, 60, 80)) - camera).abs().max() < 0.05


def test_means_of_a_box() -> None:
    assert torch.allclose(box(ramp(9, 9), 3)[:, 1:-1, 1:-1], ramp(9, 9)[:, 1:-1, 1:-1], atol=1e-5)
