"""Noise is measured apart in luma and chroma, in motion, in the dark, and where it is not white."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.noise_level import NoiseLevel, measure_noise, spread_of
from vrx.networks.embedded.temporal import WHITE

SIZE = (96, 128)


def scene(frames: int, speed: int = 0) -> Tensor:
    """Slow waves, with texture in the right half, moving by whole pixels."""
    generator = torch.Generator().manual_seed(3)
    x = torch.arange(SIZE[1] + 64).float()
    picture = 0.45 + 0.2 * torch.sin(x / 30) * torch.cos(torch.arange(SIZE[0]).float() / 25)[:, None]
    picture = picture.repeat(3, 1, 1)
    picture[:, :, 96:] += 0.2 * torch.rand(SIZE[0], SIZE[1] - 32, generator=generator) - 0.1
    return torch.stack([picture[..., speed * t : speed * t + SIZE[1]] for t in range(frames)])


def still(frames: int) -> Tensor:
    return torch.zeros(frames - 1, 2, *SIZE)


def grain(shape: torch.Size, levels: float) -> Tensor:
    return levels / 255 * torch.randn(shape, generator=torch.Generator().manual_seed(4))


def stored(frames: Tensor) -> Tensor:
    return (frames * 255).round().clamp(0, 255) / 255


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("levels", [2.0, 6.0, 18.0])
def test_white_noise(frames: int, levels: float) -> None:
    clip = scene(frames)
    found = measure_noise(stored(clip + grain(clip.shape, levels)), still(frames))
    assert found.colors == pytest.approx(levels, rel=0.1)
    assert found.luma == pytest.approx(0.668 * levels, rel=0.1)
    assert found.chroma == pytest.approx(0.641 * levels, rel=0.1)


def test_gray_grain_has_no_color() -> None:
    clip = scene(3)
    found = measure_noise(stored(clip + grain(torch.Size((3, 1, *SIZE)), 6.0)), still(3))
    assert found.luma == pytest.approx(6.0, rel=0.1)
    assert found.colors == pytest.approx(6.0, rel=0.1)
    assert found.chroma < 0.5


def test_color_noise_that_is_wide_is_seen_in_time() -> None:
    clip = scene(4)
    wide = F.interpolate(grain(torch.Size((4, 3, SIZE[0] // 4, SIZE[1] // 4)), 6.0), scale_factor=4)
    found = measure_noise(stored(clip + wide), still(4))
    assert found.colors == pytest.approx(6.0, rel=0.25)
    assert found.luma_spread == pytest.approx(0.31, abs=0.02)
    assert found.chroma_spread == pytest.approx(0.31, abs=0.1)


def test_how_alike_neighboring_pixels_of_noise_are() -> None:
    clip = scene(4)
    noise = torch.cat([grain(torch.Size((4, 1, *SIZE)), 6.0), torch.zeros(4, 2, *SIZE)], 1)
    white = measure_noise(stored(clip + grain(clip.shape, 6.0)), still(4))
    assert white.luma_spread == pytest.approx(WHITE, abs=0.01)
    assert measure_noise(stored(scene(1)), still(1)).luma_spread == WHITE  # a single frame does not tell
    lines = F.avg_pool2d(F.pad(noise, (2, 2, 0, 0), mode="circular"), (1, 5), 1)
    assert measure_noise(stored(clip + 2 * lines), still(4)).luma_spread == pytest.approx(0.108, abs=0.01)
    powers = torch.tensor([4.0, 3.9, 2.0, 0.1, 0.0])
    assert [spread_of(powers[0], wide) for wide in powers] == pytest.approx([0.8, 0.8, 0.5, WHITE, WHITE])
    assert spread_of(powers[4], powers[4]) == WHITE


def test_motion_is_followed() -> None:
    clip, motion = stored(scene(4, 3)), still(4)
    motion[:, 0] = 3.2  # to the nearest pixel
    assert measure_noise(clip, motion).colors < 0.3


def test_texture_is_no_noise() -> None:
    assert measure_noise(stored(scene(3)), still(3)).colors < 0.5
    assert measure_noise(stored(scene(1)), still(1)).luma < 0.5


def test_texture_followed_past_its_place_is_no_noise_but_noise_on_what_moves_is() -> None:
    generator = torch.Generator().manual_seed(5)
    texture = F.avg_pool2d(torch.rand(1, 3, SIZE[0] + 4, SIZE[1] + 20, generator=generator), 5, 1)[0]
    moving, motion = torch.stack([texture[..., 4 * t : 4 * t + SIZE[1]] for t in range(4)]), still(4)
    motion[:, 0] = 3.0  # it is 4
    assert measure_noise(stored(moving), motion).luma == 0
    assert measure_noise(stored(moving), still(4)).luma > 3  # nothing shows that it moved
    clip, motion[:, 0] = scene(4, 3), 3.0
    assert measure_noise(stored(clip + grain(clip.shape, 6.0)), motion).colors == pytest.approx(6.0, rel=0.1)


def test_slopes_that_move_unseen_are_no_noise() -> None:
    x, y = torch.arange(SIZE[1]).float(), torch.arange(SIZE[0]).float()[:, None]
    wave = [0.5 + 0.3 * torch.sin((x + 1.5 * t) / 9) * torch.cos((y - t) / 11) for t in range(4)]
    clip = torch.stack(wave)[:, None].expand(-1, 3, -1, -1)
    assert measure_noise(stored(clip), still(4)).luma < 1
    assert measure_noise(stored(clip + grain(clip.shape, 6.0)), still(4)).colors == pytest.approx(6.0, rel=0.15)


@pytest.mark.parametrize("period", [2, 3, 5])
def test_a_pattern_whose_motion_is_not_found_is_no_noise(period: int) -> None:
    x = torch.arange(SIZE[1] + 8)
    stripes = [0.2 + 0.6 * ((x[t : t + SIZE[1]] // period) % 2) for t in range(4)]
    clip = stored(torch.stack(stripes)[:, None, None].expand(-1, 3, SIZE[0], -1))
    assert measure_noise(clip, still(4)).colors < 1


def test_repeated_frames_tell_nothing() -> None:
    clip = scene(4)
    noisy = stored(clip + grain(clip.shape, 6.0))[[0, 0, 1, 1]]
    assert measure_noise(noisy, still(4)).colors == pytest.approx(6.0, rel=0.1)
    assert measure_noise(noisy[:2], still(2)).colors == 0  # texture, for all that is seen


def test_noise_in_the_dark_is_measured_where_it_is_not_clipped() -> None:
    clip = scene(4)
    clip[..., : SIZE[1] // 2] = 0.02
    found = measure_noise(stored(clip + grain(clip.shape, 12.0)), still(4))
    assert found.colors == pytest.approx(12.0, rel=0.1)
    assert measure_noise(torch.zeros(2, 3, *SIZE), still(2)) == NoiseLevel(0, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (17, 33)])
def test_every_size_works(size: tuple[int, int]) -> None:
    found = measure_noise(torch.rand(2, 3, *size), torch.zeros(1, 2, *size))
    assert found.colors >= 0
