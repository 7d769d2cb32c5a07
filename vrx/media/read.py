"""Files and pipes to frames: one decode, forward only, bounded memory, every frame with its own time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame

from vrx.errors import InputError
from vrx.media.color import changes, filled_matrix
from vrx.media.deinterlace import Deinterlace, deinterlaced
from vrx.media.extras import Extra, SideData, frame_extras, look
from vrx.media.frame import Color, Frame, Kind, Layout, Note, Plane
from vrx.media.orientation import UPRIGHT, Orientation, read_orientation
from vrx.media.picture_metadata import pictures_in
from vrx.media.probe import SourceInfo, color_of, describe, explain, opened
from vrx.media.sequence import TICK, PictureSequence, common_layout, convert, ends_early
from vrx.media.side_data import mastering_of
from vrx.media.stills import is_pattern
from vrx.media.timing import Clock
from vrx.media.tracks import choice_note, pick_video
from vrx.media.transparency import alpha_decoder, see_through, stored_apart, used_anywhere

SHORTFALL = Fraction(1, 2)  # seconds a source may end before its header says, without a word
DEPTHS = {  # what planar formats exist in, by kind and alpha
    (Kind.YUV, False): (8, 9, 10, 12, 14, 16),
    (Kind.YUV, True): (8, 9, 10, 12, 16),
    (Kind.RGB, False): (8, 9, 10, 12, 14, 16),
    (Kind.RGB, True): (8, 10, 12, 14, 16),
    (Kind.GRAY, False): (8, 9, 10, 12, 14, 16),
    (Kind.GRAY, True): (8, 16),
}
BITS = {"monow", "monob"}  # formats of black and white, eight pixels a byte


@dataclass(frozen=True)
class Span:
    """Which part is wanted: seconds from the first frame, a number of frames, and a stream by its index in the file."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None
    frames: int | None = None
    stream: int | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.start and self.end is None and self.frames is None


