"""What a comparison shows: pictures side by side, enlarged where they differ most, and rows over time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from vrx.errors import OutputError
from vrx.media.lettering import Picture
from vrx.pipeline.addresses import refuse_address_to_write
from vrx.pipeline.compare.results import Comparison, Shot
from vrx.pipeline.pictures import as_levels, magnified, row, save, scaled, stacked, to_picture

WIDEST = 960  # pixels of one picture in a row of several
SHARE = 6  # of a picture's sides that the enlarged part has
CONTRAST = 4.0  # that the difference is shown with
SEEN = 8  # pixels a side of the areas among which the largest difference is looked for


def write(comparison: Comparison, folder: Path, names: Sequence[str], overwrite: bool) -> list[Path]:
    """All pictures of a comparison as PNG into a folder, which is made where it is missing.

    Raises UsageError for pictures that exist, unless `overwrite`, OutputError for what cannot be written.
    """
    found = {folder / f"frame-{shot.number:06}.png": side_by_side(shot, names) for shot in comparison.shots}
    found[folder / "profile.png"] = profile(comparison.profile, names)
    return save(found, overwrite)


def check_folder(folder: Path) -> None:
    """Refuse, before any work, a folder that pictures cannot be written into.  Raises OutputError and UsageError."""
    refuse_address_to_write(str(folder))
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise OutputError(f"cannot write into {folder}: {nearest} is not a folder", "Name another with -o")
    if not os.access(nearest, os.W_OK):
        raise OutputError(f"cannot write into {folder}: {nearest} is read-only", "Name another with -o")


def side_by_side(shot: Shot, names: Sequence[str]) -> Picture:
    """All pictures in a row, below each the part where the last two differ most; at the end of the rows their
    difference, around gray.
    """
    apart = (shot.pictures[-1] - shot.pictures[-2]) * CONTRAST / 2 + 0.5
    shown, titles = [*shot.pictures, apart], [*names, f"difference x {CONTRAST:g}"]
    box = most_different(shot)
    width = min(WIDEST, shown[0].shape[-1])
    rows = ([reduced(x, width) for x in shown], [enlarged(x[:, box[0], box[1]], width) for x in shown])
    return stacked([row(pictures, titles if not place else None) for place, pictures in enumerate(rows)])


def most_different(shot: Shot) -> tuple[slice, slice]:
    """Rows and columns of the part where the last two pictures differ most."""
    error = (shot.pictures[-1] - shot.pictures[-2]).square().mean(0)[None, None]
    height, width = error.shape[-2:]
    size = (max(1, height // SHARE), max(1, width // SHARE))
    side = min(SEEN, *size)
    means = F.avg_pool2d(error, size, stride=side)[0, 0]
    place = int(means.argmax())
    top, left = (place // means.shape[1]) * side, (place % means.shape[1]) * side
    return slice(top, top + size[0]), slice(left, left + size[1])


def reduced(colors: Tensor, width: int) -> Picture:
    """A picture at a width, no larger than it is."""
    return scaled(to_picture(colors), (width, max(1, round(colors.shape[-2] * width / colors.shape[-1]))))


def enlarged(colors: Tensor, width: int) -> Picture:
    """A part at about a width, every pixel a square."""
    return magnified(to_picture(colors), max(1, width // colors.shape[-1]))


def profile(rows: Sequence[Tensor], names: Sequence[str]) -> Picture:
    """The middle row of every frame, one below the other: what is steady draws lines, what flickers is torn."""
    return row([as_levels(part.numpy()) for part in rows], names)
