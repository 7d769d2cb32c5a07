"""HDR10's mastering display and content light level: from a source's frames to an encoder's words."""

from __future__ import annotations

import struct
from fractions import Fraction

CHROMATICITY_UNIT = 50_000  # x265 counts in 0.00002
LUMINANCE_UNIT = 10_000  # and in 0.0001 cd/m2
RATIONALS = 10  # display primaries (R, G, B as x, y), white point (x, y), least and most luminance


def x265_parameters(side_data: dict[str, bytes]) -> tuple[str, ...]:
    """`master-display` and `max-cll` for x265, from the raw side data of a frame; empty where unset.

    The bytes are AVMasteringDisplayMetadata (ten rationals, then two flags) and
    AVContentLightMetadata (two unsigned ints), as FFmpeg's libavutil lays them out.
    """
    words = []
    mastering = side_data.get("MASTERING_DISPLAY_METADATA", b"")
    if len(mastering) >= RATIONALS * 8 + 8:
        numbers = struct.unpack_from(f"={RATIONALS * 2}i", mastering)
        has_primaries, has_luminance = struct.unpack_from("=2i", mastering, RATIONALS * 8)
        values = [Fraction(n, d) if d else Fraction(0) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
        if has_primaries and has_luminance:
            r, g, b, white = (tuple(round(v * CHROMATICITY_UNIT) for v in values[i : i + 2]) for i in (0, 2, 4, 6))
            least, most = (round(v * LUMINANCE_UNIT) for v in values[8:10])
            words.append(
                f"master-display=G({g[0]},{g[1]})B({b[0]},{b[1]})R({r[0]},{r[1]})"
                f"WP({white[0]},{white[1]})L({most},{least})"
            )
    light = side_data.get("CONTENT_LIGHT_LEVEL", b"")
    if len(light) >= 8:
        most_light, average = struct.unpack_from("=2I", light)
        words.append(f"max-cll={most_light},{average}")
    return ("hdr10=1", "repeat-headers=1", *words) if words else ()
