"""Pictures as JPEG inside a page, within a number of bytes."""

from __future__ import annotations

import base64

import cv2
from torch import Tensor

from vrx.media.lettering import Picture
from vrx.pipeline.pictures import scaled, to_picture

SIDE = 1600  # pixels of a picture's longer side, at most
QUALITIES = (92, 85, 75, 60, 40)  # of JPEG; the first that fits
PICTURE_BYTES = 1_000_000  # of one picture, at most, unless the lowest quality takes more
FULL_CHROMA = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


def fitted(colors: Tensor, side: int = SIDE) -> Picture:
    """Colors [3, H, W] in 0..1 as RGB, made smaller where the longer side is above `side`."""
    picture = to_picture(colors)
    share = side / max(picture.shape[:2])
    if share >= 1:
        return picture
    return scaled(picture, (max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share))))


def jpeg(picture: Picture, most: int = PICTURE_BYTES) -> bytes:
    """RGB [H, W, 3] as JPEG with full chroma, in at most so many bytes where some quality makes that possible."""
    content = b""
    for quality in QUALITIES:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, *FULL_CHROMA]
        content = cv2.imencode(".jpg", picture[..., ::-1], options)[1].tobytes()
        if len(content) <= most:
            break
    return content


def data_address(picture: Picture) -> str:
    """A picture as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture)).decode()
