"""How blurred a picture is: a tiny network that reads the standard deviation of a Gaussian blur from a
picture's spectrum.  Pure; knows no file.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BANDS = 40  # rings of equal width from frequency 0 to 0.5 cycles a pixel
TILE = 128  # pixels a side
STRIDE = 96  # pixels between tiles
LIVELY = 0.25  # share of the tiles, those with most energy, that count
LUMA = (0.299, 0.587, 0.114)
FLOOR = 1e-12  # power below which nothing is told apart


def spectrum(frames: Tensor) -> Tensor:
    """Log power of frames [T, 3, H, W] in 0..1 by frequency: [2 x BANDS].

    Hann-windowed luma tiles; first the mean over the liveliest tiles, then over all.
    """
    weights = frames.new_tensor(LUMA).view(1, 3, 1, 1)
    luma = (frames * weights).sum(1)
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
    members = nn.functional.one_hot(ring.flatten(), BANDS + 1)[:, :BANDS].to(power)
    by_ring = power.flatten(1) @ members / members.sum(0).clamp_min(1)  # [N, BANDS]
    energy = by_ring[:, 1 : BANDS // 4].sum(1)
    count = max(1, round(LIVELY * len(energy)))
    lively = by_ring[energy.topk(count).indices]
    return torch.log10(torch.cat([lively.mean(0), by_ring.mean(0)]).clamp_min(FLOOR))


class SharpnessNetwork(nn.Module):
    """Spectrum [..., 2 x BANDS] to sigma in pixels [...], 0 for a sharp picture."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * BANDS, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 1))

    def forward(self, bands: Tensor) -> Tensor:
        """See the class."""
        level = bands - bands[..., 1:6].mean(-1, keepdim=True)  # contrast must not matter
        both = torch.cat([level[..., :BANDS], bands[..., BANDS:]], -1)
        return nn.functional.softplus(self.layers(both * 0.25)[..., 0])
