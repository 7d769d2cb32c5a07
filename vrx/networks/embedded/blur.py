"""Blur estimation: tiny networks that read the standard deviation of a Gaussian blur, some from a
picture's spectrum and from how steep its edges are, some from a physical law of that spectrum.
Pure; knows no file.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.embedded.reader import build_reader

BANDS = 40  # rings of equal width from frequency 0 to 0.5 cycles a pixel
TILE = 128  # pixels a side
STRIDE = 96  # pixels between tiles
LIVELY = 0.25  # share of the tiles, those with most energy, that count
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
FLOOR = 1e-12  # power below which nothing is distinguished
WINDOWS = (9, 17, 33)  # pixels a side in which an edge's height is taken
STRONG = 0.1  # share of the places, those with the highest edges, that count
QUANTILES = (0.5, 0.75, 0.9, 0.97)
ROUNDING = sum(w * w for w in LUMA) / 12 / 255**2  # power of the rounding of luma to 8 bits a channel
CLEAR = (2.0, 8.0, 32.0)  # times the rounding's power that a band must hold to be believed
LOWEST = (0.02, 0.035, 0.06, 0.09)  # cycles a pixel from where on pictures follow a power law
FITTED = 4  # numbers that a fit gives
MOST_FITTED = 12.0  # pixels of blur, and
STEEPEST = 10.0  # the exponent of the law, beyond which a fit is ignored
OFFSET = 0.2  # pixels; blurs are compared relative to sigma + OFFSET
EDGES = len(WINDOWS) * len(QUANTILES)
SEEN = 2 * BANDS + EDGES  # numbers for readers of one kind
FITS = 2 * len(CLEAR) * len(LOWEST) * FITTED  # ... and of the other
FEATURES = SEEN + FITS
# the fit that also counts by itself: the liveliest tiles', on the ranges used most often
LAW = SEEN + (LOWEST.index(0.035) * len(CLEAR) + CLEAR.index(8.0)) * FITTED
LAW_WEIGHT = 0.25
AGREEMENT = 0.2  # of the logarithm, within which it does
HIDDEN = 64
DROPOUT = 0.1
READERS = 3  # of a kind
LEAST = 1e-6  # pixels


def describe(frames: Tensor) -> Tensor:
    """Frames [T, 3, H, W] in 0..1 as FEATURES numbers: spectrum, edges, fits."""
    weights = frames.new_tensor(LUMA).view(1, 3, 1, 1)
    luma = (frames * weights).sum(1)
    bands = spectrum(luma)
    fitted = fits(bands.cpu()).to(bands.device)  # a few numbers, many decisions: a GPU would be waited for each time
    return torch.cat([bands, steepness(luma), fitted])


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


def fits(bands: Tensor) -> Tensor:
    """What `fit` finds in both spectra of `spectrum`, on several ranges of frequency: [FITS]."""
    found = [fit(half, lowest, clear) for half in bands.split(BANDS) for lowest in LOWEST for clear in CLEAR]
    return torch.cat(found)


def fit(bands: Tensor, lowest: float, clear: float) -> Tensor:
    """Log power [BANDS] as a power law under a Gaussian, by least squares: [FITTED].

    log P(w) = c - a log w - sigma^2 w^2: the power law of natural pictures (Field, 1987) blurred, from the
    frequency `lowest` in cycles a pixel up to where the power falls below `clear` times that of the rounding
    to 8 bits; w in radians a pixel, sigma in pixels.  Gives log(sigma + OFFSET), a / 4, the share of bands
    below the hidden ones, and whether there were enough of them.
    """
    power = 10 ** bands.double()
    frequency = (torch.arange(BANDS, dtype=torch.float64, device=bands.device) + 0.5) / (2 * BANDS)
    hidden = ((power <= clear * ROUNDING) & (frequency > lowest)).nonzero()
    last = int(hidden[0]) if len(hidden) else BANDS
    chosen = (frequency > lowest) & (torch.arange(BANDS, device=bands.device) < last)
    sigma = exponent = 0.0
    enough = int(chosen.sum()) >= 3
    if enough:
        w = 2 * math.pi * frequency[chosen]
        terms = torch.stack([torch.ones_like(w), -w.log(), -(w**2)], 1)
        solution = torch.linalg.lstsq(terms, (power[chosen] - ROUNDING).clamp_min(FLOOR).log()[:, None]).solution
        sigma = min(MOST_FITTED, math.sqrt(max(0.0, float(solution[2]))))
        exponent = max(-STEEPEST, min(STEEPEST, float(solution[1])))
    return bands.new_tensor([math.log(sigma + OFFSET), exponent / 4, last / BANDS, float(enough)])


class BlurEstimator(nn.Module):
    """What `describe` gives, [..., FEATURES], to sigma in pixels [...], 0 for a sharp picture.

    The geometric mean of several readers' estimates; the errors of the two kinds have little to do with each
    other.  `middle` and `spread` of the numbers are those of the training.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.ModuleList(build_reader(SEEN, HIDDEN, 1, DROPOUT) for _ in range(READERS))
        self.fitted = nn.ModuleList(build_reader(FITS, HIDDEN, 1, DROPOUT) for _ in range(READERS))
        self.register_buffer("middle", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))

    def readings(self, features: Tensor) -> Tensor:
        """Each reader's estimate, in pixels: [2 x READERS, ...]."""
        seen, fitted = ((relative(features) - self.middle) / self.spread).split((SEEN, FITS), -1)
        estimates = [read(seen) for read in self.seen] + [read(fitted) for read in self.fitted]
        return F.softplus(torch.stack(estimates)[..., 0])

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return self.readings(features).clamp_min(LEAST).log().mean(0).exp()


def relative(features: Tensor) -> Tensor:
    """Features with the lively tiles' spectrum relative to the mean of its low end: contrast must not matter there."""
    lively, rest = features[..., :BANDS], features[..., BANDS:]
    return torch.cat([lively - lively[..., 1:6].mean(-1, keepdim=True), rest], -1)


def estimate_sigma(network: BlurEstimator, frames: Tensor) -> float:
    """The blur of frames [T, 3, H, W] in 0..1, in pixels."""
    return read_sigma(network, describe(frames))


def read_sigma(network: BlurEstimator, features: Tensor) -> float:
    """The blur in pixels of a picture that is described by these numbers [FEATURES].

    The network's word; where one fit of the law nearly agrees, that counts a little as well.
    """
    read, law = float(network(features)), math.exp(float(features[LAW])) - OFFSET
    if law <= 0 or abs(math.log(law / max(read, LEAST))) > AGREEMENT:
        return read
    return read ** (1 - LAW_WEIGHT) * law**LAW_WEIGHT
