"""What a comparison shows: pictures side by side, enlarged where they differ most, and rows over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vrx.errors import UsageError
from vrx.files import path_exists, replace_file
from vrx.media.atomic import write_error
from vrx.pipeline.compare.results import Comparison, Shot

Picture = NDArray[np.uint8]

WIDEST = 960  # pixels of one picture in a row of several
SHARE = 6  # of a picture's sides that the enlarged part has
CONTRAST = 4.0  # that the difference is shown with
GAP, MARGIN = 6, 26  # pixels between pictures, and above them for their names
PAPER, INK = 24, (235, 235, 235)  # levels
SEEN = 8  # pixels a side of the areas among which the largest difference is looked for


def write(comparison: Comparison, folder: Path, names: Sequence[str], overwrite: bool) -> list[Path]:
    """All pictures of a comparison as PNG into a folder, which is made where it is missing.

    Raises UsageError for pictures that exist, unless `overwrite`, OutputError for what cannot be written.
    """
    found = {folder / f"frame-{shot.number:06}.png": side_by_side(shot, names) for shot in comparison.shots}
    found[folder / "profile.png"] = profile(comparison.profile, names)
    for path in found:
        if path_exists(path) and not overwrite:
            raise UsageError(f"{path} exists", "Replace it with -y, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, picture in found.items():
            with replace_file(path) as partial:
                partial.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    except OSError as error:
        raise write_error(folder, error) from error
    return list(found)


def to_picture(colors: Tensor) -> Picture:
    """Colors [3, H, W] in 0..1 as RGB [H, W, 3]."""
    levels: Picture = (colors.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return levels


def side_by_side(shot: Shot, names: Sequence[str]) -> Picture:
    """All pictures in a row, below each the part where the last two differ most; at the end of the rows their
    difference, around gray.
    """
    apart = (shot.pictures[-1] - shot.pictures[-2]) * CONTRAST / 2 + 0.5
    shown, titles = [*shot.pictures, apart], [*names, f"difference x {CONTRAST:g}"]
    box = most_different(shot)
    width = min(WIDEST, shown[0].shape[-1])
    rows = ([scaled(x, width) for x in shown], [enlarged(x[:, box[0], box[1]], width) for x in shown])
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


def scaled(colors: Tensor, width: int) -> Picture:
    """A picture at a width, no larger than it is."""
    height = max(1, round(colors.shape[-2] * width / colors.shape[-1]))
    picture = to_picture(colors)
    if picture.shape[1] == width:
        return picture
    return as_levels(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def enlarged(colors: Tensor, width: int) -> Picture:
    """A part at about a width, every pixel a square."""
    factor = max(1, width // colors.shape[-1])
    return as_levels(to_picture(colors).repeat(factor, 0).repeat(factor, 1))


def as_levels(picture: NDArray[np.generic]) -> Picture:
    """The same as uint8."""
    return picture.astype(np.uint8)


def row(pictures: Sequence[Picture], titles: Sequence[str] | None = None) -> Picture:
    """Pictures beside each other, names above them where there are any."""
    above = MARGIN if titles else 0
    height = max(picture.shape[0] for picture in pictures) + above
    width = sum(picture.shape[1] + GAP for picture in pictures) - GAP
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    left = 0
    for number, picture in enumerate(pictures):
        canvas[above : above + picture.shape[0], left : left + picture.shape[1]] = picture
        if titles:
            cv2.putText(canvas, titles[number], (left + 4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
        left += picture.shape[1] + GAP
    return canvas


def stacked(rows: Sequence[Picture]) -> Picture:
    """Rows below each other."""
    width = max(part.shape[1] for part in rows)
    padded = [np.pad(part, ((0, GAP), (0, width - part.shape[1]), (0, 0)), constant_values=PAPER) for part in rows]
    return np.concatenate(padded)


def profile(rows: Sequence[Tensor], names: Sequence[str]) -> Picture:
    """The middle row of every frame, one below the other: what is steady draws lines, what flickers is torn."""
    return row([as_levels(part.numpy()) for part in rows], names)
