"""Image sequences: numbered pictures as one video, all checked before the first is decoded."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any, cast

import av
import av.error
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from vrx.errors import InputError
from vrx.media.chosen_part import no_frames
from vrx.media.file_types import PATTERN, SEQUENCE_RATE, sequence_members
from vrx.media.frame import Kind, Layout, Plane
from vrx.media.orientation import UPRIGHT, Orientation, read_orientation
from vrx.media.probe import check_regular, input_error, open_input
from vrx.media.video_stream import pick_video
from vrx.settings import LIMIT, too_large

MAX_NAMES = 5  # files that an error lists before it counts the rest
PIXEL_FORMATS: set[str] = cast(Any, av.video.format).names
HEADER_BYTES = 1 << 16  # bytes at either end of a picture that are searched for EXIF data and its end
NUMBER_PATTERN = r"(\d+)"  # splits a name so that every other part is a number
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_FORMATS = {  # FFmpeg's formats, by color type and whether samples have 16 bits
    (0, False): "gray", (0, True): "gray16be", (2, False): "rgb24", (2, True): "rgb48be", (3, False): "pal8",
    (4, False): "ya8", (4, True): "ya16be", (6, False): "rgba", (6, True): "rgba64be",
}  # fmt: skip
ALPHA_FORMATS = {"gray": "ya8", "gray16be": "ya16be", "rgb24": "rgba", "rgb48be": "rgba64be"}  # with one color left out
JPEG_SUFFIXES = {".jpg", ".jpeg"}
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"


@dataclass(frozen=True)
class Header:
    """A picture's stored size (width, height), pixel format and codec by FFmpeg's names, and orientation."""

    size: tuple[int, int]
    pix_fmt: str
    codec: str
    turn: Orientation = UPRIGHT

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) as shown."""
        return self.turn.size(self.size)


@dataclass(frozen=True)
class Member:
    """One picture of a sequence."""

    number: int
    path: Path
    header: Header


class ImageSequence:
    """The pictures of a pattern such as `f_%05d.png` between two times, in the order of their numbers.

    The first number is time 0, whether in the span or not; a missing number leaves a gap in time.  `tick` is the
    time from one number to the next, in seconds.
    Raises InputError where there are none, where one that is wanted is missing or cannot be opened, and
    where one is shown in another size than the first.
    """

    def __init__(
        self, pattern: Path, times: tuple[Fraction, Fraction | None], frames: int | None, fps: Fraction | None = None
    ) -> None:
        start, end = times
        self.tick = 1 / (fps or Fraction(SEQUENCE_RATE))
        found = unique_members(pattern, sequence_members(pattern))
        if not found:
            raise InputError(f"cannot read {pattern}: no such files")
        self.first = found[0][0]
        begin = self.first + max(0, ceil(start / self.tick))
        limits = [found[-1][0] + 1]  # the first number that is not wanted
        limits += [] if end is None else [self.first + ceil(end / self.tick)]
        limits += [] if frames is None else [begin + frames]
        wanted = [(number, path) for number, path in found if begin <= number < min(limits)]
        if not wanted:
            raise no_frames(pattern, start, (limits[0] - self.first) * self.tick)
        numbers = [number for number, _ in wanted]
        hint = "Add what is missing, or restore a part without it with --start and --frames"
        check_no_gaps(str(pattern), [begin - 1, *numbers, min(limits)], lambda n: member_name(pattern, n), hint)
        self.members = [Member(number, path, read_header(path)) for number, path in wanted]
        check_same_size(str(pattern), self.members)
        self._turns = {member.number - self.first: member.header.turn for member in self.members}

    def orientation_at(self, ticks: int) -> Orientation:
        """How the picture of a time is turned."""
        return self._turns[ticks]

    def pictures(self) -> Generator[VideoFrame]:
        """Every member decoded, its time counted in ticks.  Raises InputError for the first that cannot be."""
        for member in self.members:
            picture = decode_picture(member.path, member.header.codec)
            if (picture.width, picture.height) != member.header.size:
                raise InputError(f"cannot read {member.path}: it was changed while the sequence was read")
            picture.pts, picture.time_base = member.number - self.first, self.tick
            yield picture


