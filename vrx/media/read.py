"""Video reader: files and pipes to frames, decoded once, forward only, in bounded memory, each with its own time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import cast

from av.video.frame import VideoFrame

from vrx.errors import InputError
from vrx.events import Note, Notify
from vrx.geometry import Crop
from vrx.media.alpha import any_transparent_frame, has_separate_alpha, has_transparency
from vrx.media.chosen_part import no_frames
from vrx.media.clock_scan import FREE_RUNNING, Timeline, TimestampShifts
from vrx.media.color import describe_changes, fill_matrix
from vrx.media.decoder import FrameDecoder
from vrx.media.deinterlace import Deinterlace, check_source, deinterlace, double_flagged
from vrx.media.fields import FieldOrder, find_field_order
from vrx.media.file_types import check_numbered, is_pattern
from vrx.media.frame import Color, Frame, Kind, Plane
from vrx.media.frame_side_data import read_hdr10
from vrx.media.image_sequence import ImageSequence, common_layout, convert_planes, is_truncated_jpeg
from vrx.media.mixed_fields import find_later_fields
from vrx.media.orientation import UPRIGHT, Orientation, read_orientation
from vrx.media.picture_metadata import count_pictures
from vrx.media.pixel_formats import extract_planes, layout_from_pix_fmt, merge_color
from vrx.media.probe import DEFAULT_RATE, SourceInfo, describe_source, open_input, read_color
from vrx.media.quantizers import ask_for_quantizers, read_quantizer
from vrx.media.side_data import SideData, probe_side_data
from vrx.media.source_notes import PictureChanges, SourceNotes
from vrx.media.timeline import scan_timeline
from vrx.media.timing import Clock
from vrx.media.video_stream import choice_note, pick_video
from vrx.media.window import Window

logger = logging.getLogger(__name__)

FILTER_MARGIN = 2  # pictures before the chosen part that filters of fields look at, or may
DURATION_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "gif"}  # containers that store how long each picture is shown


@dataclass(frozen=True)
class Span:
    """The part to read: seconds from the first frame, a number of frames, and a stream by its index in the file.

    `threads` of the decoder, 0 for as many as it likes.  `fps` of numbered pictures, None for 24.  `crop`: what is read
    of the displayed pictures.  `quantizers`: frames know theirs, where the decoder tells.
    """

    start: Fraction = Fraction(0)
    end: Fraction | None = None
    frames: int | None = None
    stream: int | None = None
    threads: int = 0
    fps: Fraction | None = None
    crop: Crop | None = None
    quantizers: bool = False


class Reader:
    """An open source.  A context manager; `frames` may be iterated once.

    `info` describes the source as stored; `size` (width, height), `layout`, `color`, `sample_aspect` and
    `orientation` are those of the frames to come.  `notify` gets damage, repaired timestamps and a source that
    ends early, each text once.  `window` is the part of the pictures that is read.  Raises UsageError for a rate of
    what is not a numbered sequence, and for a part that is not in the picture.
    """

    def __init__(
        self,
        source: Path,
        span: Span,
        notify: Notify,
        name: str | None = None,
        deinterlace: Deinterlace = Deinterlace.OFF,
    ) -> None:
        self._stack, self.name = ExitStack(), name or str(source)
        self._source, self._span, self._notify, self._deinterlace = source, span, notify, deinterlace
        self._notes = SourceNotes(self.name, notify)
        self.end = Fraction(0)  # when the last picture read so far stops being shown, in seconds
        self._is_cut = False
        try:
            self._open_source()
        except BaseException:
            self._stack.close()
            raise

    def _open_source(self) -> None:
        source, span = self._source, self._span
        if span.fps is not None:
            check_numbered(self.name, source)
        times = (span.start, span.end)
        self._sequence = ImageSequence(source, times, span.frames, span.fps) if is_pattern(source) else None
        self._pictures = self._open()
        info = describe_source(self._container, self.name, source, self._stream)
        if self._sequence is not None:
            tick = self._sequence.tick
            info = replace(info, video=replace(info.video, rate=1 / tick, time_base=tick))
        self._describe_choice(info)
        self._first: VideoFrame = self._decode_first()
        check_source(self._deinterlace, self._first, info.still and self._sequence is None)
        orientation, rotation = read_orientation(self._first), self._first.rotation  # few pictures of H.264 have them
        base = Fraction(self._first.time_base or info.video.time_base)
        self._first_time = (self._first.pts or 0) * base if self._sequence is None else Fraction(0)
        self.info, self._stored = info, info.video
        self._first_fields = find_field_order(self._first)
        if span.start:
            self._go_to_start()
        self._changes = PictureChanges(self._notes, self._first, rotation, info.video.codec)
        self._describe_frames(orientation)
        if info.still:  # most viewers ignore the orientation tags of pictures
            self.make_upright()
        if self._sequence is not None:
            self._describe_sequence(self._sequence)
        elif info.still and is_truncated_jpeg(source):
            self._notes.warn("picture-truncated", "the picture is truncated; what can be read of it is used")
        self.info = self._complete_info()

    def _describe_frames(self, orientation: Orientation | None) -> None:
        """Set size, layout, color and orientation from the first frame; `orientation` None is not a quarter turn."""
        first, video = self._first, self.info.video
        self.layout = layout_from_pix_fmt(first.format.name, self.name)
        self.color = merge_color(read_color(first), video.color, first.format.name)
        self.size = self._changes.size
        self.sample_aspect = video.sample_aspect
        self.interlaced = self._changes.interlaced
        self.transparent = self._is_transparent()
        if not self.transparent and self._has_implicit_alpha():
            self.layout = replace(self.layout, alpha=False)
        if has_separate_alpha(self._stream) and not self.layout.alpha:
            self._notes.warn("transparency-loss", "no decoder for its transparency, which is dropped")
        self.mastering: dict[str, bytes] = {} if self.info.still else read_hdr10(first, video.codec)
        if orientation is None:
            self._notes.warn(
                "orientation-loss", "tagged to be shown at an angle; only quarter turns and mirrors are preserved"
            )
        turn = self.orientation = orientation or UPRIGHT
        self.applied_orientation = UPRIGHT
        shown = Window.of(self._span.crop, turn.size(self.size), turn.layout(self.layout))
        self.window = shown.turned(turn.inverse)
        stays = self._deinterlace is Deinterlace.OFF and self._span.crop is not None
        if stays and (self.interlaced or self.later_fields):
            self.window = self.window.on_fields(self.layout)
        self.color = fill_matrix(self.color, self.layout, self.size, self.window.shape)
        self.size = self.window.shape

    def _describe_sequence(self, sequence: ImageSequence) -> None:
        """Set what depends on all pictures of a sequence."""
        headers = [(member.path, member.header) for member in sequence.members]
        self.layout = common_layout(h.turn.layout(layout_from_pix_fmt(h.pix_fmt, str(path))) for path, h in headers)
        self.transparent = self.layout.alpha
        length = len(headers) * sequence.tick
        formats = {header.pix_fmt for _, header in headers}
        name = formats.pop() if len(formats) == 1 else self.layout.pix_fmt
        video = replace(self.info.video, frames=len(headers), duration=length, pix_fmt=name)
        self.info = replace(self.info, video=video, duration=length)
        for path, _ in headers:
            if is_truncated_jpeg(path):
                text = f"{path}: the picture is truncated; what can be read of it is used"
                self._notify(Note("picture-truncated", text, {"path": str(path)}, "warning"))

    def _complete_info(self) -> SourceInfo:
        """The source with what only its first frame shows, at the rate of the frames to come."""
        stored, which = self.info.video, self._deinterlace
        video = replace(
            stored,
            size=self.size,
            color=self.color,
            rate=which.rate(stored.rate),
            time_base=stored.time_base / which.divisor,
            frames=0 if which is Deinterlace.FILM else stored.frames * (2 if which is Deinterlace.DOUBLE else 1),
            rotation=self.orientation.rotation,
            mirrored=self.orientation.mirrored,
            interlaced=self._changes.fields or "",
        )
        return replace(self.info, video=video)

    def side_data(self) -> SideData:
        """Side data of the video stream; `frames` warns of kinds that first appear in later frames."""
        plain = self.info.still or self.info.animated
        found = SideData() if plain else probe_side_data(self.info.path, self.info.video.index, self.name)
        self._changes.side_data = None if self.info.still else set(found.kinds)
        return found

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _describe_choice(self, info: SourceInfo) -> None:
        """Note which of several streams or pictures is read."""
        if info.still:
            count = 1 if is_pattern(self._source) else count_pictures(self._source)
            if count > 1:
                text = f"it holds {count} pictures; the main one is restored, the others are dropped"
                self._notes.warn("picture-choice", text, pictures=count)
        elif not info.animated and self._span.stream is None:  # an animation's further streams are parts of it
            note = choice_note(self._container, self._stream)
            if note is not None:
                self._notes.warn(note.code, note.text, **note.facts)

    def _is_transparent(self) -> bool:
        """Whether the alpha plane is used: checked for pictures and animations, assumed for others."""
        if not self.layout.alpha:
            return False
        if self.info.is_animation_format:
            return any_transparent_frame(self._container.name, self._stream.index)
        return is_pattern(self._source) or not self.info.still or has_transparency(self._first)

    def _has_implicit_alpha(self) -> bool:
        """Whether there is an alpha plane only because the format always decodes to one."""
        palette = self._first.format.has_palette
        return self.info.is_animation_format or (self.info.still and (palette or self.info.video.codec == "mjpeg"))

    def make_upright(self) -> None:
        """Turn the pixels of all frames to how they are to be shown; call before iterating `frames`."""
        if self.orientation == UPRIGHT:
            return
        turn, size = self.orientation, self.size
        self.size, self.sample_aspect = turn.size(size), turn.aspect(self.sample_aspect)
        # the matrix assumed for untagged colors depends on the size: decided before it changes
        self.color = turn.color(fill_matrix(self.color, self.layout, size, self.size), self.layout)
        self.layout, self.window = turn.layout(self.layout), self.window.turned(turn)
        self.applied_orientation, self.orientation = turn, UPRIGHT

    @cached_property
    def later_fields(self) -> FieldOrder | None:
        """The order of the fields of other pictures, earlier ones too, where the first has none; as some tell."""
        known = self.interlaced or self._sequence is not None
        return None if known else self._first_fields or find_later_fields(self.info)

    @cached_property
    def timeline(self) -> Timeline | None:
        """The continuous clock of a source whose own runs freely, from all its packets; None for other sources."""
        free = self.info.container in FREE_RUNNING
        return scan_timeline(self._source, self.name, self._stored) if free else None

    @property
    def zero(self) -> Fraction:
        """The time of the source's first part, in seconds, that is zero here."""
        return Fraction(0) if self.timeline is None else self.timeline.zero(self._first_time)

    @property
    def origin(self) -> Fraction:
        """When the first frame of the file is shown, in seconds."""
        return self._first_time - self.zero

    @property
    def end_time(self) -> Fraction | None:
        """When the last frame read stops being shown, in seconds; None where the container does not store that."""
        return self.end if self._is_cut or self.info.container in DURATION_CONTAINERS else None

    def info_on_timeline(self) -> SourceInfo:
        """The source with the duration of its continuous clock, which headers of joined files do not give."""
        if self.timeline is None:
            return self.info
        duration = self.timeline.end - self.zero
        video = replace(self.info.video, start=self.origin, duration=self.timeline.end - self._first_time, frames=0)
        return replace(self.info, start=Fraction(0), duration=duration, video=video)

    def _open(self, shifts: TimestampShifts | None = None) -> Iterator[VideoFrame]:
        """Open the source, again where it is open, and decode from its start."""
        self._stack.close()
        first = self._sequence.members[0].path if self._sequence else self._source
        self._container = self._stack.enter_context(open_input(first, self.name))
        self._stream = pick_video(self._container, self.name, self._span.stream)
        self._stream.thread_type, self._stream.codec_context.thread_count = "AUTO", self._span.threads
        self._tells = self._span.quantizers and ask_for_quantizers(self._stream)
        logger.debug("%s: stream %d decoded with %s", self.name, self._stream.index, self._stream.codec_context.name)
        self._decoder = FrameDecoder(self._container, self._stream, self.name, shifts, self._notes)
        return self._decoder.decode() if self._sequence is None else self._sequence.pictures()

    def _decode_first(self) -> VideoFrame:
        first = next(self._pictures, None)
        if first is None:
            why = "its video cannot be decoded" if self._decoder.damaged else "it has no frames"
            raise InputError(f"cannot read {self.name}: {why}")
        return first

    def _go_to_start(self) -> None:
        """Go to the chosen part, or where the clock restarts inside, back to the start with a repaired one."""
        timeline = self.timeline
        if timeline is not None and not timeline.is_continuous:
            self._pictures = self._open(timeline.shifts[self.info.video.index])
        elif self._span.start and not self.info.still:
            found = self._seek(timeline.keys if timeline is not None else {})
            logger.debug("%s: %s", self.name, "no seek possible, decoding from the start" if found is None else "seek")
            self._pictures = self._open() if found is None else found
        else:
            return
        self._first = self._decode_first()

    def _seek(self, keys: Mapping[int, int]) -> Iterator[VideoFrame] | None:
        """Pictures from the chosen part on, and before it those that filters look at; None where no seek leads there.

        Which pictures telecine repeated is decided by all before them.
        """
        if self._deinterlace is Deinterlace.FILM:
            return None
        margin = 0 if self._deinterlace is Deinterlace.OFF else FILTER_MARGIN / (self._stored.rate or DEFAULT_RATE)
        target = self._first_time + max(Fraction(0), self._span.start - margin)
        return self._decoder.seek(target, self._first_time, keys)

    def key_frame(self, time: Fraction) -> Frame | None:
        """The key frame that a seek to a time leads to, if any; for looking around, without reading on from there."""
        picture = self._decoder.key_frame(self._first_time + time)
        return None if picture is None else self._make_frame(self._changes.in_first_size(picture))

    def frames(self) -> Iterator[Frame]:
        """Every frame of the span in order of time."""
        count, base, which, stored = 0, self.info.video.time_base, self._deinterlace, self._stored
        if not self._span.start:
            self._go_to_start()
        by_flags = which is Deinterlace.DOUBLE and (self.interlaced or self.later_fields)
        pictures = (double_flagged if by_flags else deinterlace)(self._stamp(), which, stored.rate, stored.time_base)
        for picture in self._notes.watch_film(pictures, which, self.info.video):
            time = (picture.pts or 0) * base
            if time - self.origin < self._span.start:
                continue
            if self._is_past(time - self.origin, count):
                self._is_cut = True
                self.end = time if self._span.end is None else min(time, self.origin + self._span.end)
                break
            count += 1
            yield self._make_frame(picture)
        if count == 0:
            raise no_frames(self.name, self._span.start, self.end - self.origin)
        if not self._is_cut:
            self._check_end(self.end)

    def _stamp(self) -> Iterator[VideoFrame]:
        """Every picture with its time, which increases, counted from the source's zero in its own time base."""
        clock = Clock(self._stored.time_base, self._stored.rate)
        zero = round(self.zero / clock.time_base)
        for picture in self._decode_all():
            pts, repair = clock.stamp(None if picture.pts is None else picture.pts - zero)
            if repair:
                self._notes.warn("timestamps-repaired", repair)
            if not self._is_cut:
                self.end = (pts + (picture.duration or clock.step)) * clock.time_base
            picture.pts = pts
            yield picture

    def _decode_all(self) -> Iterator[VideoFrame]:
        """Every picture in the size of the first."""
        for picture in chain([self._first], self._pictures):
            if self._sequence is None:
                self._changes.check(picture)
                picture = self._changes.in_first_size(picture)
            if self._deinterlace is Deinterlace.AUTO:
                self._changes.check_fields(picture)
            yield picture

    def _is_past(self, time: Fraction, count: int) -> bool:
        span = self._span
        return (span.end is not None and time >= span.end) or (span.frames is not None and count >= span.frames)

    def _make_frame(self, picture: VideoFrame) -> Frame:
        planes, color, base = self._read_planes(picture), self._read_color(picture), self.info.video.time_base
        told = read_quantizer(picture) if self._tells else None
        return Frame(planes, self.layout, color, picture.pts or 0, base, bool(picture.interlaced_frame), told)

    def _read_planes(self, picture: VideoFrame) -> tuple[Plane, ...]:
        """The samples as shown, in the layout of all frames."""
        turn, layout = self.applied_orientation, self.layout
        if self._sequence is not None:
            turn = self._sequence.orientation_at((picture.pts or 0) // self._deinterlace.divisor)
            own = turn.layout(layout_from_pix_fmt(picture.format.name, self.name))
            layout = layout if own.kind is Kind.YUV else own
        stored = extract_planes(picture, turn.inverse.layout(layout))
        planes = self.window.cut([cast(Plane, turn.turn(plane)) for plane in stored], layout)
        return planes if layout == self.layout else convert_planes(planes, layout, self.layout)

    def _read_color(self, picture: VideoFrame) -> Color:
        """A picture's own color: joined recordings change theirs, and samples are decoded by their own tags."""
        color = merge_color(read_color(picture), self.color, picture.format.name)
        if not self.info.still:
            for change in describe_changes(self.color, color, self.layout, self._changes.size):
                self._notes.warn("color-change", change)
            own, first = (layout_from_pix_fmt(p.format.name, self.name) for p in (picture, self._first))
            if own != first:
                name = picture.format.name
                text = f"the pixel format changes to {name}; converted to the first"
                self._notes.warn("pixel-format-change", text, pix_fmt=name)
        return color

    def _check_end(self, end: Fraction) -> None:
        """Warn of damaged packets and of a source that ends before its header's duration."""
        if damaged := self._decoder.damaged:
            self._notes.warn("damaged-packets", f"{damaged} damaged packets were skipped", packets=damaged)
        self._notes.check_length(self.info_on_timeline(), self.origin, end)
