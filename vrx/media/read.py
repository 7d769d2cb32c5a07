"""Files and pipes to frames: one decode, forward only, bounded memory, every frame with its own time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, cast

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame

from vrx.errors import InputError
from vrx.media.color import changes
from vrx.media.deinterlace import Deinterlace, deinterlaced
from vrx.media.extras import Extra, SideData, frame_extras, look
from vrx.media.frame import Color, Frame, Kind, Layout, Note, Plane
from vrx.media.pictures import Pictures
from vrx.media.probe import SourceInfo, color_of, describe, opened, pick_video
from vrx.media.side_data import mastering_of
from vrx.media.timeline import timeline_of
from vrx.media.timing import FREE_RUNNING, Clock, Moves, Timeline

SHORTFALL = Fraction(1, 2)  # seconds a source may end before its header says, without a word
TELL_DURATIONS = {"mov,mp4,m4a,3gp,3g2,mj2", "gif"}  # containers that tell how long each picture is shown
DEPTHS = {  # what planar formats exist in, by kind and alpha
    (Kind.YUV, False): (8, 9, 10, 12, 14, 16),
    (Kind.YUV, True): (8, 9, 10, 12, 16),
    (Kind.RGB, False): (8, 9, 10, 12, 14, 16),
    (Kind.RGB, True): (8, 10, 12, 14, 16),
    (Kind.GRAY, False): (8, 9, 10, 12, 14, 16),
}
BITS = {"monow", "monob"}  # formats of black and white, eight pixels a byte


@dataclass(frozen=True)
class Span:
    """Which part is wanted: seconds from the first frame, and a number of frames."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None
    frames: int | None = None

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
        kind, shift_x, shift_y, alpha = Kind.GRAY, 0, 0, False
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
        planes.append(rows[:, : plane.width].copy())
    if layout.kind is Kind.RGB:  # stored as G, B, R
        planes = [planes[2], planes[0], planes[1], *planes[3:]]
    return tuple(planes)