def unique_members(pattern: Path, members: Iterable[Path]) -> list[tuple[int, Path]]:
    """Members by number; of several with the same number the one that matches the pattern exactly."""
    head = len(PATTERN.split(pattern.name)[0])
    found: dict[int, Path] = {}
    for path in members:
        number = int(re.findall(r"\d+", path.name[head:])[0])
        if number not in found or path.name == member_name(pattern, number):
            found[number] = path
    return sorted(found.items())


def member_name(pattern: Path, number: int) -> str:
    """The name of one member."""
    return PATTERN.sub(lambda match: match.group() % number, pattern.name, count=1)


def sort_by_number(where: str, paths: Iterable[Path]) -> list[Path]:
    """Files in the order of the numbers in their names, `a_2` before `a_10`.

    Raises InputError where the names differ in one number only and that leaves some out or comes twice.
    """
    ordered = [path for _, path in sorted((natural_key(path.name), path) for path in paths)]
    names = [re.split(NUMBER_PATTERN, path.name) for path in ordered]  # text, digits, text, ...
    if len({tuple(parts[::2]) for parts in names}) != 1:
        return ordered
    places = [place for place in range(1, len(names[0]), 2) if len({parts[place] for parts in names}) > 1]
    if len(places) != 1:
        return ordered
    numbers = [int(parts[places[0]]) for parts in names]
    before, digits, after = "".join(names[0][: places[0]]), names[0][places[0]], "".join(names[0][places[0] + 1 :])
    for one, other in pairwise(zip(numbers, ordered, strict=True)):
        if one[0] == other[0]:
            raise InputError(
                f"cannot read {where}: {one[1].name} and {other[1].name} have the same number", "Remove one"
            )
    check_no_gaps(where, numbers, lambda number: f"{before}{number:0{len(digits)}d}{after}")
    return ordered


def natural_key(name: str) -> list[tuple[int, str]]:
    """What names are sorted by so that numbers in them count."""
    return [(int(part), "") if part.isdecimal() else (0, part.casefold()) for part in re.split(NUMBER_PATTERN, name)]


def check_no_gaps(
    where: str, numbers: Sequence[int], name: Callable[[int], str], hint: str = "Add what is missing"
) -> None:
    """Refuse rising numbers that leave some out.  Raises InputError, which names the files that are missing."""
    holes = [range(before + 1, after) for before, after in pairwise(numbers) if after > before + 1]
    count = sum(hole.stop - hole.start for hole in holes)
    if not count:
        return
    names = [name(number) for hole in holes for number in hole[:MAX_NAMES]][:MAX_NAMES]
    listed = ", ".join(names) + (", ..." if count > MAX_NAMES else "")
    reason = f"{listed} is missing" if count == 1 else f"{count} pictures are missing: {listed}"
    raise InputError(f"cannot read {where}: {reason}", hint)


def check_same_size(where: str, members: Sequence[Member]) -> None:
    """Refuse pictures that are not shown in the size of the first.  Raises InputError, which names them."""
    size = members[0].header.display_size
    others = [member for member in members if member.header.display_size != size]
    if not others:
        return
    listed = ", ".join(
        f"{m.path.name} is {m.header.display_size[0]}x{m.header.display_size[1]}" for m in others[:MAX_NAMES]
    )
    raise InputError(
        f"cannot read {where}: its pictures differ in size: {members[0].path.name} is {size[0]}x{size[1]}, "
        f"{listed}{', ...' if len(others) > MAX_NAMES else ''}",
        "Bring them to one size first",
    )


def read_header(path: Path) -> Header:
    """A picture's header, without decoding it unless EXIF data may contain an orientation.

    Raises InputError.
    """
    check_regular(path, str(path))
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            file.seek(max(0, path.stat().st_size - HEADER_BYTES))
            tail = file.read()
    except OSError as error:
        raise input_error(error, str(path)) from error
    header = (parse_png_header(path, head) if head.startswith(PNG_SIGNATURE) else None) or probe_header(path)
    if too_large(*header.size):
        raise InputError(f"cannot read {path}: {header.size[0]}x{header.size[1]} is {LIMIT}")
    if b"exif" in (head + tail).lower() or header.codec == "tiff":
        header = replace(header, turn=read_orientation(decode_picture(path, header.codec)) or UPRIGHT)
    return header


