"""HDR10 static metadata (mastering display, content light level): from frames to ffmpeg's and x265's options."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

CHROMATICITY_UNIT = 50_000  # counts of 0.00002
LUMINANCE_UNIT = 10_000  # and of 0.0001 cd/m2
RATIONALS = 10  # display primaries (R, G, B as x, y), white point (x, y), least and most luminance
OPTION = "mastering_display"  # of ffmpeg 8.1 and later; its companion is content_light
IN_BITSTREAM = {"libx264", "libx265", "libsvtav1"}  # encoders that write both into the video itself
IN_CONTAINER = {"mp4", "mov", "matroska", "webm"}  # containers with a place for both


@dataclass(frozen=True)
class Hdr10Metadata:
    """`display` as G(x,y)B(x,y)R(x,y)WP(x,y)L(most,least), `light` as MAX,AVERAGE; empty where unset."""

    display: str = ""
    light: str = ""

    def __bool__(self) -> bool:
        return bool(self.display or self.light)


def parse_hdr10(side_data: dict[str, bytes]) -> Hdr10Metadata:
    """HDR10 metadata from the raw side data of a frame.

    The bytes are AVMasteringDisplayMetadata (ten rationals, then two flags) and
    AVContentLightMetadata (two unsigned ints), as FFmpeg's libavutil lays them out.
    """
    display = light = ""
    mastering = side_data.get("MASTERING_DISPLAY_METADATA", b"")
    if len(mastering) >= RATIONALS * 8 + 8:
        numbers = struct.unpack_from(f"={RATIONALS * 2}i", mastering)
        has_primaries, has_luminance = struct.unpack_from("=2i", mastering, RATIONALS * 8)
        values = [Fraction(n, d) if d else Fraction(0) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
        if has_primaries and has_luminance:
            r, g, b, white = (tuple(round(v * CHROMATICITY_UNIT) for v in values[i : i + 2]) for i in (0, 2, 4, 6))
            least, most = (round(v * LUMINANCE_UNIT) for v in values[8:10])
            display = f"G({g[0]},{g[1]})B({b[0]},{b[1]})R({r[0]},{r[1]})WP({white[0]},{white[1]})L({most},{least})"
    level = side_data.get("CONTENT_LIGHT_LEVEL", b"")
    if len(level) >= 8:
        most_light, average = struct.unpack_from("=2I", level)
        light = f"{most_light},{average}"
    return Hdr10Metadata(display, light)


def x265_parameters(mastering: Hdr10Metadata) -> tuple[str, ...]:
    """x265's options, for an ffmpeg without options for all encoders."""
    words = [f"master-display={mastering.display}"] if mastering.display else []
    words += [f"max-cll={mastering.light}"] if mastering.light else []
    return ("hdr10=1", "repeat-headers=1", *words) if words else ()


def ffmpeg_options(mastering: Hdr10Metadata) -> tuple[str, ...]:
    """ffmpeg's input options, of which every encoder and container uses what it supports."""
    words = ["-mastering_display:v:0", mastering.display] if mastering.display else []
    words += ["-content_light:v:0", mastering.light] if mastering.light else []
    return tuple(words)


def can_store(encoder: str, container: str) -> bool:
    """Whether encoder or container can store the metadata."""
    return container in IN_CONTAINER or encoder in IN_BITSTREAM
