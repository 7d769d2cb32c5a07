"""ffmpeg arguments for a target.  Pure functions."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

from vrx.media.alpha import ALPHA_TAG
from vrx.media.color import setparams_filter
from vrx.media.encoders import APPLE_TAG, encoder_pix_fmt, slice_count
from vrx.media.file_types import PATTERN
from vrx.media.orientation import UPRIGHT
from vrx.media.target import Target

SAR_LIMIT = 65535  # largest numerator or denominator of a sample aspect ratio
TIMESCALE_CONTAINERS = {"mp4", "mov"}  # containers with a video time base of choice
BITEXACT_CONTAINERS = {"matroska", "webm"}  # ffmpeg writes random IDs into these without -fflags bitexact


def build_arguments(target: Target, destination: str) -> list[str]:
    """Arguments of the ffmpeg that encodes raw frames from its standard input."""
    words = ["-y", "-copyts", *orientation_args(target), *hdr10_args(target)]
    words += offset_args(timestamp_offset(target))
    words += ["-noautorotate", "-f", "nut", "-i", "pipe:0"]
    copied = stream_copy_args(target) if target.source is not None and not target.still else ([], [])
    words += [*copied[0], "-map", "0:v:0", *copied[1], *stream_codec_args(target), *video_encoder_args(target)]
    words += ["-fps_mode:v:0", "passthrough", "-enc_time_base:v:0", encoder_time_base(target)]
    return [*words, *container_args(target), destination]


def orientation_args(target: Target) -> list[str]:
    """Orientation tags; input options."""
    wanted = target.orientation
    words = ["-display_rotation:v:0", str(wanted.rotation)] if wanted != UPRIGHT else []
    return [*words, *(["-display_hflip:v:0"] if wanted.mirrored else [])]


def hdr10_args(target: Target) -> list[str]:
    """HDR10 metadata; input options."""
    return [] if target.still else [*target.hdr10]


def timestamp_offset(target: Target) -> Fraction:
    """Seconds subtracted from all timestamps on output, and added to the (already shifted) pictures on input.

    The other streams of a span must enter with the source's timestamps, by which ffmpeg trims them.
    """
    copies = target.source is not None and target.span is not None and not target.still
    return target.offset if copies else Fraction(0)


def offset_args(seconds: Fraction) -> list[str]:
    """Delay of the next input, in seconds."""
    return ["-itsoffset", f"{float(seconds):.6f}"] if seconds else []


def stream_copy_args(target: Target) -> tuple[list[str], list[str]]:
    """The source as second input, and the mapping of its streams and tags."""
    opened, mapped = [], []
    if target.span is not None:
        opened += ["-ss", f"{float(target.span[0]):.6f}"]
        if target.span[1] is not None:
            opened += ["-to", f"{float(target.span[1]):.6f}"]
    opened += [*offset_args(-target.delay), "-i", f"file:{target.source}"]
    if target.source_index is not None:
        mapped += ["-map_metadata:s:0", f"1:s:{target.source_index}"]
    mapped += ["-metadata:s:0", alpha_tag(target)]
    for place, stream in enumerate(target.copied_streams, start=1):
        mapped += ["-map", f"1:{stream.index}", f"-map_metadata:s:{place}", f"1:s:{stream.index}"]
    mapped += ["-map_metadata", "1", "-map_chapters", "-1" if target.span else "1"]
    mapped += target.tags.words
    return opened, mapped


def alpha_tag(target: Target) -> str:
    """The tag for separate alpha, set for the result in place of the source's."""
    apart = target.layout.alpha and target.rule.name == "libvpx-vp9"
    return f"{ALPHA_TAG}={1 if apart else ''}"


def stream_codec_args(target: Target) -> list[str]:
    """Codecs of the other streams: copied, or converted where the container cannot hold them."""
    words = []
    for place, stream in enumerate(target.copied_streams, start=1):
        words += [f"-c:{place}", stream.convert or "copy"]
        words += [f"-b:{place}", str(stream.bit_rate)] if stream.bit_rate else []
    return words


