"""Pictures for people: colors as levels, rows with names above them, and PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vrx.errors import UsageError
from vrx.files import path_exists, replace_file
from vrx.media.atomic import write_error
from vrx.media.lettering import TEXT_HEIGHT, Picture, draw_text

GAP, INDENT = 6, 4  # pixels between pictures, and from the left end of a picture to its name
PAPER = 24  # level of what is around pictures


def to_picture(colors: Tensor) -> Picture:
    """Colors [3, H, W] in 0..1 as RGB [H, W, 3]."""
    levels: Picture = (colors.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return levels


def as_levels(picture: NDArray[np.generic]) -> Picture:
    """The same as uint8."""
    return picture.astype(np.uint8)


def scaled(picture: Picture, size: tuple[int, int]) -> Picture:
    """A picture at a size (width, height): averaged where it is smaller, else enlarged smoothly."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    smaller = size[0] <= picture.shape[1] and size[1] <= picture.shape[0]
    return as_levels(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC))


def magnified(picture: Picture, factor: int) -> Picture:
    """A picture with every pixel as a square of `factor` pixels a side."""
    return as_levels(picture.repeat(factor, 0).repeat(factor, 1))


def row(pictures: Sequence[Picture], titles: Sequence[str] | None = None) -> Picture:
    """Pictures beside each other, names above them where there are any."""
    above = TEXT_HEIGHT if titles else 0
    height = max(picture.shape[0] for picture in pictures) + above
    width = sum(picture.shape[1] + GAP for picture in pictures) - GAP
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    left = 0
    for number, picture in enumerate(pictures):
        canvas[above : above + picture.shape[0], left : left + picture.shape[1]] = picture
        if titles:
            draw_text(canvas, titles[number], left + INDENT, 0, picture.shape[1] - INDENT)
        left += picture.shape[1] + GAP
    return canvas


def stacked(rows: Sequence[Picture]) -> Picture:
    """Rows below each other."""
    width = max(part.shape[1] for part in rows)
    padded = [np.pad(part, ((0, GAP), (0, width - part.shape[1]), (0, 0)), constant_values=PAPER) for part in rows]
    return np.concatenate(padded)


def save(pictures: Mapping[Path, Picture], overwrite: bool) -> list[Path]:
    """Write pictures as PNG; folders are made where they are missing.

    Raises UsageError for those that exist, unless `overwrite`, OutputError for what cannot be written.
    """
    for path in pictures:
        if path_exists(path) and not overwrite:
            raise UsageError(f"{path} exists", "Replace it with -y, or name another folder")
    for path, picture in pictures.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replace_file(path) as partial:
                partial.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
        except OSError as error:
            raise write_error(path, error) from error
    return list(pictures)
