"""Chroma samples that marked pixels share: told where the marks have no chroma, filled from around where they have."""

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from vrx.pipeline import shared_chroma
from vrx.pipeline.shared_chroma import ACROSS, DOWN, SharedChroma, complete_chroma, complete_part, known_share

STEPS = (2, 2)


def waves(height: int, width: int) -> Tensor:
    """Smooth chroma of every pixel, [2, H, W] around 0."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return 0.25 * torch.stack([torch.sin(x / 17) * torch.cos(y / 23), torch.cos((x + y) / 21)]) + 0.1


def scattered(height: int, width: int, share: float = 0.5) -> Tensor:
    """Single marked pixels, [1, 1, H, W]."""
    return (torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(4)) < share).float()


def lower(chroma: Tensor, down: tuple[float, ...], across: tuple[float, ...]) -> Tensor:
    """Chroma [2, H, W] as an encoder with these weights stores it, [1, 2, H / 2, W / 2], sample by sample."""
    padded = np.pad(chroma.numpy(), ((0, 0), (4, 4), (4, 4)), mode="edge")
    _, height, width = chroma.shape
    found = np.zeros((1, 2, height // 2, width // 2), np.float32)
    first_row, first_column = 4 - (len(down) - 1) // 2, 4 - (len(across) - 1) // 2
    for row, a in enumerate(down):
        for column, b in enumerate(across):
            shifted = padded[:, first_row + row :: 2, first_column + column :: 2]
            found[0] += a * b * shifted[..., : height // 2, : width // 2]
    return torch.from_numpy(found)


@pytest.mark.parametrize("down", DOWN)
@pytest.mark.parametrize("across", ACROSS)
def test_chroma_between_black_pixels_is_told_whatever_the_weights(
    down: tuple[float, ...], across: tuple[float, ...]
) -> None:
    clean, mask = waves(96, 128), scattered(96, 128)
    stored = lower(clean * (1 - mask[0]), down, across)
    truth = lower(clean, down, across)
    found = complete_chroma(stored, torch.where(mask > 0, 0, 0.5), mask, STEPS)
    error = (found.chroma - truth).abs()[..., 2:-2, 2:-2]
    assert error.mean() < 0.004
    assert (stored - truth).abs().mean() > 0.05
    assert found.unknown.mean() < 0.1


def test_white_is_as_black_and_any_other_mark_may_have_a_color() -> None:
    clean, mask = waves(96, 128), scattered(96, 128)
    stored = lower(clean * (1 - mask[0]), DOWN[1], ACROSS[0])
    for level, is_told in ((1.0, True), (2.9 / 255, True), (3.4 / 255, False), (0.6, False)):
        found = complete_chroma(stored, torch.where(mask > 0, level, 0.5), mask, STEPS)
        assert (found.unknown.mean() < 0.1) == is_told


def test_marks_that_took_no_color_away_are_not_corrected() -> None:
    """Black marks in luma alone: no weights explain these samples better than none."""
    clean, mask = waves(96, 128), scattered(96, 128)
    found = complete_chroma(lower(clean, DOWN[1], ACROSS[0]), torch.where(mask > 0, 0, 0.5), mask, STEPS)
    assert found.unknown.mean() > 0.9


def test_samples_beside_a_colored_mark_are_filled_from_around() -> None:
    clean, mask = waves(64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 20:33, 21:40] = 1
    marked = torch.where(mask[0] > 0, -0.4, clean)
    stored = lower(marked, DOWN[1], ACROSS[0])
    found = complete_chroma(stored, torch.full((1, 1, 64, 64), 0.5), mask, STEPS)
    assert (found.chroma - lower(clean, DOWN[1], ACROSS[0])).abs().max() < 0.08
    assert found.unknown[0, 0, 9:17, 10:21].all()
    assert int(found.unknown.sum()) == 8 * 11
    assert torch.equal(found.unknown, found.changed)


def test_what_is_far_from_a_mark_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, mask = waves(700, 400), torch.zeros(1, 1, 700, 400)
    mask[..., 301:320, 150:171] = 1
    luma, stored = torch.full((1, 1, 700, 400), 0.5), lower(clean, DOWN[1], ACROSS[0])
    found, whole = complete_chroma(stored, luma, mask, STEPS), complete_part(stored, luma, mask, STEPS)
    for name, values in vars(found).items():
        assert torch.allclose(values, getattr(whole, name), atol=1e-6), name
    sizes = []

    def counted(chroma: Tensor, *rest: Tensor) -> SharedChroma:
        sizes.append(chroma.shape)
        return complete_part(chroma, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(shared_chroma, "complete_part", counted)
    complete_chroma(stored, luma, mask, STEPS)
    assert sizes[0][-2] * sizes[0][-1] < 160 * 160


def test_weights_are_those_of_swscale() -> None:
    """Its plain and its default interpolation, from one marked pixel's red."""
    for mode, down in (("BILINEAR", 1), ("BICUBIC", 2)):
        picture = np.full((48, 48, 3), 128, np.uint8)
        picture[20, 20] = (255, 20, 20)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p", interpolation=mode)
        red = np.frombuffer(memoryview(frame.planes[2]), np.uint8).reshape(24, -1)[:, :24].astype(float) - 128
        mask = torch.zeros(1, 1, 48, 48)
        mask[..., 20, 20] = 1
        share = 1 - known_share(mask, STEPS, (DOWN[down], ACROSS[0]))[0, 0].numpy()
        assert np.abs(red / red.sum() - share / share.sum()).max() < 0.05


def test_odd_sizes_and_other_layouts() -> None:
    for steps, size, small in (((1, 2), (9, 11), (9, 6)), ((2, 1), (9, 11), (5, 11)), ((1, 4), (8, 11), (8, 3))):
        mask = torch.zeros(1, 1, *size)
        mask[..., -1, -1] = 1
        found = complete_chroma(torch.full((1, 2, *small), 0.2), torch.full((1, 1, *size), 0.5), mask, steps)
        assert torch.allclose(found.chroma, torch.full((1, 2, *small), 0.2), atol=1e-4)
        assert found.unknown[0, 0, -1, -1] == 1


def test_settings_are_those_that_were_tried() -> None:
    assert (shared_chroma.LEAST_SHARE, shared_chroma.LEAST_SAMPLES, shared_chroma.CLEARLY) == (0.15, 24, 0.9)
    assert shared_chroma.BELIEVED == 1.5
    assert (shared_chroma.NEAR, shared_chroma.MARGIN, shared_chroma.REACH) == (1.5, 64, 1)
