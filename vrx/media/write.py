"""Frames to files: raw pictures with their own times to ffmpeg, which encodes and copies the rest.

The result appears under its final name only when it is complete: it is written under another name in
the same folder, counted, synced, and renamed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.error

from vrx.errors import DeviceError, OutputError, VrxError, speaks_of_memory
from vrx.media.carry import Carried
from vrx.media.color import setparams
from vrx.media.encoders import STILL_ENCODERS, EncoderRule
from vrx.media.ffmpeg import Encoder
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.media.partials import partial_folder, partial_path
from vrx.media.publish import count_frames, make_folder, publish
from vrx.media.shield import shielded
from vrx.media.stills import PATTERN
from vrx.media.tags import Tags

FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".nut": "nut",
    ".ts": "mpegts",
}
SAR_LIMIT = 65535  # the largest number a pixel shape is kept with
HINTS = {  # what ffmpeg says, and what to do about it
    "No space left": "Free some space and run the same command again",
    "quota exceeded": "Free some space and run the same command again",
    "File too large": "Raise the limit of file sizes (ulimit -f), or write to another disk",
    "SIGXFSZ": "Raise the limit of file sizes (ulimit -f), or write to another disk",
    "SIGKILL": "It was killed from outside, as systems do that run out of memory",
}
ONE_PICTURE = "Use -o NAME_%05d.png for one picture a frame, or --frames 1"
TICKED = {"mp4", "mov"}  # containers whose video time base may be chosen
NUMBERED = {"matroska", "webm"}  # containers that ffmpeg gives random numbers unless it is asked for exact bytes


@dataclass(frozen=True, kw_only=True)
class Target:
    """All that decides how a result is written.

    `path` None is standard output.  `size` (width, height); `span` seconds after the source's start to copy
    the other streams from, None for all; `offset` seconds by which all times of the source move back.
    `hdr10` are options before ffmpeg's input, `mastering` x265's own for an ffmpeg without them.
    A `path` such as `f_%05d.png` is a pattern unless it is `literal`: numbered from `first_number`.
    """

    path: Path | None
    container: str
    rule: EncoderRule
    layout: Layout
    color: Color
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    sample_aspect: Fraction
    rotation: int = 0
    source: Path | None = None
    source_index: int = 0
    span: tuple[Fraction, Fraction | None] | None = None
    offset: Fraction = Fraction(0)
    carried: tuple[Carried, ...] = ()
    crf: int | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    encoder_args: tuple[str, ...] = ()
    mastering: tuple[str, ...] = ()
    hdr10: tuple[str, ...] = ()
    tags: Tags = field(default_factory=Tags)
    overwrite: bool = False
    literal: bool = False
    first_number: int = 1

    @property
    def still(self) -> bool:
        """Whether pictures are written, not a video."""
        return self.path is not None and self.path.suffix.lower() in STILL_ENCODERS

    @property
    def sequence(self) -> bool:
        """Whether one file a frame is written."""
        return self.still and not self.literal and self.path is not None and bool(PATTERN.search(self.path.name))

    @property
    def single(self) -> bool:
        """Whether it holds one picture only."""
        return self.still and not self.sequence


def arguments(target: Target, destination: str) -> list[str]:
    """The ffmpeg command behind the pipe."""
    words = ["-y", "-copyts", *rotation_words(target), *light_words(target), *offset_words(timestamp_offset(target))]
    words += ["-noautorotate", "-f", "nut", "-i", "pipe:0"]
    copied = copied_words(target) if target.source is not None and not target.still else ([], [])
    words += [*copied[0], "-map", "0:v:0", *copied[1], *companion_words(target), *encoder_words(target)]
    words += ["-fps_mode:v:0", "passthrough", "-enc_time_base:v:0", encoder_time_base(target)]
    return [*words, *container_words(target), destination]


def rotation_words(target: Target) -> list[str]:
    """How players are to turn the picture, said before its input."""
    turned = target.rotation and not target.still
    return ["-display_rotation:v:0", str(target.rotation)] if turned else []


def light_words(target: Target) -> list[str]:
    """What HDR10 says of the picture's brightness, said before its input."""
    return [] if target.still else [*target.hdr10]


def timestamp_offset(target: Target) -> Fraction:
    """Seconds by which everything moves back on its way out, and the pictures, moved already, forward on their way in.

    The other streams of a span must keep the source's clock on their way in: ffmpeg cuts them by it.
    """
    copies = target.source is not None and target.span is not None and not target.still
    return target.offset if copies else Fraction(0)


def offset_words(seconds: Fraction) -> list[str]:
    """The next input's times, so many seconds later."""
    return ["-itsoffset", f"{float(seconds):.6f}"] if seconds else []