def layout_of(pix_fmt: str, name: str = "the source") -> Layout:
    """The planar layout that holds a pixel format without loss.

    Raises InputError for formats that have none (floats, Bayer patterns).
    """
    form = av.VideoFormat(pix_fmt)
    if form.has_palette:
        return Layout(Kind.RGB, 8, alpha=True)
    if form.name in BITS:
        return Layout(Kind.GRAY, 8)
    bits = max((c.bits for c in form.components), default=0)
    if form.is_bit_stream or form.name.startswith("bayer") or not 1 <= bits <= 16 or form.name.startswith("xyz"):
        raise InputError(f"cannot read {name}: pixel format {pix_fmt} is not supported")
    alpha = any(c.is_alpha for c in form.components)
    colors = len(form.components) - alpha
    if form.is_rgb:
        kind, shift_x, shift_y = Kind.RGB, 0, 0
    elif colors == 1:
        kind, shift_x, shift_y = Kind.GRAY, 0, 0
    else:
        kind = Kind.YUV
        shift_x = (4 // max(1, form.chroma_width(4))).bit_length() - 1
        shift_y = (4 // max(1, form.chroma_height(4))).bit_length() - 1
    depth = next(d for d in DEPTHS[kind, alpha] if d >= bits)
    if alpha and kind is Kind.YUV and shift_x + shift_y > 2:
        raise InputError(f"cannot read {name}: pixel format {pix_fmt} is not supported")
    return Layout(kind, depth, shift_x, shift_y, alpha=alpha)


def planes_of(frame: VideoFrame, layout: Layout) -> tuple[Plane, ...]:
    """The samples of a decoded picture as arrays of their own."""
    target = layout.pix_fmt
    name = frame.format.name.replace("yuvj", "yuv")
    if name != target:
        frame = frame.reformat(format=target)
    planes = []
    for plane in frame.planes:
        kind: Any = np.uint8 if layout.depth == 8 else np.dtype("<u2")
        rows = np.frombuffer(plane, dtype=kind)  # type: ignore[call-overload]
        rows = rows.reshape(plane.height, plane.line_size // rows.itemsize)
        if layout.kind is Kind.GRAY and layout.alpha:  # two samples a pixel in one plane
            planes += [rows[:, place : 2 * plane.width : 2].copy() for place in (0, 1)]
        else:
            planes.append(rows[:, : plane.width].copy())
    if layout.kind is Kind.RGB:  # stored as G, B, R
        planes = [planes[2], planes[0], planes[1], *planes[3:]]
    return tuple(planes)


class Reader:
    """An open source.  A context manager; `frames` may be walked once.

    `info` describes the source; `layout`, `color`, `size` and `sample_aspect` the frames it gives, which are
    to be shown in `orientation`: upright for pictures, whose pixels are turned here, as the file says for
    videos until `make_upright`.  `on_note` hears of damage, of repaired times and of a source that ends
    early; the same words once.
    """

    def __init__(
        self,
        source: Path,
        span: Span,
        on_note: Note,
        name: str | None = None,
        deinterlace: Deinterlace = Deinterlace.OFF,
    ) -> None:
        self._stack = ExitStack()
        self.name = name or str(source)
        self._deinterlace = deinterlace
        self._span, self._note = span, on_note
        self.interlaced = False
        self.origin = Fraction(0)  # when the first picture of the file is shown, in seconds
        self.mastering: dict[str, bytes] = {}
        self._announced: set[Extra] | None = None  # what `side_data` found; later pictures may bring more
        try:
            self._sequence = PictureSequence(source, span.start, span.end, span.frames) if is_pattern(source) else None
            first = self._sequence.members[0].path if self._sequence else source
            self._container = self._stack.enter_context(opened(first, self.name))
            self._stream = pick_video(self._container, self.name, span.stream)
            self.info: SourceInfo = describe(self._container, self.name, source, self._stream)
            self._say_choice(source)
            self._stream.thread_type = "AUTO"
            self._seekable = not self.info.still
            self._clock = Clock(self.info.video.time_base, self.info.video.rate)
            self._damaged = 0
            self._pictures = self._decode() if self._sequence is None else self._sequence.pictures()
            self._first: VideoFrame = self._open_first()
        except BaseException:
            self._stack.close()
            raise
        video = self.info.video
        self.layout = layout_of(self._first.format.name, self.name)
        self.color = merged(color_of(self._first), video.color, self._first.format.name)
        self._stored = (self._first.width, self._first.height)
        self.size = self._stored
        self.sample_aspect = video.sample_aspect
        self.interlaced = bool(self._first.interlaced_frame)
        self.transparent = self._transparent()
        if not self.transparent and self._alpha_by_format():
            self.layout = replace(self.layout, alpha=False)
        if stored_apart(self._stream) and not self.layout.alpha:
            on_note(f"{self.name}: its transparency cannot be decoded here and is lost")
        self.mastering = {} if self.info.still else mastering_of(self._first, video.codec)
        self.turned = UPRIGHT
        self.orientation = self._read_orientation()
        if self.info.still:  # pictures have no place to keep an orientation that everyone reads
            self.make_upright()
        if self._sequence is not None:
            self._describe_sequence(self._sequence)
        elif self.info.still and ends_early(source):
            self._note(f"{self.name}: the picture ends too early; what is there of it is used")

    def _describe_sequence(self, sequence: PictureSequence) -> None:
        """What only all pictures together tell."""
        headers = [(member.path, member.header) for member in sequence.members]
        self.layout = common_layout(h.turn.layout(layout_of(h.pix_fmt, str(path))) for path, h in headers)
        self.transparent = self.layout.alpha
        self.origin = Fraction(0)
        self._clock.begin(0)
        length = len(headers) * TICK
        formats = {header.pix_fmt for _, header in headers}
        name = formats.pop() if len(formats) == 1 else self.layout.pix_fmt
        video = replace(self.info.video, frames=len(headers), duration=length, pix_fmt=name)
        self.info = replace(self.info, video=video, duration=length)
        for path, _ in headers:
            if ends_early(path):
                self._note(f"{path}: the picture ends too early; what is there of it is used")

    def described(self) -> SourceInfo:
        """The source with what only its first picture tells."""
        video = replace(
            self.info.video,
            size=self.size,
            color=self.color,
            rotation=self.orientation.rotation,
            mirrored=self.orientation.mirrored,
            interlaced="yes" if self.interlaced else "",
        )
        return replace(self.info, video=video)

    def side_data(self) -> SideData:
        """What the video says beside its pictures.  What shows in later pictures only, `frames` notes from then on."""
        plain = self.info.still or self.info.animated
        found = SideData() if plain else look(self.info.path, self._stream.index, self.name)
        self._announced = set(found.extras)
        return found

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pictures.close()
        self._stack.close()

    def _say_choice(self, source: Path) -> None:
        """Say which of several streams or pictures is read."""
        if self.info.still:
            count = 1 if is_pattern(source) else pictures_in(source)
            if count > 1:
                self._note(f"{self.name}: it holds {count} pictures; the main one is restored, the others are left out")
        elif not self.info.animated and self._span.stream is None:  # an animation's further streams are parts of it
            choice = choice_note(self._container, self._stream)
            if choice:
                self._note(f"{self.name}: {choice}")

    def _transparent(self) -> bool:
        """Whether the alpha plane is used: looked at in a single picture and in animations, believed elsewhere."""
        if not self.layout.alpha:
            return False
        if self.info.moving_picture:
            return used_anywhere(self._container.name, self._stream.index)
        return is_pattern(self.info.path) or not self.info.still or see_through(self._first)

    def _alpha_by_format(self) -> bool:
        """Whether there is an alpha plane because the format always has one, not because somebody wanted it."""
        palette = self._first.format.has_palette
        return self.info.moving_picture or (self.info.still and (palette or self.info.video.codec == "mjpeg"))

    def _read_orientation(self) -> Orientation:
        """How the file's first picture asks to be shown."""
        if self._asked is None:
            self._note(f"{self.name}: asks to be shown at an angle; only quarter turns and mirrors are kept")
        return self._asked or UPRIGHT

    def make_upright(self) -> None:
        """Turn the pixels of all frames to how they are to be shown; before `frames` is walked."""
        if self.orientation == UPRIGHT:
            return
        turn, size = self.orientation, self.size
        self.size, self.sample_aspect = turn.size(size), turn.aspect(self.sample_aspect)
        # what untagged colors are taken for depends on the size: decided before it changes
        self.color = turn.color(filled_matrix(self.color, self.layout, size, self.size), self.layout)
        self.layout = turn.layout(self.layout)
        self.turned, self.orientation = turn, UPRIGHT

    def _decode(self) -> Generator[VideoFrame]:
        """Pictures one by one; damaged packets are passed over and counted."""
        packets = self._container.demux(self._stream)
        decoder = alpha_decoder(self._stream) or self._stream  # one for each start: nothing of before a seek is left
        while True:
            try:
                packet = next(packets)
                pictures = decoder.decode(packet)
            except (StopIteration, EOFError):
                return
            except av.error.InvalidDataError:
                self._damaged += 1
                if self._damaged > 10_000:
                    return
                continue
            except (av.error.FFmpegError, OSError) as error:
                raise explain(error, self.name) from error
            yield from pictures

    def _open_first(self) -> VideoFrame:
        first = next(self._pictures, None)
        if first is None:
            why = "its video cannot be decoded" if self._damaged else "it holds no frames"
            raise InputError(f"cannot read {self.name}: {why}")
        self._rotation = first.rotation
        self._asked = read_orientation(first)  # H.264 and HEVC say it on some pictures only
        self.origin = (first.pts or 0) * Fraction(first.time_base or self.info.video.time_base)
        if not self._span.start or not self._seekable:
            return first
        target = int((self.origin + self._span.start) / (self._stream.time_base or Fraction(1, 1000)))
        self._clock.begin(first.pts)
        self._container.seek(target, stream=self._stream, backward=True)
        self._pictures = self._decode()
        return next(self._pictures, None) or first

    def frames(self) -> Iterator[Frame]:
        """Every wanted frame in order of time."""
        count, last_end = 0, Fraction(0)
        complete = True
        origin: Fraction | None = self._clock.origin
        for picture in deinterlaced(self._all(), self._deinterlace):
            pts, repaired = self._clock.stamp(picture.pts)
            if repaired:
                self._note(f"{self.name}: {repaired}")
            time = pts * self._clock.time_base
            origin = time if origin is None else origin
            if time - origin < self._span.start:
                continue
            if self._past(time - origin, count):
                complete = False
                break
            count += 1
            last_end = time + self._clock.step * self._clock.time_base
            yield self._frame(picture, pts)
        if count == 0:
            raise InputError(f"cannot read {self.name}: no frames in the chosen part")
        if complete:
            self._compare(last_end)

    def _all(self) -> Iterator[VideoFrame]:
        """Every picture in the size of the first."""
        yield self._first
        for picture in self._pictures:
            self._watch_side_data(picture)
            if self._sequence is None and (picture.width, picture.height) != self._stored:
                self._note(f"{self.name}: the size changes to {picture.width}x{picture.height}; scaled to the first")
                picture = picture.reformat(width=self._stored[0], height=self._stored[1])
            if self._sequence is None and picture.rotation and picture.rotation != self._rotation:
                self._note(f"{self.name}: the orientation changes at {picture.time or 0:.2f} s; the first one holds")
            if self._deinterlace is Deinterlace.FLAGGED and picture.interlaced_frame and not self.interlaced:
                self.interlaced = True
                self._note(f"{self.name}: interlaced pictures begin at {picture.time or 0:.2f} s; made whole first")
            yield picture

    def _watch_side_data(self, picture: VideoFrame) -> None:
        """Say what begins after the pictures that `side_data` looked at."""
        if self._announced is None or self.info.still:
            return
        for extra in frame_extras(picture, self.info.video.codec) - self._announced:
            self._announced.add(extra)
            self._note(f"{self.name}: from {float(picture.time or 0):.2f} s on, {extra.value} cannot be kept")

    def _past(self, time: Fraction, count: int) -> bool:
        span = self._span
        return (span.end is not None and time >= span.end) or (span.frames is not None and count >= span.frames)

    def _frame(self, picture: VideoFrame, pts: int) -> Frame:
        planes, color = self._planes(picture), self._color_now(picture)
        return Frame(planes, self.layout, color, pts, self._clock.time_base, bool(picture.interlaced_frame))

    def _planes(self, picture: VideoFrame) -> tuple[Plane, ...]:
        """The samples as shown, in the layout of all frames."""
        turn, layout = self.turned, self.layout
        if self._sequence is not None:
            turn = self._sequence.turn_at(picture.pts or 0)
            own = turn.layout(layout_of(picture.format.name, self.name))
            layout = layout if own.kind is Kind.YUV else own
        planes = tuple(cast(Plane, turn.turn(plane)) for plane in planes_of(picture, turn.inverse.layout(layout)))
        return planes if layout == self.layout else convert(planes, layout, self.layout)

    def _color_now(self, picture: VideoFrame) -> Color:
        """A picture's own color; joined recordings change theirs, and samples mean what their own tags say."""
        color = merged(color_of(picture), self.color, picture.format.name)
        if not self.info.still:
            for change in changes(self.color, color, self.layout, self._stored):
                self._note(f"{self.name}: {change}")
            if self.turned.layout(layout_of(picture.format.name, self.name)) != self.layout:
                self._note(f"{self.name}: the pixel format changes to {picture.format.name}; converted to the first")
        return color

    def _compare(self, end: Fraction) -> None:
        """Say where a source ends before its header says, and how many packets were damaged."""
        if self._damaged:
            self._note(f"{self.name}: {self._damaged} damaged packets were passed over")
        video = self.info.video
        said = video.duration if video.duration else self.info.duration
        if said is None or self.info.still:
            return
        began = self._clock.origin if self._clock.origin is not None else Fraction(0)
        if not video.duration and "matroska" in self.info.container:
            began = min(began, Fraction(0))  # its duration counts from 0, whenever the first picture is shown
        if said - (end - began) > max(SHORTFALL, 3 / (video.rate or 25)):
            self._note(
                f"{self.name}: the video ends at {float(end - began):.2f} of {float(said):.2f} s; "
                "the file may be truncated"
            )


def merged(frame: Color, stream: Color, pix_fmt: str) -> Color:
    """A frame's tags, and the stream's where the frame has none."""
    full = frame.full_range if frame.full_range is not None else stream.full_range
    if full is None and pix_fmt.startswith("yuvj"):
        full = True
    return Color(
        matrix=frame.matrix or stream.matrix,
        primaries=frame.primaries or stream.primaries,
        transfer=frame.transfer or stream.transfer,
        full_range=full,
        chroma_location=frame.chroma_location or stream.chroma_location,
    )
