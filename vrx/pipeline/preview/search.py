"""Which part of the pictures to enlarge, and which frame to show: where pictures differ, and not by noise alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 96  # areas that a picture's width is divided into; one value each says how much pictures differ there
FLEETING = 0.25  # how much a difference at an edge counts that is not in the frame before too, as edges that move
EDGE = 4.0  # times the median of squared gradients: half an edge


class Search:
    """Takes the pictures of one frame after the other; `part` (width, height) is what is looked for, in 0..1 of a side.

    Noise is independent from frame to frame, about as strong everywhere, and not at edges only: a difference counts by
    what it has in common with that of the frame before, and less by what of it is at edges.
    """

    def __init__(self, part: tuple[float, float]) -> None:
        self._part = part
        self._numbers: list[int] = []
        self._fleeting: list[Tensor] = []  # of each frame, maps [h, w] of cells
        self._lasting: list[Tensor] = []
        self._before: Tensor | None = None
        self._cell, self._size = 1, (1, 1)

    def add(self, number: int, pictures: Tensor) -> None:
        """Pictures [N, 3, H, W] of frame `number`, all of which are shown beside each other."""
        apart = pictures - pictures.mean(0, keepdim=True)
        self._size = (pictures.shape[-1], pictures.shape[-2])
        self._cell = max(1, min(self._size[0] // CELLS, *self._size))
        alone = self._pool(apart.square() * edges(pictures.mean((0, 1))))
        self._fleeting.append(FLEETING * alone)
        before = self._before if self._numbers[-1:] == [number - 1] else None
        self._lasting.append(torch.zeros_like(alone) if before is None else self._pool(apart * before))
        self._numbers.append(number)
        self._before = apart

    def _pool(self, product: Tensor) -> Tensor:
        """Means over cells [h, w] of a product of differences."""
        return F.avg_pool2d(product.mean((0, 1))[None, None], self._cell)[0, 0]

    @property
    def found(self) -> bool:
        """Whether there is any difference."""
        return any(bool(score.any()) for score in self._fleeting)

    def find(self) -> tuple[tuple[float, float], int]:
        """Left and top of the part, in 0..1 of a side, and the number of the frame where it differs most."""
        fleeting, lasting = torch.stack(self._fleeting), torch.stack(self._lasting)
        total = fleeting.sum(0) + lasting.sum(0).clamp(min=0)
        rows, columns = total.shape
        window = (max(1, round(self._part[1] * rows)), max(1, round(self._part[0] * columns)))
        sums = F.avg_pool2d(total[None, None], window, stride=1)[0, 0]
        place = int(sums.argmax())
        top, left = place // sums.shape[1], place % sums.shape[1]
        inside = (fleeting + lasting)[:, top : top + window[0], left : left + window[1]]
        best = self._numbers[int(inside.sum((1, 2)).argmax())]
        return (left * self._cell / self._size[0], top * self._cell / self._size[1]), best


def edges(picture: Tensor) -> Tensor:
    """How much of an edge is around every pixel of a picture [H, W], 0 to 1; noise makes few."""
    padded = F.pad(smooth(picture[None, None], 3), (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    squared = smooth(across.square() + down.square(), 5)[0, 0]  # at the middle of a thin line there is no gradient
    return squared / (squared + EDGE * squared.median()).clamp(min=1e-12)


def smooth(pictures: Tensor, side: int) -> Tensor:
    """Means of squares around every pixel of [1, 1, H, W]; ends are repeated."""
    half = side // 2
    return F.avg_pool2d(F.pad(pictures, (half,) * 4, mode="replicate"), side, 1)
