"""What a scene's first frames show of their blur, noise and compression, in a few hundred numbers.  Pure."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vrx.networks.embedded.blur import FEATURES, FLOOR, LUMA, READERS, BlurEstimator
from vrx.networks.embedded.blur import describe as describe_sharpness
from vrx.networks.embedded.kernels import radius
from vrx.networks.embedded.templates import FITTED, RINGS, SECTORS, fit_templates

GRID = 128  # samples a side of the spectra
STRIDE = 96  # pixels from one tile to the next, more in large pictures:
MOST_TILES = 8  # along a side
SHARE = 0.25  # of the tiles, the liveliest or the quietest
CHROMA_RINGS = 16
RANGES = (0.03, 0.08, 0.14, 0.22, 0.33, 0.5)  # cycles a pixel, of the spectrum by direction
BLOCK = 8  # pixels
UNSEEN = 0.4 / 255  # differences below it are none
LEAST_READING = 0.01  # pixels, below which widths are not told apart
CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # ITU-R BT.601
OWN = 4 * RINGS + SECTORS * (len(RANGES) - 1) + CHROMA_RINGS + 2 + 3 + 3
BLOCKINESS = slice(OWN - 6 - RINGS - 2, OWN - 6 - RINGS)  # places of the numbers of `blockiness`
SYMPTOMS = OWN + FEATURES + 2 * READERS + FITTED


def describe(frames: Tensor, sharpness: BlurEstimator) -> Tensor:
    """Frames [T, 3, H, W] in 0..1 as SYMPTOMS numbers."""
    seen = describe_sharpness(frames)
    read = sharpness.readings(seen).flatten().clamp_min(LEAST_READING).log()
    power = pick(tile_power(mix(frames, (LUMA,))[0]))[0]
    return torch.cat([own(frames), seen, read.to(seen), fit_templates(power)])


def own(frames: Tensor) -> Tensor:
    """The numbers that no other network reads: [OWN]."""
    luma = mix(frames, (LUMA,))[0]
    power = tile_power(luma)
    lively, quiet = pick(power)
    chroma = torch.stack([tile_power(plane).mean(0) for plane in mix(frames, CHROMA)]).mean(0)
    whole = by_ring(lively, RINGS)
    parts = [
        log(whole),
        by_ring(log(lively), RINGS) - log(whole),  # zeros of the kernel show where means of logarithms are taken
        log(by_ring(quiet, RINGS)),
        log(by_ring(chroma, CHROMA_RINGS)),
        by_direction(lively),
        blockiness(luma),
        still(luma),
        sizes(frames),
    ]
    return torch.cat(parts)


def mix(frames: Tensor, rows: tuple[tuple[float, ...], ...]) -> list[Tensor]:
    """Weighted sums of the colors of [T, 3, H, W]: a list of [T, H, W]."""
    return [sum(w * plane for w, plane in zip(row, frames.unbind(1), strict=True)) for row in rows]  # type: ignore[misc]


def gray(frames: Tensor) -> Tensor:
    """Luma [T, 1, H, W] of [T, 3, H, W]."""
    return mix(frames, (LUMA,))[0][:, None]


def log(x: Tensor) -> Tensor:
    """Base 10, of powers."""
    return x.clamp_min(FLOOR).log10()


def tiles_of(plane: Tensor) -> Tensor:
    """[T, H, W] cut into tiles of at most GRID pixels a side: [N, y, x]."""
    for dim in (-2, -1):
        side = plane.shape[1 if dim == -2 else 2]
        tile = min(GRID, side)
        plane = plane.unfold(1 if dim == -2 else 2, tile, max(STRIDE, -(-(side - tile) // (MOST_TILES - 1))))
    return plane.flatten(0, 2)


def tile_power(plane: Tensor) -> Tensor:
    """Power of the tiles of [T, H, W] under Hann windows: [N, GRID, GRID / 2 + 1]."""
    spectrum, energy = tile_spectrum(plane)
    return spectrum.abs().square() / energy


def tile_spectrum(plane: Tensor) -> tuple[Tensor, Tensor]:
    """Spectra of the tiles of [T, H, W], and the energy of their window."""
    tiles = tiles_of(plane)
    tiles = tiles - tiles.mean((-1, -2), keepdim=True)
    window_y, window_x = (torch.hann_window(n, periodic=False, device=plane.device) for n in tiles.shape[-2:])
    window = window_y[:, None] * window_x
    return torch.fft.rfft2(tiles * window, s=(GRID, GRID)), window.square().sum().clamp_min(FLOOR)


def by_liveliness(power: Tensor) -> Tensor:
    """The order of tiles [N, GRID, GRID / 2 + 1], the quietest first."""
    return power[:, : GRID // 8, 1 : GRID // 8].sum((-1, -2)).argsort()


def lively(power: Tensor, share: float) -> Tensor:
    """The mean power of a share of the tiles [N, GRID, GRID / 2 + 1], the liveliest."""
    return power[by_liveliness(power)[-max(1, round(share * len(power))) :]].mean(0)


def pick(power: Tensor) -> tuple[Tensor, Tensor]:
    """The mean power of the liveliest and of the quietest tiles of [N, GRID, GRID / 2 + 1]."""
    quietest = by_liveliness(power)[: max(1, round(SHARE * len(power)))]
    return lively(power, SHARE), power[quietest].mean(0)


def frequencies(like: Tensor) -> tuple[Tensor, Tensor]:
    """Radius in cycles a pixel and direction in 0..pi of the spectra's samples."""
    y = torch.fft.fftfreq(GRID, device=like.device)[:, None]
    x = torch.fft.rfftfreq(GRID, device=like.device)[None]
    return radius((GRID, GRID), like), torch.atan2(y, x + 0 * y) % math.pi