class Reader:
    """An open source.  A context manager; `frames` may be walked once.

    `info` describes the source, `layout` and `color` its first picture.  `on_note` hears of damage,
    of repaired times and of a source that ends early; the same words once.
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
        self.rotation, self.interlaced = 0, False
        self.mastering: dict[str, bytes] = {}
        self._announced: set[Extra] | None = None  # what `side_data` found; later pictures may bring more
        self.end = Fraction(0)  # when the last picture read so far stops being shown, in seconds
        self._source, self._said = source, set[str]()
        self._last_duration, self._cut = 0, False
        try:
            self._pictures = self._open()
            self._first: VideoFrame = self._open_first()
            base = Fraction(self._first.time_base or self.info.video.time_base)
            self._began = (self._first.pts or 0) * base
            if span.start:
                self._go_to_start()
        except BaseException:
            self._stack.close()
            raise
        video = self.info.video
        self.layout = layout_of(self._first.format.name, self.name)
        self.color = merged(color_of(self._first), video.color, self._first.format.name)
        self._stored = (self._first.width, self._first.height)
        self.size = self._stored
        self.interlaced = bool(self._first.interlaced_frame)
        self.rotation = int(self._first.rotation or 0)
        self.mastering = {} if self.info.still else mastering_of(self._first, video.codec)
        if self.info.still and self.rotation:
            self._turn_still()

    def described(self) -> SourceInfo:
        """The source with what only its first picture tells."""
        video = replace(
            self.info.video,
            size=self.size,
            color=self.color,
            rotation=self.rotation,
            interlaced="yes" if self.interlaced else "",
        )
        return replace(self.info, video=video)

    def side_data(self) -> SideData:
        """What the video says beside its pictures.  What shows in later pictures only, `frames` notes from then on."""
        found = SideData() if self.info.still else look(self.info.path, self.info.video.index, self.name)
        self._announced = set() if self.info.still else set(found.extras)
        return found

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _turn_still(self) -> None:
        """Pictures have no place to keep a rotation that everyone reads: turn the pixels instead."""
        if self.rotation % 180:
            self.size = self.size[::-1]
            self.layout = replace(self.layout, shift_x=self.layout.shift_y, shift_y=self.layout.shift_x)

    @cached_property
    def timeline(self) -> Timeline | None:
        """The continuous clock of a source whose own runs freely; looked for when it is first needed."""
        free = self.info.container in FREE_RUNNING
        return timeline_of(self._source, self.name, self.info.video) if free else None

    @property
    def zero(self) -> Fraction:
        """The time of the source's first part, in seconds, that is zero here."""
        return Fraction(0) if self.timeline is None else self.timeline.zero(self._began)

    @property
    def origin(self) -> Fraction:
        """When the first picture of the file is shown, in seconds."""
        return self._began - self.zero

    @property
    def shown_until(self) -> Fraction | None:
        """When the last picture read stops being shown, in seconds; None where the container does not tell."""
        return self.end if self._cut or self.info.container in TELL_DURATIONS else None

    def timed(self) -> SourceInfo:
        """The source with the duration that its continuous clock has, which headers of joined files do not tell."""
        if self.timeline is None:
            return self.info
        duration = self.timeline.end - self.zero
        video = replace(self.info.video, start=self.origin, duration=self.timeline.end - self._began, frames=0)
        return replace(self.info, start=Fraction(0), duration=duration, video=video)

    def _open(self, moves: Moves | None = None) -> Iterator[VideoFrame]:
        """Open the source, again where it is open, and decode from its start."""
        self._stack.close()
        self._container = self._stack.enter_context(opened(self._source, self.name))
        self.info: SourceInfo = describe(self._container, self.name, self._source)
        stream = pick_video(self._container, self.name)
        stream.thread_type = "AUTO"
        self._decoder = Pictures(self._container, stream, self.name, moves)
        return self._decoder.decode()

    def _open_first(self) -> VideoFrame:
        first = next(self._pictures, None)
        if first is None:
            why = "its video cannot be decoded" if self._decoder.damaged else "it holds no frames"
            raise InputError(f"cannot read {self.name}: {why}")
        return first

    def _go_to_start(self) -> None:
        """Go to the chosen part, or where the clock restarts inside, back to the start with a repaired one."""
        moves = None if self.timeline is None or self.timeline.plain else self.timeline.moves[self.info.video.index]
        if moves is not None:
            self._pictures = self._open(moves)
        elif self._span.start and not self.info.still:
            keys = self.timeline.keys if self.timeline is not None else {}
            found = self._decoder.seek(self._began + self._span.start, self._began, keys)
            self._pictures = self._open() if found is None else found
        else:
            return
        self._first = self._open_first()

    def frames(self) -> Iterator[Frame]:
        """Every wanted frame in order of time."""
        count = 0
        if not self._span.start:
            self._go_to_start()
        clock = Clock(self.info.video.time_base, self.info.video.rate)
        zero = round(self.zero / clock.time_base)
        for picture in deinterlaced(self._all(), self._deinterlace):
            pts, repaired = clock.stamp(None if picture.pts is None else picture.pts - zero)
            if repaired:
                self._say(repaired)
            time = pts * clock.time_base
            if time - self.origin < self._span.start:
                continue
            if self._past(time - self.origin, count):
                self._cut = True
                self.end = time if self._span.end is None else min(time, self.origin + self._span.end)
                break
            count += 1
            self.end = time + (self._last_duration or clock.step) * clock.time_base
            yield self._frame(picture, pts)
        if count == 0:
            raise InputError(f"cannot read {self.name}: no frames in the chosen part")
        if not self._cut:
            self._compare(self.end)

    def _all(self) -> Iterator[VideoFrame]:
        """Every picture in the size of the first."""
        for picture in chain([self._first], self._pictures):
            self._last_duration = picture.duration
            self._watch_side_data(picture)
            if (picture.width, picture.height) != self._stored:
                self._say(f"the size changes to {picture.width}x{picture.height}; scaled to the first")
                picture = picture.reformat(width=self._stored[0], height=self._stored[1])
            if self._deinterlace is Deinterlace.FLAGGED and picture.interlaced_frame and not self.interlaced:
                self.interlaced = True
                self._say(f"interlaced pictures begin at {picture.time or 0:.2f} s; made whole first")
            yield picture

    def _watch_side_data(self, picture: VideoFrame) -> None:
        """Say what begins after the pictures that `side_data` looked at."""
        if self._announced is None or self.info.still:
            return
        for extra in frame_extras(picture, self.info.video.codec) - self._announced:
            self._announced.add(extra)
            self._say(f"from {float(picture.time or 0):.2f} s on, {extra.value} cannot be kept")

    def _say(self, text: str) -> None:
        """Tell about the source, the same words once."""
        if text not in self._said:
            self._said.add(text)
            self._note(f"{self.name}: {text}")

    def _past(self, time: Fraction, count: int) -> bool:
        span = self._span
        return (span.end is not None and time >= span.end) or (span.frames is not None and count >= span.frames)

    def _frame(self, picture: VideoFrame, pts: int) -> Frame:
        layout = self.layout
        if self.info.still and self.rotation:
            stored = replace(layout, shift_x=layout.shift_y, shift_y=layout.shift_x) if self.rotation % 180 else layout
            turns = round(self.rotation / 90)
            planes: tuple[Plane, ...] = tuple(
                cast(Plane, np.ascontiguousarray(np.rot90(p, turns))) for p in planes_of(picture, stored)
            )
        else:
            planes = planes_of(picture, layout)
        color = self._color_now(picture)
        return Frame(planes, layout, color, pts, self.info.video.time_base, bool(picture.interlaced_frame))

    def _color_now(self, picture: VideoFrame) -> Color:
        """A picture's own color; joined recordings change theirs, and samples mean what their own tags say."""
        color = merged(color_of(picture), self.color, picture.format.name)
        if not self.info.still:
            for change in changes(self.color, color, self.layout, self._stored):
                self._say(change)
            if layout_of(picture.format.name, self.name) != self.layout:
                self._say(f"the pixel format changes to {picture.format.name}; converted to the first")
        return color

    def _compare(self, end: Fraction) -> None:
        """Say where a source ends before its header says, and how many packets were damaged."""
        if self._decoder.damaged:
            self._say(f"{self._decoder.damaged} damaged packets were passed over")
        info = self.timed()
        said = info.video.duration or info.duration
        if said is None or info.still:
            return
        began = self.origin
        if not info.video.duration and "matroska" in info.container:
            began = min(began, Fraction(0))  # its duration counts from 0, whenever the first picture is shown
        if said - (end - began) > max(SHORTFALL, 3 / (info.video.rate or 25)):
            self._say(f"the video ends at {float(end - began):.2f} of {float(said):.2f} s; the file may be truncated")


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
