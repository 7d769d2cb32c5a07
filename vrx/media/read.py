"""Files and pipes to frames: one decode, forward only, bounded memory, every frame with its own time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import cast

from av.video.frame import VideoFrame

from vrx.errors import InputError
from vrx.media.alpha import any_transparent_frame, has_separate_alpha, has_transparency
from vrx.media.color import describe_changes, fill_matrix
from vrx.media.decoder import FrameDecoder
from vrx.media.deinterlace import Deinterlace, deinterlace
from vrx.media.file_types import is_pattern
from vrx.media.frame import Color, Frame, Kind, Note, Plane
from vrx.media.frame_side_data import read_hdr10
from vrx.media.image_sequence import TICK, ImageSequence, common_layout, convert_planes, is_truncated_jpeg
from vrx.media.orientation import UPRIGHT, Orientation, read_orientation
from vrx.media.picture_metadata import count_pictures
from vrx.media.pixel_formats import extract_planes, layout_from_pix_fmt, merge_color
from vrx.media.probe import SourceInfo, describe_source, open_input, read_color
from vrx.media.side_data import SideData, SideDataKind, frame_side_data_kinds, probe_side_data
from vrx.media.timeline import scan_timeline
from vrx.media.timing import FREE_RUNNING, Clock, Timeline, TimestampShifts
from vrx.media.video_stream import choice_note, pick_video

MAX_SHORTFALL = Fraction(1, 2)  # seconds a source may end before its header says, without a word
DURATION_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "gif"}  # containers that tell how long each picture is shown


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


class Reader:
    """An open source.  A context manager; `frames` may be walked once.

    `info` describes the source, `layout` and `color` its first picture.  `on_note` hears of damage,
    of repaired times and of a source that ends early; the same words once.
    """

    info: SourceInfo

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
        self.mastering: dict[str, bytes] = {}
        self._announced: set[SideDataKind] | None = None  # what `side_data` found; later pictures may bring more
        self.end = Fraction(0)  # when the last picture read so far stops being shown, in seconds
        self._source, self._said = source, set[str]()
        self._last_duration, self._cut = 0, False
        try:
            self._sequence = ImageSequence(source, span.start, span.end, span.frames) if is_pattern(source) else None
            self._pictures = self._open()
            self._say_choice(source)
            self._first: VideoFrame = self._open_first()
            self._rotation = self._first.rotation
            self._asked = read_orientation(self._first)  # H.264 and HEVC say it on some pictures only
            base = Fraction(self._first.time_base or self.info.video.time_base)
            self._began = (self._first.pts or 0) * base if self._sequence is None else Fraction(0)
            if span.start:
                self._go_to_start()
        except BaseException:
            self._stack.close()
            raise
        video = self.info.video
        self.layout = layout_from_pix_fmt(self._first.format.name, self.name)
        self.color = merge_color(read_color(self._first), video.color, self._first.format.name)
        self._stored = (self._first.width, self._first.height)
        self.size = self._stored
        self.sample_aspect = video.sample_aspect
        self.interlaced = bool(self._first.interlaced_frame)
        self.transparent = self._transparent()
        if not self.transparent and self._alpha_by_format():
            self.layout = replace(self.layout, alpha=False)
        if has_separate_alpha(self._stream) and not self.layout.alpha:
            self._say("its transparency cannot be decoded here and is lost")
        self.mastering = {} if self.info.still else read_hdr10(self._first, video.codec)
        self.applied_orientation = UPRIGHT
        self.orientation = self._read_orientation()
        if self.info.still:  # pictures have no place to keep an orientation that everyone reads
            self.make_upright()
        if self._sequence is not None:
            self._describe_sequence(self._sequence)
        elif self.info.still and is_truncated_jpeg(source):
            self._say("the picture ends too early; what is there of it is used")

    def _describe_sequence(self, sequence: ImageSequence) -> None:
        """What only all pictures together tell."""
        headers = [(member.path, member.header) for member in sequence.members]
        self.layout = common_layout(h.turn.layout(layout_from_pix_fmt(h.pix_fmt, str(path))) for path, h in headers)
        self.transparent = self.layout.alpha
        length = len(headers) * TICK
        formats = {header.pix_fmt for _, header in headers}
        name = formats.pop() if len(formats) == 1 else self.layout.pix_fmt
        video = replace(self.info.video, frames=len(headers), duration=length, pix_fmt=name)
        self.info = replace(self.info, video=video, duration=length)
        for path, _ in headers:
            if is_truncated_jpeg(path):
                self._note(f"{path}: the picture ends too early; what is there of it is used")

    def describe(self) -> SourceInfo:
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
        found = SideData() if plain else probe_side_data(self.info.path, self.info.video.index, self.name)
        self._announced = set(found.extras)
        return found

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _say_choice(self, source: Path) -> None:
        """Say which of several streams or pictures is read."""
        if self.info.still:
            count = 1 if is_pattern(source) else count_pictures(source)
            if count > 1:
                self._say(f"it holds {count} pictures; the main one is restored, the others are left out")
        elif not self.info.animated and self._span.stream is None:  # an animation's further streams are parts of it
            choice = choice_note(self._container, self._stream)
            if choice:
                self._say(choice)

    def _transparent(self) -> bool:
        """Whether the alpha plane is used: looked at in a single picture and in animations, believed elsewhere."""
        if not self.layout.alpha:
            return False
        if self.info.is_animation_format:
            return any_transparent_frame(self._container.name, self._stream.index)
        return is_pattern(self.info.path) or not self.info.still or has_transparency(self._first)

    def _alpha_by_format(self) -> bool:
        """Whether there is an alpha plane because the format always has one, not because somebody wanted it."""
        palette = self._first.format.has_palette
        return self.info.is_animation_format or (self.info.still and (palette or self.info.video.codec == "mjpeg"))

    def _read_orientation(self) -> Orientation:
        """How the file's first picture asks to be shown."""
        if self._asked is None:
            self._say("asks to be shown at an angle; only quarter turns and mirrors are kept")
        return self._asked or UPRIGHT

    def make_upright(self) -> None:
        """Turn the pixels of all frames to how they are to be shown; before `frames` is walked."""
        if self.orientation == UPRIGHT:
            return
        turn, size = self.orientation, self.size
        self.size, self.sample_aspect = turn.size(size), turn.aspect(self.sample_aspect)
        # what untagged colors are taken for depends on the size: decided before it changes
        self.color = turn.color(fill_matrix(self.color, self.layout, size, self.size), self.layout)
        self.layout = turn.layout(self.layout)
        self.applied_orientation, self.orientation = turn, UPRIGHT

    @cached_property
    def timeline(self) -> Timeline | None:
        """The continuous clock of a source whose own runs freely; looked for when it is first needed."""
        free = self.info.container in FREE_RUNNING
        return scan_timeline(self._source, self.name, self.info.video) if free else None

    @property
    def zero(self) -> Fraction:
        """The time of the source's first part, in seconds, that is zero here."""
        return Fraction(0) if self.timeline is None else self.timeline.zero(self._began)

    @property
    def origin(self) -> Fraction:
        """When the first picture of the file is shown, in seconds."""
        return self._began - self.zero

    @property
    def end_time(self) -> Fraction | None:
        """When the last picture read stops being shown, in seconds; None where the container does not tell."""
        return self.end if self._cut or self.info.container in DURATION_CONTAINERS else None

    def info_on_timeline(self) -> SourceInfo:
        """The source with the duration that its continuous clock has, which headers of joined files do not tell."""
        if self.timeline is None:
            return self.info
        duration = self.timeline.end - self.zero
        video = replace(self.info.video, start=self.origin, duration=self.timeline.end - self._began, frames=0)
        return replace(self.info, start=Fraction(0), duration=duration, video=video)

    def _open(self, moves: TimestampShifts | None = None) -> Iterator[VideoFrame]:
        """Open the source, again where it is open, and decode from its start."""
        self._stack.close()
        first = self._sequence.members[0].path if self._sequence else self._source
        self._container = self._stack.enter_context(open_input(first, self.name))
        self._stream = pick_video(self._container, self.name, self._span.stream)
        self.info = describe_source(self._container, self.name, self._source, self._stream)
        self._stream.thread_type = "AUTO"
        self._decoder = FrameDecoder(self._container, self._stream, self.name, moves)
        return self._decoder.decode() if self._sequence is None else self._sequence.pictures()

    def _open_first(self) -> VideoFrame:
        first = next(self._pictures, None)
        if first is None:
            why = "its video cannot be decoded" if self._decoder.damaged else "it holds no frames"
            raise InputError(f"cannot read {self.name}: {why}")
        return first

    def _go_to_start(self) -> None:
        """Go to the chosen part, or where the clock restarts inside, back to the start with a repaired one."""
        moves = (
            None
            if self.timeline is None or self.timeline.is_continuous
            else self.timeline.shifts[self.info.video.index]
        )
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
        for picture in deinterlace(self._all(), self._deinterlace):
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
            if self._sequence is None and (picture.width, picture.height) != self._stored:
                self._say(f"the size changes to {picture.width}x{picture.height}; scaled to the first")
                picture = picture.reformat(width=self._stored[0], height=self._stored[1])
            if self._sequence is None and picture.rotation and picture.rotation != self._rotation:
                self._say(f"the orientation changes at {picture.time or 0:.2f} s; the first one holds")
            if self._deinterlace is Deinterlace.AUTO and picture.interlaced_frame and not self.interlaced:
                self.interlaced = True
                self._say(f"interlaced pictures begin at {picture.time or 0:.2f} s; made whole first")
            yield picture

    def _watch_side_data(self, picture: VideoFrame) -> None:
        """Say what begins after the pictures that `side_data` looked at."""
        if self._announced is None or self.info.still:
            return
        for extra in frame_side_data_kinds(picture, self.info.video.codec) - self._announced:
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
        planes, color = self._planes(picture), self._color_now(picture)
        return Frame(planes, self.layout, color, pts, self.info.video.time_base, bool(picture.interlaced_frame))

    def _planes(self, picture: VideoFrame) -> tuple[Plane, ...]:
        """The samples as shown, in the layout of all frames."""
        turn, layout = self.applied_orientation, self.layout
        if self._sequence is not None:
            turn = self._sequence.orientation_at(picture.pts or 0)
            own = turn.layout(layout_from_pix_fmt(picture.format.name, self.name))
            layout = layout if own.kind is Kind.YUV else own
        planes = tuple(cast(Plane, turn.turn(plane)) for plane in extract_planes(picture, turn.inverse.layout(layout)))
        return planes if layout == self.layout else convert_planes(planes, layout, self.layout)

    def _color_now(self, picture: VideoFrame) -> Color:
        """A picture's own color; joined recordings change theirs, and samples mean what their own tags say."""
        color = merge_color(read_color(picture), self.color, picture.format.name)
        if not self.info.still:
            for change in describe_changes(self.color, color, self.layout, self._stored):
                self._say(change)
            own, first = (layout_from_pix_fmt(p.format.name, self.name) for p in (picture, self._first))
            if own != first:
                self._say(f"the pixel format changes to {picture.format.name}; converted to the first")
        return color

    def _compare(self, end: Fraction) -> None:
        """Say where a source ends before its header says, and how many packets were damaged."""
        if self._decoder.damaged:
            self._say(f"{self._decoder.damaged} damaged packets were passed over")
        info = self.info_on_timeline()
        said = info.video.duration or info.duration
        if said is None or info.still:
            return
        began = self.origin
        if not info.video.duration and "matroska" in info.container:
            began = min(began, Fraction(0))  # its duration counts from 0, whenever the first picture is shown
        if said - (end - began) > max(MAX_SHORTFALL, 3 / (info.video.rate or 25)):
            self._say(f"the video ends at {float(end - began):.2f} of {float(said):.2f} s; the file may be truncated")