def averages(values: Tensor, group: Tensor, count: int) -> Tensor:
    """Means of values over groups 0..count - 1; others are left out."""
    members = torch.nn.functional.one_hot(group.flatten().clamp(0, count), count + 1)[:, :count].to(values)
    return values.flatten() @ members / members.sum(0).clamp_min(1)


def by_ring(power: Tensor, count: int) -> Tensor:
    """Means over rings of equal width up to 0.5 cycles a pixel: [count]."""
    ring, _ = frequencies(power)
    return averages(power, (ring * 2 * count).long(), count)


def by_direction(power: Tensor) -> Tensor:
    """Log power by range of frequencies and direction, relative to the range's: [ranges x SECTORS]."""
    ring, angle = frequencies(power)
    sector = (angle / math.pi * SECTORS).round().long() % SECTORS
    limits = torch.tensor(RANGES, device=power.device)
    place = torch.bucketize(ring, limits) - 1
    count = len(RANGES) - 1
    inside = (place >= 0) & (place < count)
    group = torch.where(inside, place * SECTORS + sector, count * SECTORS)
    found = log(averages(power, group, count * SECTORS)).view(count, SECTORS)
    return (found - found.mean(1, keepdim=True)).flatten()


def blockiness(luma: Tensor) -> Tensor:
    """How much more luma [T, H, W] changes from block to block than inside blocks, across and down: logarithms [2]."""
    found = []
    for dim in (2, 1):
        step = luma.diff(dim=dim).abs().mean((0, 3 - dim))
        whole = (
            step[: len(step) // BLOCK * BLOCK].view(-1, BLOCK).mean(0) if len(step) >= BLOCK else step.new_ones(BLOCK)
        )
        found.append(torch.log10((whole[-1] + 1e-4) / (whole[:-1].mean() + 1e-4)))
    return torch.stack(found)


def still(luma: Tensor) -> Tensor:
    """The noise spectrum of what stays from frame to frame of luma [T, H, W], and shares of places without change.

    [RINGS + 3]: half of the power of differences in the quietest tiles; shares without change from frame to
    frame, across, and along an edge's bend.  Of a single frame, the first ones are those of no change.
    """
    moved = luma.diff(dim=0)
    if len(moved):
        quiet = log(by_ring(pick(tile_power(moved))[1], RINGS) / 2)
        share = (moved.abs() < UNSEEN).float().mean()
    else:
        quiet, share = luma.new_full((RINGS,), math.log10(FLOOR)), luma.new_ones(())
    shares = [
        (x.abs() < UNSEEN).float().mean() if x.numel() else share for x in (luma.diff(dim=2), luma.diff(n=2, dim=1))
    ]
    return torch.cat([quiet, torch.stack([share, *shares])])


def sizes(frames: Tensor) -> Tensor:
    """Whether there are several frames, and the logarithms of the sides."""
    count, _, height, width = frames.shape
    return frames.new_tensor([float(count > 1), math.log10(height), math.log10(width)])
