"""Side data of a video stream (Dolby Vision, captions, 3D, ...): from its first frames and the file's header."""

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

from vrx.media.ffmpeg import describe_input, executable
from vrx.media.frame_side_data import read_frame_side_data
from vrx.media.probe import open_input

PROBE_FRAMES = 24  # captions and dynamic metadata come with nearly every frame


class SideDataKind(Enum):
    """Kinds of side data that a result does not keep, in words."""

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


FRAME_KINDS = {  # libavutil's kinds of frame side data, as PyAV names them
    "A53_CC": SideDataKind.CAPTIONS,
    "AFD": SideDataKind.FORMAT,
    "AMBIENT_VIEWING_ENVIRONMENT": SideDataKind.AMBIENT,
    "DOVI_METADATA": SideDataKind.DOLBY_VISION,
    "DOVI_RPU_BUFFER": SideDataKind.DOLBY_VISION,
    "DYNAMIC_HDR_PLUS": SideDataKind.HDR10_PLUS,
    "DYNAMIC_HDR_VIVID": SideDataKind.HDR_VIVID,
    "S12M_TIMECODE": SideDataKind.TIMECODE,
    "SPHERICAL": SideDataKind.SPHERICAL,
}
HEADER_KINDS = {  # how ffmpeg's lines about a stream's side data begin, in small letters
    "ambient viewing environment": SideDataKind.AMBIENT,
    "dovi configuration record": SideDataKind.DOLBY_VISION,
    "hdr10+": SideDataKind.HDR10_PLUS,
    "lcevc": SideDataKind.ENHANCEMENT,
    "spherical mapping": SideDataKind.SPHERICAL,
}
STEREO_LAYOUTS = {  # AVStereo3DType: Matroska's StereoMode by name, plain and with the views exchanged
    1: ("left_right", "right_left"),
    2: ("top_bottom", "bottom_top"),
    4: ("checkerboard_lr", "checkerboard_rl"),
    6: ("row_interleaved_lr", "row_interleaved_rl"),
    7: ("col_interleaved_lr", "col_interleaved_rl"),
}
FLAT_LAYOUTS = {"2d", "unspecified"}
STEREO_INVERT_FLAG = 1  # AVStereo3D's flag
STREAM_LINE = re.compile(r"^  Stream #0:(\d+)")
ENTRY_LINE = re.compile(r"^      (\S.*)$")


@dataclass(frozen=True)
class SideData:
    """What was found; `stereo` is Matroska's name of the 3D layout, empty where it has none.

    `dolby_profile` is the number in the configuration record, None without one.
    """

    kinds: frozenset[SideDataKind] = frozenset()
    stereo: str = ""
    dolby_profile: int | None = None


def probe_side_data(source: Path, index: int, name: str) -> SideData:
    """Side data in the first frames of a video stream and in ffmpeg's description of it.

    Raises InputError where the source cannot be opened.
    """
    entries = parse_side_data_entries(describe_input(executable(), source), index)
    with open_input(source, name) as container:
        codec = container.streams[index].codec_context.name
        found = [
            kinds
            for picture in decode_first_frames(container, index)
            if (kinds := read_frame_side_data(picture, codec))
        ]
    extras = {FRAME_KINDS[kind] for kinds in found for kind in kinds if kind in FRAME_KINDS}
    extras |= {extra for entry in entries for start, extra in HEADER_KINDS.items() if entry.lower().startswith(start)}
    stereo = next((layout for kinds in found if (layout := stereo_mode(kinds)) is not None), None)
    if stereo is not None or any(is_stereo_entry(entry) for entry in entries):
        extras.add(SideDataKind.STEREO)
    profiles = [match for entry in entries if (match := re.match(r"DOVI configuration.*?profile: (\d+)", entry))]
    return SideData(frozenset(extras), stereo or "", int(profiles[0][1]) if profiles else None)


def decode_first_frames(container: av.container.InputContainer, index: int) -> Iterable[VideoFrame]:
    """The first frames of a stream, up to a decoding error, which the reader reports."""
    try:
        for number, picture in enumerate(container.decode(container.streams[index])):
            if number == PROBE_FRAMES:
                return
            yield cast(VideoFrame, picture)
    except (av.error.FFmpegError, OSError, ValueError):
        return


def frame_side_data_kinds(picture: VideoFrame, codec: str) -> set[SideDataKind]:
    """What a picture that `codec` decoded carries beside its samples."""
    return {FRAME_KINDS[kind] for kind in read_frame_side_data(picture, codec) if kind in FRAME_KINDS}


def stereo_mode(kinds: dict[str, bytes]) -> str | None:
    """Matroska's name of a picture's 3D layout (empty: it has none), None where the picture is flat."""
    data = kinds.get("STEREO3D", b"")
    if len(data) < 8:
        return None
    layout, flags = struct.unpack_from("=2i", data)
    if not layout:
        return None
    return STEREO_LAYOUTS[layout][flags & STEREO_INVERT_FLAG] if layout in STEREO_LAYOUTS else ""


def is_stereo_entry(entry: str) -> bool:
    """Whether a line of ffmpeg's description is a 3D layout."""
    what, _, layout = entry.lower().partition(":")
    return what == "stereo 3d" and layout.split(",")[0].strip() not in FLAT_LAYOUTS


def parse_side_data_entries(lines: Sequence[str], index: int) -> list[str]:
    """The side data entries of a stream in what ffmpeg prints about a file."""
    entries: list[str] = []
    inside = listed = False
    for line in lines:
        if match := STREAM_LINE.match(line):
            inside, listed = int(match[1]) == index, False
        elif inside and line.startswith("    ") and not line.startswith("     "):
            listed = line.strip().lower() == "side data:"
        elif inside and listed and (found := ENTRY_LINE.match(line)):
            entries.append(found[1])
    return entries
