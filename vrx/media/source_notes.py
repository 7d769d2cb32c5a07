"""Warnings about a source: each text once, and what changes from its first picture on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from av.video.frame import VideoFrame

from vrx.events import Note, Notify
from vrx.media.combing import FlagCheck
from vrx.media.deinterlace import Deinterlace
from vrx.media.fields import find_field_order
from vrx.media.probe import SourceInfo, VideoInfo
from vrx.media.side_data import SideDataKind, frame_side_data_kinds

FILM_FRAMES = 48  # that are looked at: two seconds of film
FILM_PACE = Fraction(6, 5)  # times the film's rate; above it hardly anything was undone: video comes at 5/4 of it
MAX_SHORTFALL = Fraction(1, 2)  # seconds a source may end before its header's duration without a warning


class SourceNotes:
    """Sends warnings about the source `name` to `notify`, each text once."""

    def __init__(self, name: str, notify: Notify) -> None:
        self._name, self._notify = name, notify
        self._texts = set[str]()

    def warn(self, code: str, text: str, **facts: str | float | None) -> None:
        """Send a warning, unless its text was sent before."""
        if text not in self._texts:
            self._texts.add(text)
            self._notify(Note(code, f"{self._name}: {text}", facts, "warning"))

    def watch_film(self, pictures: Iterable[VideoFrame], which: Deinterlace, video: VideoInfo) -> Iterator[VideoFrame]:
        """Pass on the pictures that were made of `video`; warn where --deinterlace film undid no telecine."""
        begin = Fraction(0)
        for number, picture in enumerate(pictures):
            time = (picture.pts or 0) * video.time_base
            begin = begin if number else time
            is_looked_at = which is Deinterlace.FILM and number == FILM_FRAMES
            if is_looked_at and number > FILM_PACE * video.rate * (time - begin):
                text = (
                    f"no telecine in the first {number} frames, which all stay; for interlaced video: --deinterlace on"
                )
                self.warn("telecine-missing", text, frames=number)
            yield picture

    def check_length(self, info: SourceInfo, first: Fraction, end: Fraction) -> None:
        """Warn of a source whose pictures, from `first` to `end` seconds, end before its header's duration."""
        duration = info.video.duration or info.duration
        if duration is None or info.still:
            return
        if not info.video.duration and "matroska" in info.container:
            first = min(first, Fraction(0))  # its duration counts from 0, whenever the first picture is shown
        length = end - first
        if duration - length > max(MAX_SHORTFALL, 3 / (info.video.rate or 25)):
            text = f"the video ends at {float(length):.2f} of {float(duration):.2f} s; the file may be truncated"
            self.warn("source-truncated", text, seconds=float(length), duration=float(duration))


class PictureChanges:
    """Compares the pictures of a file with its first, warns of what changes, and scales what has another size.

    `size` (width, height) and `rotation` in degrees are those of the first; `fields` the order of its fields, where it
    is flagged as interlaced; `interlaced`: whether one so far was.
    `side_data` are the kinds that were found in the first pictures, None where they were not looked for.
    """

    def __init__(self, notes: SourceNotes, first: VideoFrame, rotation: int, codec: str) -> None:
        self._notes, self._codec = notes, codec
        self.size, self._rotation = (first.width, first.height), rotation
        self.fields = find_field_order(first)
        self.interlaced = self.fields is not None
        self._flags = FlagCheck()
        self.side_data: set[SideDataKind] | None = None

    def check(self, picture: VideoFrame) -> None:
        """Warn of a size, an orientation or side data that the first pictures do not have."""
        if (picture.width, picture.height) != self.size:
            size = f"{picture.width}x{picture.height}"
            self._notes.warn("size-change", f"the size changes to {size}; scaled to the first", size=size)
        seconds = float(picture.time or 0)
        if picture.rotation and picture.rotation != self._rotation:
            text = f"the orientation changes at {seconds:.2f} s; the first one is used throughout"
            self._notes.warn("orientation-change", text, seconds=seconds)
        if self.side_data is None:
            return
        for kind in frame_side_data_kinds(picture, self._codec) - self.side_data:
            self.side_data.add(kind)
            text = f"from {seconds:.2f} s on, {kind.value} cannot be preserved"
            self._notes.warn("side-data-loss", text, kind=kind.value, seconds=seconds)

    def in_first_size(self, picture: VideoFrame) -> VideoFrame:
        """A picture, scaled where its size is not that of the first."""
        width, height = self.size
        same = (picture.width, picture.height) == (width, height)
        return picture if same else picture.reformat(width=width, height=height)

    def check_fields(self, picture: VideoFrame) -> None:
        """Warn of the first interlaced picture, where the source did not begin with one, and of wrong flags."""
        doubt = self._flags.add(picture)
        if doubt is not None:
            self._notes.warn("interlaced-flags", doubt)
        if picture.interlaced_frame and not self.interlaced:
            self.interlaced = True
            seconds = float(picture.time or 0)
            text = f"interlaced frames begin at {seconds:.2f} s; deinterlaced from there"
            self._notes.warn("interlaced-frames", text, seconds=seconds)
