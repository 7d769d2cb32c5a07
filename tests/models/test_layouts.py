"""Frames to the layout of networks and back."""

import pytest
import torch

from vrx.models.layouts import pad_to_multiple, round_up, to_frames, to_video


@pytest.mark.parametrize(("size", "multiple", "expected"), [(1, 16, 16), (16, 16, 16), (17, 16, 32), (1080, 8, 1080)])
def test_sides_are_rounded_up(size: int, multiple: int, expected: int) -> None:
    assert round_up(size, multiple) == expected


def test_frames_come_back_as_they_were() -> None:
    frames = torch.rand(3, 3, 4, 6)
    video = to_video(frames)
    assert video.shape == (1, 3, 3, 4, 6)
    assert video.min() >= -1
    assert video.max() <= 1
    torch.testing.assert_close(to_frames(video), frames)


def test_frames_are_clamped() -> None:
    assert to_frames(torch.full((1, 3, 1, 2, 2), 1.5)).max() == 1
    assert to_frames(torch.full((1, 3, 1, 2, 2), -1.5)).min() == 0


def test_padding_repeats_the_last_row_and_column() -> None:
    x = torch.arange(6.0).view(1, 2, 3)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 4, 4)
    assert torch.equal(padded[0, :2, :3], x[0])
    assert torch.equal(padded[0, :, 3], padded[0, :, 2])
    assert torch.equal(padded[0, 2], padded[0, 1])
