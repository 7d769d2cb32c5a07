"""Masks beside a video: one picture, a folder of pictures, or a video; white marks what to fill."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from vrx.errors import InputError, UsageError
from vrx.media.frame import Note
from vrx.media.pictures import Pictures
from vrx.media.probe import opened, pick_video
from vrx.media.stills import STILL_SUFFIXES, is_pattern, is_still, sequence_members
from vrx.media.timeline import moves_in

Mask = NDArray[np.bool_]
LOSSLESS = {"png", "bmp", "tiff", "ppm", "pgm", "gif", "ffv1", "qtrle", "webp"}
ANY_LIGHT = 1  # gray values from here on are filled: soft edges belong to what is marked
SOME_LIGHT = 32  # the same for lossy files, whose black is not quite black
OPAQUE = 128  # alpha from here on counts


def read_still_mask(path: Path) -> Mask:
    """One picture as [H, W], true where it is not black and not transparent."""
    with opened(path, str(path)) as container:
        try:
            stream = pick_video(container, str(path))
            picture = next(container.decode(stream))
        except (av.error.FFmpegError, StopIteration, EOFError) as error:
            raise InputError(f"cannot read the mask {path}: no picture in it") from error
    return as_mask(picture, stream.codec_context.name)


def as_mask(picture: av.VideoFrame, codec: str) -> Mask:
    """A decoded picture, turned as it wants to be shown, as a mask."""
    light = ANY_LIGHT if codec in LOSSLESS else SOME_LIGHT
    pixels = picture.to_ndarray(format="rgba").astype(np.uint16)
    luma = (pixels[..., 0] * 77 + pixels[..., 1] * 150 + pixels[..., 2] * 29) >> 8
    mask: Mask = (luma >= light) & (pixels[..., 3] >= OPAQUE)
    turns = round((picture.rotation or 0) / 90)
    turned: Mask = np.ascontiguousarray(np.rot90(mask, turns) if turns else mask)
    return turned


def fitted(mask: Mask, size: tuple[int, int], name: str) -> Mask:
    """A mask at the video's size (width, height): unchanged, or scaled where the shape is the same.

    Raises UsageError where the shapes differ: a stretched mask marks the wrong things.
    """
    height, width = mask.shape
    if (width, height) == size:
        return mask
    if abs(width * size[1] - height * size[0]) > max(size) * max(1, max(width, height) // max(size)):
        raise UsageError(
            f"the mask {name} is {width}x{height}, the video {size[0]}x{size[1]}", "Give a mask of the video's shape"
        )
    rows = (np.arange(size[1]) * height) // size[1]
    columns = (np.arange(size[0]) * width) // size[0]
    scaled: Mask = mask[rows[:, None], columns[None, :]]
    return scaled


class MaskTrack:
    """The mask at a time of the video.  A context manager; times must not go back.

    A still holds for all frames.  A folder gives one mask a frame, a video the one shown at that time;
    when they end, the last one holds and the user is told once.
    """

    def __init__(self, path: Path, size: tuple[int, int], on_note: Note) -> None:
        self.name, self._size, self._note = str(path), size, on_note
        self._timed: Iterator[tuple[Fraction | None, Mask]] | None = None
        if path.is_dir():
            members = sorted(p for p in path.iterdir() if p.suffix.lower() in STILL_SUFFIXES)
            if not members:
                raise UsageError(f"the mask folder {path} holds no pictures", "Put one PNG a frame into it")
            self._timed = ((None, read_still_mask(p)) for p in members)
        elif is_pattern(path):
            found = sequence_members(path)
            if not found:
                raise InputError(f"cannot read the mask {path}: no such files")
            self._timed = ((None, read_still_mask(p)) for p in found)
        elif not path.exists():
            raise InputError(f"cannot read the mask {path}: no such file")
        elif not is_still(path):
            self._timed = self._video(path)
        self.static = self._timed is None
        first = (None, read_still_mask(path)) if self._timed is None else next(self._timed, None)
        if first is None:
            raise InputError(f"cannot read the mask {path}: no frames in it")
        self._now = fitted(first[1], size, self.name)
        self._next = next(self._timed, None) if self._timed else None
        self._calls, self._given = 0, 1
        self._shown, self._step = first[0] or Fraction(0), Fraction(0)
        if self.static and self._now.all():
            raise UsageError(f"the mask {path} is all white: nothing would be left to fill from")
        if self.static and not self._now.any():
            on_note(f"the mask {path} is all black: nothing is filled")

    def __enter__(self) -> MaskTrack:
        return self

    def __exit__(self, *exc: object) -> None:
        close = getattr(self._timed, "close", None)
        if close:
            close()

    def _video(self, path: Path) -> Iterator[tuple[Fraction | None, Mask]]:
        with opened(path, str(path)) as container:
            stream = pick_video(container, str(path))
            origin: Fraction | None = None
            for picture in Pictures(container, stream, str(path), moves_in(path, container, stream)).decode():
                time = (
                    None if picture.pts is None else picture.pts * Fraction(picture.time_base or stream.time_base or 1)
                )
                origin = time if origin is None else origin
                yield (
                    (None if time is None or origin is None else time - origin),
                    as_mask(picture, stream.codec_context.name),
                )

    def at(self, time: Fraction) -> Mask:
        """The mask [H, W] at `time` seconds after the video's first frame."""
        if self._timed is None:
            return self._now
        self._calls += 1
        while self._next is not None and self._due(self._next[0], time):
            self._advance()
        if self._next is None and self._overdue(time):
            self._note(f"the mask {self.name} ends before the video; its last picture holds")
        return self._now

    def _due(self, begins: Fraction | None, time: Fraction) -> bool:
        return self._given < self._calls if begins is None else begins <= time

    def _overdue(self, time: Fraction) -> bool:
        """Whether the last mask stands for a frame that had none of its own."""
        return self._calls > self._given if not self._step else time >= self._shown + 2 * self._step

    def _advance(self) -> None:
        assert self._timed is not None
        assert self._next is not None
        begins = self._next[0]
        if begins is not None:
            self._step, self._shown = begins - self._shown, begins
        self._now = fitted(self._next[1], self._size, self.name)
        self._given += 1
        self._next = next(self._timed, None)
