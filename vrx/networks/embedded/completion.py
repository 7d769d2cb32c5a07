"""What is known in part, completed: pictures sampled between their pixels, holes of maps closed, motion of a camera.

Pure functions on float tensors.  Places are [2, h, w]: x and y in pixels of a picture, counted from the middle of its
first one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_LEVEL = 2  # pixels; the coarsest level of the pyramid has a side of at most this
FIT_ROUNDS = 6  # of the robust fit
FIT_STRIDE = 3  # positions between two that are fitted
OUTLIER = 0.5  # pixels off the fit, at which motion counts a quarter


def grid_places(rows: slice, columns: slice, like: Tensor) -> Tensor:
    """The places of a rectangle's own pixels [2, h, w]."""
    y = torch.arange(rows.start, rows.stop, device=like.device, dtype=torch.float32)
    x = torch.arange(columns.start, columns.stop, device=like.device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def sample(picture: Tensor, places: Tensor, mode: str = "bilinear") -> Tensor:
    """[C, H, W] at places [2, h, w]: [C, h, w]; outside, the border goes on.  `mode`: bilinear or bicubic."""
    height, width = picture.shape[-2:]
    x = places[0] * (2 / max(1, width - 1)) - 1
    y = places[1] * (2 / max(1, height - 1)) - 1
    where = torch.stack([x, y], -1)[None]
    return F.grid_sample(picture[None], where, mode, padding_mode="border", align_corners=True)[0]


def is_inside(places: Tensor, size: Sequence[int]) -> Tensor:
    """1 where places [2, h, w] are in a picture of (height, width), else 0: [1, h, w]."""
    x, y = places
    return ((x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)).float()[None]


def push_pull(values: Tensor, weights: Tensor) -> Tensor:
    """Maps [C, H, W] completed where their weights [1, H, W] or [C, H, W], 0 to 1, are low, smoothly and seamlessly.

    Weighted means of 2 x 2 pixels from level to level down, and back up where nothing better is known (push-pull;
    Gortler et al., The Lumigraph, 1996, section 3.4).
    """
    height, width = values.shape[-2:]
    if min(height, width) <= LEAST_LEVEL:
        total = weights.sum((-1, -2), keepdim=True).clamp_min(1e-8)
        mean = (values * weights).sum((-1, -2), keepdim=True) / total
        return torch.lerp(mean.expand_as(values), values, weights)
    extra = (0, width % 2, 0, height % 2)
    share = F.avg_pool2d(F.pad(weights, extra), 2)
    means = F.avg_pool2d(F.pad(values * weights, extra), 2) / share.clamp_min(1e-8)
    low = push_pull(means, (2 * share).clamp_max(1))
    size = (height + height % 2, width + width % 2)
    above = F.interpolate(low[None], size=size, mode="bilinear")[0, ..., :height, :width]
    return torch.lerp(above, values, weights)


def fit_motion(motion: Tensor, weights: Tensor) -> Tensor:
    """The affine motion that explains most of a motion [2, H, W], weighted by [1, H, W]: [2, H, W].

    Least squares, reweighted (Geman and McClure's function), so that what moves on its own does not count.
    """
    height, width = motion.shape[-2:]
    x, y = grid_places(slice(0, height), slice(0, width), motion).double()
    all_terms = torch.stack([torch.ones_like(x), x / width - 0.5, y / height - 0.5], -1)
    some = (..., slice(None, None, FIT_STRIDE), slice(None, None, FIT_STRIDE))
    terms = all_terms[some[1:]].flatten(0, 1)
    wanted, given = motion[some].flatten(1).T.double(), weights[some].flatten().double()
    ridge = 1e-6 * torch.eye(3, dtype=torch.float64, device=motion.device)
    share, model = given, ridge[:, :2]
    for _ in range(FIT_ROUNDS):
        weighted = terms * share[:, None]
        model = torch.linalg.solve(terms.T @ weighted + ridge, weighted.T @ wanted)
        share = given / (1 + (wanted - terms @ model).square().sum(1) / OUTLIER**2).square()
    return (all_terms @ model).permute(2, 0, 1).float()


def box(x: Tensor, side: int) -> Tensor:
    """Means of [C, H, W] over an odd number of pixels a side; the border goes on."""
    return F.avg_pool2d(F.pad(x[None], (side // 2,) * 4, mode="replicate"), side, stride=1)[0]