def is_truncated_jpeg(path: Path) -> bool:
    """Whether a picture is a JPEG without end marker, which FFmpeg decodes partly, without an error."""
    if path.suffix.lower() not in JPEG_SUFFIXES:
        return False
    data = path.read_bytes()
    place = 2
    while data[place : place + 1] == b"\xff" and data[place : place + 2] != JPEG_SCAN:  # a thumbnail has an end too
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return JPEG_END not in data[place:]


def parse_png_header(path: Path, head: bytes) -> Header | None:
    """The header of a PNG picture, which FFmpeg would decode for it; None where it is none that is known."""
    if path.suffix.lower() != ".png" or len(head) < 29 or head[12:16] != b"IHDR":
        return None
    width, height, bits, color = struct.unpack(">IIBB", head[16:26])
    pix_fmt = "monob" if (bits, color) == (1, 0) else PNG_FORMATS.get((color, bits == 16))
    if pix_fmt is None or not width or not height:
        return None
    before = head[: head.find(b"IDAT")] if b"IDAT" in head else head
    return Header((width, height), ALPHA_FORMATS.get(pix_fmt, pix_fmt) if b"tRNS" in before else pix_fmt, "png")


def probe_header(path: Path) -> Header:
    """The header of a picture as FFmpeg reads it."""
    with open_input(path, str(path)) as container:
        context = pick_video(container, str(path)).codec_context
        if not context.width or not context.height or not context.pix_fmt:
            raise InputError(f"cannot read {path}: truncated, damaged or not a picture")
        return Header((context.width, context.height), context.pix_fmt, context.name)


def decode_picture(path: Path, codec: str) -> VideoFrame:
    """The picture in a file.  Raises InputError."""
    try:
        context = cast(VideoCodecContext, av.CodecContext.create(codec, "r"))
        pictures = [*context.decode(av.Packet(path.read_bytes())), *context.decode(None)]
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"cannot read {path}: truncated, damaged or not a picture") from error
    if not pictures:
        raise InputError(f"cannot read {path}: no picture in it")
    return pictures[0]


def common_layout(layouts: Iterable[Layout]) -> Layout:
    """The smallest layout that holds all of several without loss."""
    all_of = set(layouts)
    alpha = any(layout.alpha for layout in all_of)
    kinds = {layout.kind for layout in all_of}
    color = [layout for layout in all_of if layout.kind is Kind.YUV]
    if len(all_of) == 1:
        return all_of.pop()
    kind, shifts = Kind.GRAY, (0, 0)
    if Kind.RGB in kinds or (alpha and not color):
        kind = Kind.RGB
    elif color:
        kind, shifts = Kind.YUV, (min(x.shift_x for x in color), min(x.shift_y for x in color))
    least = max(layout.depth for layout in all_of)
    found = (Layout(kind, depth, *pair, alpha=alpha) for pair in (shifts, (0, 0)) for depth in range(least, 17))
    return next(layout for layout in found if layout.pix_fmt in PIXEL_FORMATS)


def convert_planes(planes: tuple[Plane, ...], layout: Layout, wanted: Layout) -> tuple[Plane, ...]:
    """Full-range gray or RGB planes in a layout that holds more; exact, as FFmpeg's deepening is not."""
    colors, alpha = (planes[:-1], planes[-1:]) if layout.alpha else (planes, ())
    if layout.kind is Kind.GRAY and wanted.kind is Kind.RGB:
        colors *= 3
    deep = [change_depth(plane, layout.peak, wanted) for plane in (*colors, *alpha)]
    if layout.kind is Kind.GRAY and wanted.kind is Kind.YUV:
        width, height = wanted.chroma_size(planes[0].shape[1], planes[0].shape[0])
        gray = np.full((height, width), 1 << (wanted.depth - 1), deep[0].dtype)
        deep[1:1] = [gray, gray]
    if wanted.alpha and not alpha:
        deep.append(np.full(planes[0].shape, wanted.peak, deep[0].dtype))
    return tuple(deep)


def change_depth(plane: Plane, peak: int, wanted: Layout) -> Plane:
    """Samples of 0..peak in the depth of a layout."""
    if peak == wanted.peak:
        return plane
    return ((plane.astype(np.uint32) * wanted.peak + peak // 2) // peak).astype("<u2")
