"""How blurred a picture is: a tiny network that reads the standard deviation of a Gaussian blur from a
picture's spectrum and from how steep its edges are.  Pure; knows no file.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BANDS = 40  # rings of equal width from frequency 0 to 0.5 cycles a pixel
TILE = 128  # pixels a side
STRIDE = 96  # pixels between tiles
LIVELY = 0.25  # share of the tiles, those with most energy, that count
LUMA = (0.299, 0.587, 0.114)
FLOOR = 1e-12  # power below which nothing is told apart
WINDOWS = (9, 17, 33)  # pixels a side in which an edge's height is taken
STRONG = 0.1  # share of the places, those with the highest edges, that count
QUANTILES = (0.5, 0.75, 0.9, 0.97)
ROUNDING = sum(w * w for w in LUMA) / 12 / 255**2  # power of the rounding of luma to 8 bits a channel
CLEAR = 8.0  # times the rounding's power that a band must hold to be believed
LOWEST = 0.035  # cycles a pixel from where on pictures follow a power law
AGREEMENT = 0.2  # of the logarithm, within which two estimates are averaged
EDGES = len(WINDOWS) * len(QUANTILES)
FEATURES = 2 * BANDS + EDGES


def describe(frames: Tensor) -> Tensor:
    """Frames [T, 3, H, W] in 0..1 as FEATURES numbers: spectrum, then edges."""
    weights = frames.new_tensor(LUMA).view(1, 3, 1, 1)
    luma = (frames * weights).sum(1)
    return torch.cat([spectrum(luma), steepness(luma)])


def spectrum(luma: Tensor) -> Tensor:
    """Log power of luma [T, H, W] by frequency: [2 x BANDS].

    Hann-windowed tiles; first the mean over the liveliest tiles, then over all.
    """
    tile_y, tile_x = (min(TILE, side) for side in luma.shape[-2:])
    tiles = luma.unfold(-2, tile_y, STRIDE).unfold(-2, tile_x, STRIDE).flatten(0, 2)  # [N, y, x]
    tiles = tiles - tiles.mean((-1, -2), keepdim=True)
    window_y = torch.hann_window(tile_y, periodic=False, device=luma.device)
    window_x = torch.hann_window(tile_x, periodic=False, device=luma.device)
    power = torch.fft.rfft2(tiles * window_y[:, None] * window_x[None]).abs() ** 2
    power = power / (window_y.square().sum() * window_x.square().sum()).clamp_min(FLOOR)
    fy = torch.fft.fftfreq(tile_y, device=luma.device)
    fx = torch.fft.rfftfreq(tile_x, device=luma.device)
    ring = ((fy[:, None] ** 2 + fx[None] ** 2).sqrt() * 2 * BANDS).long().clamp_max(BANDS)
    members = F.one_hot(ring.flatten(), BANDS + 1)[:, :BANDS].to(power)
    by_ring = power.flatten(1) @ members / members.sum(0).clamp_min(1)  # [N, BANDS]
    energy = by_ring[:, 1 : BANDS // 4].sum(1)
    count = max(1, round(LIVELY * len(energy)))
    lively = by_ring[energy.topk(count).indices]
    return torch.log10(torch.cat([lively.mean(0), by_ring.mean(0)]).clamp_min(FLOOR))


def steepness(luma: Tensor) -> Tensor:
    """Log of slope over height of the highest edges of luma [T, H, W], quantiles by window: [EDGES].

    A step that was blurred by sigma has the slope 1 / (sigma sqrt(2 pi)) of its height.
    """
    x = luma[:, None]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    slope = (across**2 + down**2).sqrt()
    found = []
    for window in WINDOWS:
        half = window // 2
        height = F.max_pool2d(x, window, 4, half) + F.max_pool2d(-x, window, 4, half)
        steepest = F.max_pool2d(slope, window, 4, half)
        count = max(1, round(STRONG * height.numel()))
        height, places = height.flatten().topk(count)
        ratio = torch.log10((steepest.flatten()[places] + 1e-4) / (height + 1e-3))
        found.append(torch.quantile(ratio, ratio.new_tensor(QUANTILES)))
    return torch.cat(found)


class SharpnessNetwork(nn.Module):
    """What `describe` gives, [..., FEATURES], to sigma in pixels [...], 0 for a sharp picture."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        bands, edges = features[..., : 2 * BANDS], features[..., 2 * BANDS :]
        level = bands - bands[..., 1:6].mean(-1, keepdim=True)  # contrast must not matter
        both = torch.cat([level[..., :BANDS], bands[..., BANDS:]], -1) * 0.25
        return F.softplus(self.layers(torch.cat([both, 2 * edges], -1))[..., 0])


def fitted_sigma(features: Tensor) -> float:
    """Sigma in pixels by least squares on the liveliest tiles' spectrum [FEATURES]; 0 where it fails.

    log P(w) = c - a log w - sigma^2 w^2: a power law, as pictures have, under a Gaussian, down to where
    the rounding to 8 bits hides it.
    """
    power = 10 ** features[:BANDS].double()
    frequency = (torch.arange(BANDS, dtype=torch.float64) + 0.5) / (2 * BANDS)
    hidden = ((power <= CLEAR * ROUNDING) & (frequency > LOWEST)).nonzero()
    last = int(hidden[0]) if len(hidden) else BANDS
    chosen = (frequency > LOWEST) & (torch.arange(BANDS) < last)
    if int(chosen.sum()) < 3:
        return 0.0
    w = 2 * math.pi * frequency[chosen]
    terms = torch.stack([torch.ones_like(w), -w.log(), -(w**2)], 1)
    solution = torch.linalg.lstsq(terms, (power[chosen] - ROUNDING).log()[:, None]).solution
    return math.sqrt(max(0.0, float(solution[2])))


def estimate_sigma(network: SharpnessNetwork, frames: Tensor) -> float:
    """The blur of frames [T, 3, H, W] in 0..1, in pixels.

    The network's word; where the fit nearly agrees, their geometric mean, since the one errs to the
    upper side on pictures that were soft before and the other to the lower.
    """
    features = describe(frames)
    learnt = float(network(features))
    fitted = fitted_sigma(features.cpu())
    if learnt <= 0 or fitted <= 0 or abs(math.log(fitted / learnt)) > AGREEMENT:
        return learnt
    return math.sqrt(learnt * fitted)
