"""The plate behind lettering: a rectangle with edges on all four sides, all light outside or all dark."""

from __future__ import annotations

import numpy as np

from vrx.pipeline.mask.samples import Area, Plane

REACH = 0.9  # heights of the lettering around it, in which the edges of a plate are looked for
WITHIN = 3  # pixels inside of it, in which they are, too
EDGE, SIDE = 6.0, 0.85  # levels a pixel, and the share of a side that has such an edge

Box = tuple[int, int, int, int]  # left, top, right, bottom


def include_plate(box: Box, slopes: Plane) -> Box:
    """The rectangle of lettering with the plate behind it; `slopes` [2, H, W]: the steady part of the gradients."""
    left, top, right, bottom = box
    across, down = slopes[0, top:bottom].T, slopes[1, :, left:right]
    reach = round(REACH * (bottom - top))
    for sign in (1, -1):
        y = find_sides(sign * down, top, bottom, reach)
        x = find_sides(sign * across, left, right, reach)
        if x is not None and y is not None:
            return x[0], y[0], x[1], y[1]
    return box


def find_sides(slopes: Plane, first: int, last: int, reach: int) -> tuple[int, int] | None:
    """Where rows [n, k] of slopes rise before row `first`, and fall after row `last`: the nearest such edges."""
    rise, fall = ((sign * slopes >= EDGE).mean(1) >= SIDE for sign in (1, -1))
    before = find_edge(rise[max(0, first - reach) : first + WITHIN][::-1])
    after = find_edge(fall[max(0, last - WITHIN) : last + reach])
    if before is None or after is None:
        return None
    return min(first, first + WITHIN - before), max(last, max(0, last - WITHIN) + after)


def find_edge(rows: Area) -> int | None:
    """How many rows there are up to the end of the first edge, None without one."""
    found = np.flatnonzero(rows)
    if not found.size:
        return None
    end = np.flatnonzero(~rows[found[0] :])
    return int(found[0] + end[0]) if end.size else len(rows)