def copied_words(target: Target) -> tuple[list[str], list[str]]:
    """The source as second input, and what is mapped from it."""
    opened, mapped = [], []
    if target.span is not None:
        opened += ["-ss", f"{float(target.span[0]):.6f}"]
        if target.span[1] is not None:
            opened += ["-to", f"{float(target.span[1]):.6f}"]
    opened += ["-i", f"file:{target.source}"]
    mapped += ["-map_metadata:s:0", f"1:s:{target.source_index}"]
    for place, stream in enumerate(target.carried, start=1):
        mapped += ["-map", f"1:{stream.index}", f"-map_metadata:s:{place}", f"1:s:{stream.index}"]
    mapped += ["-map_metadata", "1", "-map_chapters", "-1" if target.span else "1"]
    mapped += target.tags.words
    return opened, mapped


def companion_words(target: Target) -> list[str]:
    """What goes along is copied, or converted where the container cannot hold it as it is."""
    found = [(place, stream.convert or "copy") for place, stream in enumerate(target.carried, start=1)]
    return [word for place, encoder in found for word in (f"-c:{place}", encoder)]


def container_words(target: Target) -> list[str]:
    """Format, time base and offsets of the file itself."""
    if target.still:
        return ["-f", "image2", *(["-start_number", str(target.first_number)] if target.sequence else ["-update", "1"])]
    words = []
    if target.container in TICKED:
        words += ["-video_track_timescale", str(timescale(target.time_base))]
        words += ["-movflags", "+faststart+write_colr" + target.tags.movflag]
    if target.container in NUMBERED:
        words += ["-fflags", "+bitexact"]
    # sound may begin before the first picture; NUT has no place for times below zero
    words += ["-avoid_negative_ts", "make_non_negative" if target.container == "nut" else "disabled"]
    if timestamp_offset(target):
        words += ["-output_ts_offset", f"{-float(timestamp_offset(target)):.6f}"]
    return [*words, "-f", target.container]


def encoder_time_base(target: Target) -> str:
    """Ours, in which every time is exact; AVI counts frames at a constant rate and knows no other clock."""
    return f"{1 / target.rate}" if target.container == "avi" else "demux"


def timescale(time_base: Fraction) -> int:
    """Ticks a second that hold the source's times exactly, within what MP4 can hold."""
    ticks = time_base.denominator
    while ticks < 1000:
        ticks *= 10
    return ticks if ticks < 2**31 else 90_000


def encoder_words(target: Target) -> list[str]:
    """The encoder, its quality and the tags of the picture."""
    rule = target.rule
    words = ["-c:v:0", rule.name]
    aspect = target.sample_aspect
    filters = [f"setsar={aspect.numerator}/{aspect.denominator}:max={SAR_LIMIT}"] if aspect else []
    filters += [setparams(target.color)] if setparams(target.color) else []
    if filters:
        words += ["-filter:v:0", ",".join(filters)]
    words += ["-pix_fmt:v:0", target.pix_fmt or encoder_pix_fmt(target)]
    if rule.quality is not None:
        words += [f"{rule.quality[0]}:v:0", str(target.crf if target.crf is not None else rule.quality[1])]
    preset = target.preset or rule.preset
    if preset:
        words += ["-preset:v:0", preset]
    if rule.name == "prores_ks":
        words += ["-profile:v:0", "4" if target.layout.shift_x == 0 else "3"]
    if rule.name == "libx265":
        words += ["-x265-params", ":".join(("log-level=error", *target.mastering))]
    words += rule.extra if target.container in TICKED or "-tag:v:0" not in rule.extra else ()
    if target.container == "avi":  # it has no place for the order in which frames are shown
        words += ["-bf:v:0", "0"]
    if target.carried:
        words += ["-disposition:v:0", "default"]
    return [*words, *target.encoder_args]


def encoder_pix_fmt(target: Target) -> str:
    """The pixel format the encoder itself takes for the layout."""
    layout, name = target.layout, target.rule.name
    if layout.kind is Kind.RGB:
        packed = {
            ("ffv1", 8, False): "bgr0",
            ("ffv1", 8, True): "bgra",
            ("ffv1", 16, True): "gbrap16le",
            ("png", 8, False): "rgb24",
            ("png", 8, True): "rgba",
            ("png", 16, False): "rgb48be",
            ("png", 16, True): "rgba64be",
            ("tiff", 8, False): "rgb24",
            ("tiff", 8, True): "rgba",
            ("tiff", 16, False): "rgb48le",
            ("bmp", 8, False): "bgr24",
            ("ppm", 8, False): "rgb24",
            ("ppm", 16, False): "rgb48be",
        }
        return packed.get((name, layout.depth, layout.alpha), layout.pix_fmt)
    if name == "png" and layout.depth == 16:
        return "gray16be"
    if name == "mjpeg":
        return layout.pix_fmt.replace("yuv", "yuvj") if layout.kind is Kind.YUV else "gray"
    return layout.pix_fmt


