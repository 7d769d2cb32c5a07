"""Read the folder of `vrx.train.material`.  Needs OpenCV alone to decode."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vrx.train.pool import Copy, Footage
from vrx.train.spoil import strength_of
from vrx.train.synthesis import Photographs, text_bank

PHOTO_SIZE = (416, 560)  # pixels, height and width that all photographs are cut or extended to
TEXTS = 48
READERS = 16


def decode(path: Path) -> Tensor:
    """All frames of a video, uint8 [T, 3, H, W] in RGB.  Raises ValueError where there are none."""
    reader, frames = cv2.VideoCapture(str(path)), []
    while True:
        more, image = reader.read()
        if not more:
            break
        frames.append(image[..., ::-1])
    if not frames:
        raise ValueError(f"cannot decode {path}")
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()


def read_photo(path: Path) -> np.ndarray:
    """A still, upright ones turned, as uint8 [3, *PHOTO_SIZE] in RGB; what is missing mirrors the rest."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"cannot decode {path}")
    image = image if image.shape[1] >= image.shape[0] else np.ascontiguousarray(image.transpose(1, 0, 2))
    height, width = PHOTO_SIZE
    top, left = (max(0, (have - want) // 2) for have, want in zip(image.shape[:2], PHOTO_SIZE, strict=True))
    image = image[top : top + height, left : left + width]
    missing = (height - image.shape[0], width - image.shape[1])
    image = cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REFLECT_101)
    return np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))


def load_photographs(folder: Path) -> Photographs:
    """All stills, and lettering beside them."""
    with ThreadPoolExecutor(READERS) as pool:
        stills = list(pool.map(read_photo, sorted((folder / "photos").iterdir())))
    texts = text_bank(TEXTS, *PHOTO_SIZE)
    return Photographs(torch.from_numpy(np.stack(stills)), texts)


def load_clip(folder: Path, entry: dict) -> Footage:  # type: ignore[type-arg]
    """One clip of the index with its copies."""
    frames = decode(folder / "clips" / entry["file"])
    copies: dict[int, list[Copy]] = {}
    for copy in entry["coded"]:
        found = decode(folder / "coded" / copy["file"])
        if len(found) == len(frames):
            level = float(strength_of(torch.tensor(copy["qp"])))
            copies.setdefault(copy["scale"], []).append(Copy(found, level))
    return Footage(frames, entry["run"], copies)


def load_footage(folder: Path) -> tuple[list[Footage], list[Footage]]:
    """Clips to train on and those held out; none where this OpenCV decodes no video."""
    index = json.loads((folder / "index.json").read_text())
    with ThreadPoolExecutor(READERS) as pool:
        try:
            found = [list(pool.map(lambda e: load_clip(folder, e), index[n])) for n in ("train", "hold_out")]
        except ValueError as error:
            print(f"no footage: {error}", flush=True)  # noqa: T201
            return [], []
    return found[0], found[1]