def container_args(target: Target) -> list[str]:
    """Format, time base and offset of the output file."""
    if target.still:
        return ["-f", "image2", *(["-start_number", str(target.first_number)] if target.sequence else ["-update", "1"])]
    words = []
    if target.container in TIMESCALE_CONTAINERS:
        words += ["-video_track_timescale", str(timescale(target.time_base))]
        words += ["-movflags", "+faststart+write_colr" + target.tags.movflag]
    if target.container in BITEXACT_CONTAINERS:
        words += ["-fflags", "+bitexact"]
    # sound may begin before the first picture; NUT has no place for times below zero
    words += ["-avoid_negative_ts", "make_non_negative" if target.container == "nut" else "disabled"]
    if timestamp_offset(target):
        words += ["-output_ts_offset", f"{-float(timestamp_offset(target)):.6f}"]
    return [*words, "-f", target.container]


def encoder_time_base(target: Target) -> str:
    """Time base of the pipe, in which all timestamps are exact; AVI has a constant frame rate only."""
    return f"{1 / target.rate}" if target.container == "avi" else "demux"


def timescale(time_base: Fraction) -> int:
    """Ticks per second that represent the source's timestamps exactly, within MP4's limits."""
    ticks = time_base.denominator
    while ticks < 1000:
        ticks *= 10
    return ticks if ticks < 2**31 else 90_000


def video_encoder_args(target: Target) -> list[str]:
    """Encoder, quality and color tags."""
    rule = target.rule
    words = ["-c:v:0", rule.name]
    aspect = target.sample_aspect
    filters = [f"setsar={aspect.numerator}/{aspect.denominator}:max={SAR_LIMIT}"] if aspect else []
    filters += [setparams_filter(target.color)] if setparams_filter(target.color) else []
    filters += [f"setfield={target.fields}"] if target.fields else []
    if filters:
        words += ["-filter:v:0", ",".join(filters)]
    words += ["-pix_fmt:v:0", target.pix_fmt or encoder_pix_fmt(target.layout, rule.name)]
    if rule.quality is not None:
        words += [f"{rule.quality[0]}:v:0", str(target.crf if target.crf is not None else rule.quality[1])]
    preset = target.preset or rule.preset
    if preset:
        words += ["-preset:v:0", preset]
    if rule.name == "prores_ks":
        words += ["-profile:v:0", "4" if target.layout.shift_x == 0 else "3"]
    if rule.name == "dnxhd":
        words += ["-profile:v:0", "dnxhr_444" if target.layout.shift_x == 0 else "dnxhr_hqx"]
    if rule.name == "libx265":
        words += ["-x265-params", ":".join(("log-level=error", *target.mastering))]
    words += ["-slices:v:0", str(slice_count(target.size))] if rule.name == "ffv1" else []
    words += rule.extra if target.container in TIMESCALE_CONTAINERS else without_tag(rule.extra)
    words += field_args(target)
    if target.container == "avi":  # it cannot store display order
        words += ["-bf:v:0", "0"]
    if target.copied_streams:
        words += ["-disposition:v:0", "default"]
    words += ["-threads:v:0", str(target.threads)] if target.threads else []
    return [*words, *target.encoder_args]


def field_args(target: Target) -> list[str]:
    """The encoder's options for pictures of two fields."""
    if target.fields is None:
        return []
    own = ["-x264-params:v:0", f"{target.fields}=1"] if target.rule.name == "libx264" else []  # or SEI has the default
    return [*(target.rule.interlaced or ()), *own]


def without_tag(words: tuple[str, ...]) -> tuple[str, ...]:
    """An encoder's options but for the tag that only some containers have."""
    place = words.index(APPLE_TAG[0]) if APPLE_TAG[0] in words else len(words)
    return words[:place] + words[place + len(APPLE_TAG) :]


def sequence_pattern(path: Path) -> str:
    """An image sequence pattern in ffmpeg's syntax: any other percent sign in the name is doubled."""
    match = PATTERN.search(path.name)
    assert match is not None
    around = [part.replace("%", "%%") for part in (path.name[: match.start()], path.name[match.end() :])]
    return os.path.join(str(path.parent).replace("%", "%%"), match[0].join(around))  # noqa: PTH118 - no path any more