class Writer:
    """A result being written.  A context manager: leaving it by an exception removes what there is."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.frames = 0
        self.kept = self.scene = 0  # frames of an earlier run and its scene: a result in one piece goes on from none
        path = target.path
        self._folder: Path | None = None
        if path is None:
            destination = "pipe:1"
        elif target.sequence:
            self._folder = partial_folder(path)
            make_folder(self._folder)
            destination = f"file:{pattern_words(self._folder / path.name)}"
        else:
            self._partial = partial_path(path)
            destination = f"file:{self._partial}"
        stdout = sys.stdout.buffer if path is None else None
        try:
            self._encoder = Encoder(arguments(target, destination), stdout)
        except OutputError:
            self._discard()
            raise
        self._open_pipe()

    def _open_pipe(self) -> None:
        target = self.target
        self._box = av.open(self._encoder.stdin, "w", format="nut")
        self._stream = self._box.add_stream("rawvideo", rate=target.rate)
        self._stream.width, self._stream.height = target.size
        self._stream.pix_fmt = target.layout.pix_fmt
        self._stream.time_base = target.time_base
        self._stream.codec_context.time_base = target.time_base
        if target.sample_aspect:
            self._stream.codec_context.sample_aspect_ratio = target.sample_aspect
            self._stream.sample_aspect_ratio = target.sample_aspect

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            self.abort()

    def write(self, frame: Frame) -> None:
        """Send one frame; its planes must have the target's layout and size."""
        if self.target.single and self.frames:
            raise OutputError(f"{self.target.path} holds one picture, and more frames come", ONE_PICTURE)
        planes = frame.planes
        if frame.layout.kind is Kind.RGB:  # ffmpeg's planar order is G, B, R
            planes = (planes[1], planes[2], planes[0], *planes[3:])
        packet = av.Packet(b"".join(plane.tobytes() for plane in planes))
        packet.stream = self._stream
        packet.time_base = self.target.time_base
        packet.pts = packet.dts = round((frame.time - self.target.offset) / self.target.time_base)
        packet.is_keyframe = True
        try:
            with shielded(self._encoder.kill):
                self._box.mux_one(packet)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._broken() from error
        self.frames += 1

    def _broken(self) -> VrxError:
        """The encoder is gone: why, in its own words."""
        try:
            self._encoder.finish()
        except OutputError as error:
            return explained(error, self.target.path)
        return OutputError("ffmpeg ended before the last frame")

    def finish(self) -> None:
        """End the file, check it, and give it its name.

        Raises OutputError where ffmpeg failed or the file does not hold what was sent.
        """
        try:
            try:
                with shielded(self._encoder.kill):
                    self._box.close()
            except (av.error.FFmpegError, OSError) as error:
                raise self._broken() from error
            try:
                self._encoder.finish()
            except OutputError as error:
                raise explained(error, self.target.path) from error
            if self.target.path is None:
                return
            if self._folder is not None:
                self._publish_sequence()
            else:
                self._check()
                publish(self._partial, self.target.path, self.target.overwrite)
        except BaseException:
            self._discard()
            raise

    def _check(self) -> None:
        if self.target.still:
            held = 1 if self._partial.exists() and self._partial.stat().st_size else 0
        else:
            held = count_frames(self._partial)
        if held != self.frames:
            raise OutputError(
                f"{self.target.path}: {held} of {self.frames} frames arrived",
                "Nothing was published; try another --codec or container",
            )

    def _publish_sequence(self) -> None:
        assert self._folder is not None
        assert self.target.path is not None
        members = sorted(self._folder.iterdir())
        if len(members) != self.frames:
            raise OutputError(f"{self.target.path}: {len(members)} of {self.frames} frames arrived")
        for member in members:
            publish(member, self.target.path.with_name(member.name), self.target.overwrite)
        self._folder.rmdir()

    def abort(self) -> None:
        """Stop at once and remove what was written."""
        self._encoder.abort()
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._box.close()
        self._discard()

    def _discard(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        elif self.target.path is not None:
            self._partial.unlink(missing_ok=True)


def pattern_words(path: Path) -> str:
    """A pattern of numbered pictures as ffmpeg reads one: any other percent sign in its name is doubled."""
    match = PATTERN.search(path.name)
    assert match is not None
    around = [part.replace("%", "%%") for part in (path.name[: match.start()], path.name[match.end() :])]
    return os.path.join(str(path.parent).replace("%", "%%"), match[0].join(around))  # noqa: PTH118 - no path any more


def explained(error: OutputError, path: Path | None) -> VrxError:
    """What ffmpeg said, as a failure to write `path` (None: standard output), or of memory."""
    name = "standard output" if path is None else str(path)
    said = str(error)
    if speaks_of_memory(said):
        return DeviceError(f"memory ran out while writing {name}: {error.message}", "Use a smaller video or --scale")
    hint = next((hint for words, hint in HINTS.items() if words in said), "")
    return OutputError(f"cannot write {name}: {error.message}", hint)
