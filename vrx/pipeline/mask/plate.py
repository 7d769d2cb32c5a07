"""The plate behind lettering: a rectangle with edges on all four sides, all light outside or all dark."""

from __future__ import annotations

import numpy as np

from vrx.pipeline.mask.samples import Area, Plane

REACH = 0.9  # heights of the lettering around it, in which the edges of a plate are looked for
WITHIN = 3  # pixels inside of it, in which they are, too
ALIKE = 0.5  # of the larger margin of lettering on a plate, that margins differ by where some are not seen
GOES_ON = 0.7  # share of the parts beyond both corners, as long as the plate is high, that have this edge, too
EDGE, SIDE = 6.0, 0.85  # levels a pixel, and the share of a side that has such an edge

Box = tuple[int, int, int, int]  # left, top, right, bottom


def include_plate(box: Box, slopes: Plane, edge: float = EDGE, side: float = SIDE, mirrored: bool = False) -> Box:
    """The rectangle of lettering with the plate behind it; `slopes` [2, H, W]: the steady part of the gradients.

    `edge`: levels a pixel, and `side`: the share of a side that has such an edge.  `mirrored`: a side that is not seen,
    as where a dark plate ends in a dark scene, is as far from the lettering as the opposite one.
    """
    left, top, right, bottom = box
    across, down = slopes[0, top:bottom].T, slopes[1, :, left:right]
    reach = round(REACH * (bottom - top))
    seen = {}
    for sign in (1, -1):
        y = find_sides(sign * down, (top, bottom, reach), edge, side)
        x = find_sides(sign * across, (left, right, reach), edge, side)
        seen[sign] = [*x, *y]
    for sign, margins in [*seen.items(), *((sign, mirror(x)) for sign, x in seen.items() if mirrored)]:
        if None in margins:
            continue
        west, east, north, south = (margin or 0 for margin in margins)
        rows = max(0, top - north), min(slopes.shape[1], bottom + south)
        columns = max(0, left - west), min(slopes.shape[2], right + east)
        found = (columns[0], rows[0], columns[1], rows[1])
        if not goes_on(found, sign * slopes[1], edge):
            return found
    return box


def mirror(margins: list[int | None]) -> list[int | None]:
    """Margins to the left, right, top and bottom, with missing ones from the opposite side, where these are alike."""
    seen = [margin for margin in margins if margin is not None]
    if not seen or max(seen) - min(seen) > ALIKE * max(seen) + WITHIN:
        return margins
    return [
        own if own is not None else other
        for own, other in zip(margins, (margins[i] for i in (1, 0, 3, 2)), strict=True)
    ]


def goes_on(box: Box, slopes: Plane, edge: float) -> bool:
    """Whether the upper or lower side of a rectangle goes on beyond its corners: it is a line of the scene, then.

    `slopes` [H, W]: down, positive where the upper side is.
    """
    left, top, right, bottom = box
    length = bottom - top
    for row, sign in ((top, 1), (bottom, -1)):
        rows = sign * slopes[max(0, row - WITHIN) : row + WITHIN] >= edge
        parts = (rows[:, max(0, left - WITHIN - length) : max(0, left - WITHIN)], rows[:, right + WITHIN :][:, :length])
        if all(part.size and part.mean(1).max() >= GOES_ON for part in parts):
            return True
    return False


def find_sides(slopes: Plane, span: tuple[int, int, int], edge: float, side: float) -> tuple[int | None, int | None]:
    """How far before the first row of a span rows [n, k] of slopes rise, and how far after the last they fall.

    `span`: these rows, and how many around them are looked at; the nearest such edges count.
    """
    first, last, reach = span
    rise, fall = ((sign * slopes >= edge).mean(1) >= side for sign in (1, -1))
    before = find_edge(rise[max(0, first - reach) : first + WITHIN][::-1])
    after = find_edge(fall[max(0, last - WITHIN) : last + reach])
    return (
        None if before is None else max(0, before - WITHIN),
        None if after is None else max(0, after - min(WITHIN, last)),
    )


def find_edge(rows: Area) -> int | None:
    """How many rows there are up to the end of the first edge, None without one."""
    found = np.flatnonzero(rows)
    if not found.size:
        return None
    end = np.flatnonzero(~rows[found[0] :])
    return int(found[0] + end[0]) if end.size else len(rows)
