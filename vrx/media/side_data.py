"""What a video stream says beside its pictures: found in the first of them, and in the file's header."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import cast

import av
import av.error
from av.video.frame import VideoFrame

from vrx.media.ffmpeg import executable, header
from vrx.media.frame_side_data import side_data_of
from vrx.media.probe import opened

LOOK = 24  # pictures; captions and dynamic data come with nearly every one


class Extra(Enum):
    """Data that a restored picture does not carry, in words."""

    DOLBY_VISION = "Dolby Vision data"
    HDR10_PLUS = "HDR10+ data"
    HDR_VIVID = "HDR Vivid data"
    AMBIENT = "data of the ambient viewing environment"
    CAPTIONS = "closed captions inside the video (CEA-608/708)"
    SPHERICAL = "360° projection data"
    STEREO = "stereo 3D data"
    TIMECODE = "timecodes inside the video"
    FORMAT = "active format description"
    ENHANCEMENT = "LCEVC enhancement layer"


IN_FRAMES = {  # libavutil's kinds of frame side data, as PyAV names them
    "A53_CC": Extra.CAPTIONS,
    "AFD": Extra.FORMAT,
    "AMBIENT_VIEWING_ENVIRONMENT": Extra.AMBIENT,
    "DOVI_METADATA": Extra.DOLBY_VISION,
    "DOVI_RPU_BUFFER": Extra.DOLBY_VISION,
    "DYNAMIC_HDR_PLUS": Extra.HDR10_PLUS,
    "DYNAMIC_HDR_VIVID": Extra.HDR_VIVID,
    "S12M_TIMECODE": Extra.TIMECODE,
    "SPHERICAL": Extra.SPHERICAL,
}
IN_HEADER = {  # how ffmpeg's lines about a stream's side data begin, in small letters
    "ambient viewing environment": Extra.AMBIENT,
    "dovi configuration record": Extra.DOLBY_VISION,
    "hdr10+": Extra.HDR10_PLUS,
    "lcevc": Extra.ENHANCEMENT,
    "spherical mapping": Extra.SPHERICAL,
}
LAYOUTS = {  # AVStereo3DType: Matroska's StereoMode by name, plain and with the views exchanged
    1: ("left_right", "right_left"),
    2: ("top_bottom", "bottom_top"),
    4: ("checkerboard_lr", "checkerboard_rl"),
    6: ("row_interleaved_lr", "row_interleaved_rl"),
    7: ("col_interleaved_lr", "col_interleaved_rl"),
}
FLAT = {"2d", "unspecified"}
INVERTED = 1  # AVStereo3D's flag
STREAM = re.compile(r"^  Stream #0:(\d+)")
ENTRY = re.compile(r"^      (\S.*)$")


@dataclass(frozen=True)
class SideData:
    """What was found; `stereo` is Matroska's name of the 3D layout, empty where it has none.

    `dolby_profile` is the number in the configuration record, None without one.
    """

    extras: frozenset[Extra] = frozenset()
    stereo: str = ""
    dolby_profile: int | None = None


def look(source: Path, index: int, name: str) -> SideData:
    """Look at the first pictures of a video stream and at what ffmpeg says of it.

    Raises InputError where the source cannot be opened.
    """
    entries = header_entries(header(executable(), source), index)
    with opened(source, name) as container:
        codec = container.streams[index].codec_context.name
        found = [kinds for picture in first_pictures(container, index) if (kinds := side_data_of(picture, codec))]
    extras = {IN_FRAMES[kind] for kinds in found for kind in kinds if kind in IN_FRAMES}
    extras |= {extra for entry in entries for start, extra in IN_HEADER.items() if entry.lower().startswith(start)}
    stereo = next((layout for kinds in found if (layout := stereo_of(kinds)) is not None), None)
    if stereo is not None or any(stereo_entry(entry) for entry in entries):
        extras.add(Extra.STEREO)
    profiles = [match for entry in entries if (match := re.match(r"DOVI configuration.*?profile: (\d+)", entry))]
    return SideData(frozenset(extras), stereo or "", int(profiles[0][1]) if profiles else None)


def first_pictures(container: av.container.InputContainer, index: int) -> Iterable[VideoFrame]:
    """The first pictures of a stream, as far as they decode; damage is the reader's to tell."""
    try:
        for number, picture in enumerate(container.decode(container.streams[index])):
            if number == LOOK:
                return
            yield cast(VideoFrame, picture)
    except (av.error.FFmpegError, OSError, ValueError):
        return


def frame_extras(picture: VideoFrame, codec: str) -> set[Extra]:
    """What a picture that `codec` decoded carries beside its samples."""
    return {IN_FRAMES[kind] for kind in side_data_of(picture, codec) if kind in IN_FRAMES}


def stereo_of(kinds: dict[str, bytes]) -> str | None:
    """Matroska's name of a picture's 3D layout (empty: it has none), None where the picture is flat."""
    data = kinds.get("STEREO3D", b"")
    if len(data) < 8:
        return None
    layout, flags = struct.unpack_from("=2i", data)
    if not layout:
        return None
    return LAYOUTS[layout][flags & INVERTED] if layout in LAYOUTS else ""


def stereo_entry(entry: str) -> bool:
    """Whether a line of ffmpeg's tells of a 3D layout."""
    what, _, layout = entry.lower().partition(":")
    return what == "stereo 3d" and layout.split(",")[0].strip() not in FLAT


def header_entries(lines: Sequence[str], index: int) -> list[str]:
    """The side data entries of a stream in what ffmpeg prints about a file."""
    entries: list[str] = []
    inside = listed = False
    for line in lines:
        if match := STREAM.match(line):
            inside, listed = int(match[1]) == index, False
        elif inside and line.startswith("    ") and not line.startswith("     "):
            listed = line.strip().lower() == "side data:"
        elif inside and listed and (found := ENTRY.match(line)):
            entries.append(found[1])
    return entries
