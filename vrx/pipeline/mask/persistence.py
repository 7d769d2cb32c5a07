"""How much more than the scene the edges at a place stay as they are: what tells an overlay also where little moves.

A scene's edges move with it, if only by a part of a pixel, and flicker with its noise.  Those of an overlay do not.  So
the steady part of a place's gradient, over what changes of it, is compared with what is usual in the picture.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from vrx.pipeline.mask.samples import Area, Plane

NOISE = 1.0  # levels a pixel: changes of gradients that compression makes
SEEN = 5.0  # levels a pixel, from which on there is an edge at a place at times
FAINT = 2.0  # and where few are as strong
PARTS = 8  # parts a side, in each of which the scene is looked at
LEAST_SEEN = 20  # places with edges in such a part
LEAST_PARTS = 6  # with edges: fewer do not show how the scene moves
MANY_PARTS = 24  # with edges, beyond which the strong ones are enough
USUAL = 0.75  # quantile of the steadiness of edges that is usual: in a part, and of all parts
MOST_USUAL = 9.0  # usual steadiness, beyond which the scene stays as an overlay does


class Persistence:
    """Sums of gradients at every place.  Memory is that of a few pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._sums = np.zeros((2, size[1], size[0]), np.float32)
        self._energy = np.zeros((size[1], size[0]), np.float32)
        self.samples = 0

    def add(self, slopes: tuple[Plane, Plane]) -> None:
        """The gradients of the next sample."""
        for total, slope in zip(self._sums, slopes, strict=True):
            total += slope
            self._energy += slope * slope
        self.samples += 1

    @property
    def mean(self) -> Plane:
        """The steady part of the gradients [2, H, W], levels a pixel."""
        return np.asarray(self._sums / np.float32(max(1, self.samples)), np.float32)

    @property
    def steadiness(self) -> Plane:
        """The steady part of the gradients [H, W] over the changing one."""
        steady = np.hypot(*self.mean)
        changing = np.sqrt(np.maximum(self._energy / max(1, self.samples) - steady**2, 0))
        return np.asarray(steady / (changing + NOISE), np.float32)

    @property
    def seen(self) -> Area:
        """Where there is an edge at times: a faint one counts where the scene is so soft that it has few others."""
        strong = np.asarray(self._energy >= SEEN**2 * max(1, self.samples))
        if sum(np.count_nonzero(strong[part]) >= LEAST_SEEN for part in parts_of(strong.shape)) >= MANY_PARTS:
            return strong
        return np.asarray(self._energy >= FAINT**2 * max(1, self.samples))

    @property
    def usual(self) -> float | None:
        """The steadiness of the scene's edges, None where too few are seen."""
        return usual_of(self.steadiness, self.seen)


def parts_of(size: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """PARTS x PARTS parts of a picture."""
    rows, columns = (pairwise(np.linspace(0, side, PARTS + 1).astype(int)) for side in size)
    across = [slice(*ends) for ends in columns]
    return [(slice(*ends), side) for ends in rows for side in across]


def usual_of(steadiness: Plane, seen: Area) -> float | None:
    """What is usual in most parts of a picture, so that an overlay, which is in a few of them, does not count."""
    values = [steadiness[part][seen[part]] for part in parts_of(seen.shape)]
    found = [np.quantile(value, USUAL) for value in values if len(value) >= LEAST_SEEN]
    return float(np.quantile(found, USUAL)) if len(found) >= LEAST_PARTS else None


def usual_around(steadiness: Plane, seen: Area, area: Area, gap: int, reach: int) -> float | None:
    """What is usual from `gap` to `reach` pixels around an area, None where too few edges are seen there."""
    near, far = (cv2.dilate(area.astype(np.uint8), np.ones((2 * side + 1,) * 2, np.uint8)) for side in (gap, reach))
    values = steadiness[(far > 0) & (near == 0) & seen]
    return float(np.quantile(values, USUAL)) if len(values) >= LEAST_SEEN else None
