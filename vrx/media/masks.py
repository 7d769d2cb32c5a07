"""Inpainting masks: one picture, a folder of pictures, or a video; white marks what to fill."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from vrx.errors import InputError, UsageError
from vrx.events import Note, Notify
from vrx.media.decoder import FrameDecoder
from vrx.media.earlier_results import results_among_masks
from vrx.media.file_types import STILL_SUFFIXES, is_pattern, is_still, sequence_members
from vrx.media.image_sequence import MAX_NAMES, check_no_gaps, member_name, read_header, sort_by_number, unique_members
from vrx.media.orientation import UPRIGHT, Orientation, read_orientation
from vrx.media.probe import open_input
from vrx.media.timeline import find_shifts
from vrx.media.video_stream import pick_video

Mask = NDArray[np.bool_]
MIN_LEVEL = 1  # values from here on are filled, soft edges included
MIN_LEVEL_LOSSY = 32  # the same for lossy files, whose black is inexact
LIMITED_BLACK = 16  # black of limited range, as found in gray pictures without range tags
MAX_BLACK, MIN_CONTRAST = 64, 64  # brighter or less contrasty pictures have no black
FOUND_TITLE = "vrx mask"  # of the stream of a mask that was found
MIN_ALPHA = 128  # alpha from here on counts
TIME_SLACK = Fraction(2, 1000)  # seconds; Matroska rounds by half a ms: mask and video, each frame and their first


def read_still_mask(path: Path) -> Mask:
    """One picture as [H, W], true where it is not black and not transparent."""
    with open_input(path, str(path)) as container:
        try:
            stream = pick_video(container, str(path))
            picture = next(container.decode(stream))
        except (av.error.FFmpegError, StopIteration, EOFError) as error:
            raise InputError(f"cannot read the mask {path}: no picture in it") from error
    return (read_orientation(picture) or UPRIGHT).turn(frame_to_mask(picture, stream.codec_context.codec))


def frame_to_mask(picture: av.VideoFrame, codec: av.Codec) -> Mask:
    """A decoded picture, as it is stored, as a mask."""
    form = picture.format
    exact = not codec.lossy or (codec.name == "webp" and form.is_rgb)  # several codecs are both, and mostly lossy
    gray = sum(not part.is_alpha for part in form.components) == 1
    deep = (form.is_rgb or gray) and max(part.bits for part in form.components) > 8
    pixels = picture.to_ndarray(format="rgba64le" if deep else "rgba")
    unit = 257 if deep else 1
    light, opaque = pixels[..., :3].max(-1), pixels[..., 3] >= MIN_ALPHA * unit
    least = black_level(light, opaque, unit) + (MIN_LEVEL if exact else MIN_LEVEL_LOSSY * unit)
    return cast(Mask, (light >= least) & opaque)


def black_level(light: NDArray[np.uint8 | np.uint16], opaque: Mask, unit: int) -> int:
    """The black level: that of limited range, or the darkest value of a picture without black."""
    darkest, brightest = int(light.min()), int(light.max())
    studio = darkest // max(1, unit - 1) == LIMITED_BLACK  # of 16 bits: 16 * 256 or 16 * 257
    lifted = darkest < MAX_BLACK * unit and brightest - darkest >= MIN_CONTRAST * unit
    return darkest if opaque.all() and (studio or lifted) else 0


def same_shape(mask: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a mask of a (width, height) has the shape of a picture of another; rounding is forgiven."""
    (width, height), (wide, high) = mask, size
    return abs(width * high - height * wide) <= max(size) * max(1, max(mask) // max(size))


def resize_mask(mask: Mask, size: tuple[int, int], name: str) -> Mask:
    """A mask at the size (width, height) in which the video is shown: unchanged, or scaled where the shape is the same.

    Raises UsageError where the shapes differ: a stretched mask marks the wrong things.
    """
    height, width = mask.shape
    if (width, height) == size:
        return mask
    if not same_shape((width, height), size):
        raise shape_error(name, (width, height), size)
    rows = (np.arange(size[1]) * height) // size[1]
    columns = (np.arange(size[0]) * width) // size[0]
    scaled: Mask = mask[rows[:, None], columns[None, :]]
    return scaled


def shape_error(name: str, mask: tuple[int, int], size: tuple[int, int]) -> UsageError:
    """The error of a mask whose shape is not that of the video."""
    return UsageError(
        f"the mask {name} is {mask[0]}x{mask[1]}, the video is displayed at {size[0]}x{size[1]}",
        "Use a mask with the aspect ratio of the video",
    )


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by name, without hidden ones."""
    files = sorted(folder.iterdir())
    return [p for p in files if p.suffix.lower() in STILL_SUFFIXES and not p.name.startswith(".") and p.is_file()]


def list_mask_files(path: Path, size: tuple[int, int], notify: Notify) -> list[Path]:
    """The pictures of a folder or a pattern, one a frame, in the order of their numbers.

    Hidden files are ignored, and results of earlier runs, which `notify` gets.  Raises UsageError for a folder without
    any and for one whose shape is not `size`, InputError where numbers are missing or one cannot be opened.
    """
    if path.is_dir():
        files = pictures_in(path)
        results = results_among_masks(files)
        if results:
            names = ", ".join(p.name for p in results[:MAX_NAMES]) + (", ..." if len(results) > MAX_NAMES else "")
            text = f"the mask {path}: skipping results of earlier runs ({names})"
            notify(Note("masks-skipped", text, {"count": len(results)}))
        found = sort_by_number(f"the mask {path}", [p for p in files if p not in results])
        if not found:
            hint = "Put one PNG per frame into it, or a mask named after each input (clip.mask.mkv)"
            raise UsageError(f"the mask folder {path} has no pictures", hint)
    else:
        members = unique_members(path, sequence_members(path))
        if not members:
            raise InputError(f"cannot read the mask {path}: no such files")
        check_no_gaps(f"the mask {path}", [number for number, _ in members], lambda n: member_name(path, n))
        found = [file for _, file in members]
    for file in found:
        shown = read_header(file).display_size
        if not same_shape(shown, size):
            raise shape_error(str(file), shown, size)
    return found


def is_found_mask(path: Path) -> bool:
    """Whether a video is a mask that vrx mask made, which ends beyond what it hides."""
    with open_input(path, str(path)) as container:
        return pick_video(container, str(path)).metadata.get("title") == FOUND_TITLE


def format_count(masks: int) -> str:
    """A number of masks, in words."""
    return f"{masks} mask{'' if masks == 1 else 's'}"


class MaskTrack:
    """The mask at a time of the video.  A context manager; times must not go back.

    Masks are read in the orientation of the displayed video and returned in that of its stored pixels.  A still
    holds for all frames.  A folder gives one mask a frame, a video the one shown at that time, up to what
    containers round; when they end, the last one is used, with one warning.
    """

    def __init__(self, path: Path, stored: tuple[int, int], notify: Notify, orientation: Orientation = UPRIGHT) -> None:
        self.name, self._size, self._notify = str(path), orientation.size(stored), notify
        self._inverse = orientation.inverse
        self.count: int | None = None  # how many masks there are, where that is known
        self._timed: Iterator[tuple[Fraction | None, Mask]] | None = None
        if path.is_dir() or is_pattern(path):
            files = list_mask_files(path, self._size, notify)
            self.count = len(files)
            self._timed = ((None, read_still_mask(file)) for file in files)
        elif not path.exists():
            raise InputError(f"cannot read the mask {path}: no such file")
        elif not is_still(path):
            self._timed = self._read_video(path)
        self.static = self._timed is None
        self.has_margin = False if self._timed is None or self.count is not None else is_found_mask(path)
        first = (None, read_still_mask(path)) if self._timed is None else next(self._timed, None)
        if first is None:
            raise InputError(f"cannot read the mask {path}: no frames in it")
        self._now = self._to_stored(first[1])
        self._next = next(self._timed, None) if self._timed else None
        self._calls, self._given = 0, 1
        self._shown, self._step = first[0] or Fraction(0), Fraction(0)
        self._short = False
        if self.static and self._now.all():
            raise UsageError(f"the mask {path} is all white: there would be nothing to fill from")
        if self.static and not self._now.any():
            notify(Note("empty-mask", f"the mask {path} is all black: nothing will be filled", level="warning"))

    def _to_stored(self, mask: Mask) -> Mask:
        """A mask in the orientation of the stored pixels."""
        return self._inverse.turn(resize_mask(mask, self._size, self.name))

    def skip(self, masks: int) -> None:
        """Skip the first masks of a folder; call before `at`."""
        for _ in range(masks):
            if self._next is not None:
                self._advance()
        self._calls += masks

    def check_count(self, frames: int) -> None:
        """Warn before work begins where fewer masks are left than the `frames` to come."""
        if self.count is not None and self.count < self._calls + frames:
            total = self._calls + frames
            self._warn_short(f"{format_count(self.count)} for {total} frames", self.count, total)

    def _warn_short(self, how: str, masks: int, frames: int) -> None:
        if not self._short:
            self._short = True
            text = f"the mask {self.name} ends before the video: {how}; the last one is used"
            self._notify(Note("short-mask", text, {"masks": masks, "frames": frames}, "warning"))

    def __enter__(self) -> MaskTrack:
        return self

    def __exit__(self, *exc: object) -> None:
        close = getattr(self._timed, "close", None)
        if close:
            close()

    def _read_video(self, path: Path) -> Iterator[tuple[Fraction | None, Mask]]:
        with open_input(path, str(path)) as container:
            stream = pick_video(container, str(path))
            codec = stream.codec_context.codec
            origin: Fraction | None = None
            turn: Orientation | None = None
            pictures = FrameDecoder(container, stream, str(path), find_shifts(path, container, stream))
            for picture in self._decode(pictures.decode()):
                turn = turn or read_orientation(picture) or UPRIGHT
                time = (
                    None if picture.pts is None else picture.pts * Fraction(picture.time_base or stream.time_base or 1)
                )
                origin = time if origin is None else origin
                begins = None if time is None or origin is None else time - origin
                yield begins, turn.turn(frame_to_mask(picture, codec))

    def _decode(self, pictures: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        try:
            yield from pictures
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"cannot read the mask {self.name}: it is damaged") from error

    def at(self, time: Fraction) -> Mask:
        """The mask [H, W] at `time` seconds after the video's first frame."""
        if self._timed is None:
            return self._now
        self._calls += 1
        while self._next is not None and self._is_due(self._next[0], time):
            self._advance()
        if self._next is None and self._is_overdue(time):
            text = f"{format_count(self._given)}, and frame {self._calls} has none"
            self._warn_short(text, self._given, self._calls)
        return self._now

    def _is_due(self, begins: Fraction | None, time: Fraction) -> bool:
        if begins is None:
            return self._given < self._calls
        return begins - min(TIME_SLACK, (begins - self._shown) / 2) <= time

    def _is_overdue(self, time: Fraction) -> bool:
        """Whether the last mask is used for a frame without one of its own."""
        return self._calls > self._given if not self._step else time >= self._shown + 2 * self._step

    def _advance(self) -> None:
        assert self._timed is not None
        assert self._next is not None
        begins = self._next[0]
        if begins is not None:
            self._step, self._shown = begins - self._shown, begins
        self._now = self._to_stored(self._next[1])
        self._given += 1
        self._next = next(self._timed, None)
