"""Black bars are hidden and put back; the dark of a picture is not taken for one."""

import pytest
import torch
from torch import Tensor

from vrx.networks.embedded.bars import find_bars, hide_bars, put_back

HEIGHT, WIDTH = 40, 60


def picture(low: float = 0.3, high: float = 0.9) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return low + (high - low) * torch.rand(3, HEIGHT, WIDTH, generator=generator)


def spans(frame: Tensor) -> list[tuple[int, int, int]]:
    return [(bar.side, bar.first, bar.last) for bar in find_bars(frame)]


def barred(frame: Tensor, level: float = 0.0) -> Tensor:
    frame = frame.clone()
    frame[:, :6] = frame[:, 36:] = level / 255
    return frame


def test_bars_on_all_sides_are_found_hidden_and_put_back() -> None:
    frame = barred(picture(), 16)
    frame[..., :9] = frame[..., 55:] = 16 / 255
    assert spans(frame) == [(1, 0, 6), (1, 36, 40), (2, 0, 9), (2, 55, 60)]
    plain = picture()
    hidden, bars = hide_bars(torch.stack([frame, plain]))
    assert torch.equal(hidden[1], plain)
    assert torch.equal(hidden[0, :, 6:36, 9:55], frame[:, 6:36, 9:55])
    assert torch.equal(hidden[0, :, :6, 9:55], frame[:, 6:7, 9:55].expand(-1, 6, -1))
    assert torch.equal(hidden[0, :, 36:, 55:], frame[:, 35:36, 54:55].expand(-1, 4, 5))
    put_back(hidden, bars, 1)
    assert torch.equal(hidden, torch.stack([frame, plain]))
    enlarged = torch.ones(2, 3, 3 * HEIGHT, 3 * WIDTH)
    put_back(enlarged, bars, 3)
    assert float(enlarged[0, :, :18].max()) == pytest.approx(16 / 255)
    assert float(enlarged[0, :, 18:108, 27:165].min()) == float(enlarged[1].min()) == 1


def test_a_bar_on_one_side_and_one_that_colors_come_over_to() -> None:
    frame = picture()
    frame[:, :6] = 0
    frame[0, 5], frame[2, 5] = 0.299 * -8 / 255, 0.114 * 8 / 255  # luma next to nothing
    assert spans(frame) == [(1, 0, 6)]
    assert float(find_bars(frame)[0].color.abs().max()) == 0


@pytest.mark.parametrize(("side", "first", "last"), [(1, 0, 5), (1, 33, 40), (2, 0, 5), (2, 50, 60)])
def test_one_bar_is_enough(side: int, first: int, last: int) -> None:
    frame = picture()
    frame.narrow(side, first, last - first).zero_()
    hidden, bars = hide_bars(frame[None])
    assert [(bar.side, bar.first, bar.last) for bar in bars[0]] == [(side, first, last)]
    assert float(hidden.min()) > 0.2


def test_frames_without_bars_are_not_copied() -> None:
    frames = picture()[None]
    hidden, bars = hide_bars(frames)
    assert hidden is frames
    assert bars == [()]


@pytest.mark.parametrize(("level", "found"), [(23.5, True), (24.5, False)])
def test_what_is_brighter_is_none(level: float, found: bool) -> None:
    assert bool(spans(barred(picture(), level))) == found


@pytest.mark.parametrize(("noise", "found"), [(1.8, True), (2.4, False)])
def test_lines_of_a_bar_are_flat(noise: float, found: bool) -> None:
    frame = barred(picture(), 10)
    stripes = torch.tensor([-1.0, 1.0]).repeat(WIDTH // 2) * noise / 255
    frame[:, :6] += stripes
    frame[:, 36:] += stripes
    assert bool(spans(frame)) == found


@pytest.mark.parametrize(("rise", "found"), [(0.7, True), (0.9, False)])
def test_lines_of_a_bar_are_alike(rise: float, found: bool) -> None:
    frame = picture()
    frame[:, :6] = (4 + rise * torch.arange(6.0)).view(6, 1) / 255
    assert bool(spans(frame)) == found


@pytest.mark.parametrize(("step", "found"), [(11, True), (9, False)])
def test_the_picture_begins_at_once(step: float, found: bool) -> None:
    frame = barred(torch.full((3, HEIGHT, WIDTH), (20 + step) / 255), 20)
    assert bool(spans(frame)) == found


@pytest.mark.parametrize(("rows", "found"), [(12, True), (11, False)])
def test_enough_is_picture(rows: int, found: bool) -> None:
    frame = torch.zeros(3, HEIGHT, WIDTH)
    frame[:, 14 : 14 + rows] = picture()[:, :rows]
    assert bool(spans(frame)) == found


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (8, 8)])
def test_black_pictures_of_every_size_have_none(size: tuple[int, int]) -> None:
    assert hide_bars(torch.zeros(2, 3, *size))[1] == [(), ()]
