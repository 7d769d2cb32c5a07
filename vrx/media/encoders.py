"""Video encoders: supported pixel layouts and quality options."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vrx.errors import UsageError, choice_of
from vrx.media.frame import Kind, Layout

CHROMA = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0)}


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """An ffmpeg encoder.

    `chroma` and `depths` it can hold in YUV; `rgb`, `gray`, `alpha` depths of those (empty: none);
    `even` where it refuses odd sizes with subsampled chroma; `quality` the option that --crf sets and
    its default; `extra` further options; `smallest` and `largest` width and height, where it has a limit that
    people meet; `interlaced` the options by which it codes fields, None where it does not.
    """

    name: str
    chroma: tuple[str, ...]
    depths: tuple[int, ...]
    rgb: tuple[int, ...] = ()
    gray: tuple[int, ...] = ()
    alpha: tuple[tuple[str, int], ...] = ()
    even: bool = False
    quality: tuple[str, int] | None = None
    preset: str | None = None
    extra: tuple[str, ...] = ()
    smallest: tuple[int, int] = (1, 1)
    largest: tuple[int, int] | None = None
    interlaced: tuple[str, ...] | None = None


FIELDS = ("-flags:v:0", "+ilme+ildct")
APPLE_TAG = ("-tag:v:0", "hvc1")  # for HEVC in MP4 and MOV
ALL_CHROMA = ("420", "422", "444")
PICTURE_ALPHA = (("rgb", 8), ("rgb", 16), ("gray", 8))  # the pipe to ffmpeg (NUT) has no name for 16 bits of gray
ENCODERS: dict[str, EncoderSpec] = {
    "libx264": EncoderSpec(
        name="libx264",
        chroma=ALL_CHROMA,
        depths=(8, 10),
        gray=(8, 10),
        even=True,
        quality=("-crf", 17),
        preset="medium",
        largest=(16384, 16384),
        interlaced=FIELDS,
    ),
    "libx265": EncoderSpec(
        name="libx265",
        chroma=ALL_CHROMA,
        depths=(8, 10, 12),
        rgb=(8, 10, 12),
        gray=(8, 10, 12),
        even=True,
        quality=("-crf", 18),
        preset="fast",
        extra=APPLE_TAG,
    ),
    "libsvtav1": EncoderSpec(
        name="libsvtav1",
        chroma=("420",),
        depths=(8, 10),
        quality=("-crf", 22),
        preset="7",
        largest=(16384, 8704),
    ),
    "libvpx-vp9": EncoderSpec(
        name="libvpx-vp9",
        chroma=("420", "422", "444", "440"),
        depths=(8, 10, 12),
        rgb=(8, 10, 12),
        alpha=(("420", 8),),
        quality=("-crf", 22),
        extra=("-b:v:0", "0", "-row-mt", "1", "-deadline", "good", "-cpu-used", "4"),
    ),
    "prores_ks": EncoderSpec(
        name="prores_ks",
        chroma=("422", "444"),
        depths=(10,),
        alpha=(("444", 10),),
        extra=("-vendor", "apl0"),
        interlaced=FIELDS,
    ),
    "dnxhd": EncoderSpec(  # as DNxHR, whose profiles of 10 bits take as much room as those of 8
        name="dnxhd", chroma=("422", "444"), depths=(10,), rgb=(10,), smallest=(256, 120)
    ),
    "ffv1": EncoderSpec(
        name="ffv1",
        chroma=("420", "422", "444", "440", "411"),
        depths=(8, 9, 10, 12, 14, 16),
        rgb=(9, 10, 12, 14, 16),
        gray=(8, 9, 10, 12, 16),
        alpha=(("420", 8), ("422", 8), ("444", 8), ("420", 10), ("422", 10), ("444", 10), ("rgb", 8), ("rgb", 16)),
        extra=("-level", "3", "-slicecrc", "1", "-g", "1"),
        interlaced=(),
    ),
    "huffyuv": EncoderSpec(name="huffyuv", chroma=("422",), depths=(8,), rgb=(8,), alpha=(("rgb", 8),), even=True),
    "utvideo": EncoderSpec(
        name="utvideo", chroma=("420", "422", "444"), depths=(8,), rgb=(8,), alpha=(("rgb", 8),), even=True
    ),
    "v210": EncoderSpec(name="v210", chroma=("422",), depths=(10,), even=True, interlaced=()),
    "png": EncoderSpec(name="png", chroma=(), depths=(), rgb=(8, 16), gray=(8, 16), alpha=PICTURE_ALPHA),
    "tiff": EncoderSpec(name="tiff", chroma=(), depths=(), rgb=(8, 16), gray=(8, 16), alpha=PICTURE_ALPHA),
    "mjpeg": EncoderSpec(
        name="mjpeg",
        chroma=ALL_CHROMA,
        depths=(8,),
        extra=("-q:v", "2", "-huffman", "optimal"),
        largest=(65500, 65500),
    ),
    "bmp": EncoderSpec(name="bmp", chroma=(), depths=(), rgb=(8,), gray=(8,)),
    "ppm": EncoderSpec(name="ppm", chroma=(), depths=(), rgb=(8, 16)),
    "dpx": EncoderSpec(name="dpx", chroma=(), depths=(), rgb=(8, 10, 12, 16), gray=(8, 16)),
    "libwebp": EncoderSpec(
        name="libwebp",
        chroma=("420",),
        depths=(8,),
        alpha=(("420", 8),),
        extra=("-quality", "95"),
        largest=(16383, 16383),
    ),
}
SHORT_NAMES = {
    "h264": "libx264",
    "x264": "libx264",
    "hevc": "libx265",
    "h265": "libx265",
    "x265": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "prores": "prores_ks",
    "dnxhr": "dnxhd",
    "ffv1": "ffv1",
}
CONTAINER_CODECS = {  # that are advised for a container, by ffmpeg's name of it; it may hold more
    "mp4": ("h264", "hevc", "av1", "vp9"),
    "mov": ("h264", "hevc", "prores", "dnxhr"),
    "matroska": ("h264", "hevc", "av1", "vp9", "ffv1"),
    "webm": ("vp9", "av1"),
    "avi": ("h264", "ffv1"),
    "nut": ("h264", "hevc", "ffv1"),
    "mpegts": ("h264", "hevc"),
}
STILL_ENCODERS = {
    ".png": "png",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".webp": "libwebp",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".ppm": "ppm",
    ".dpx": "dpx",
}
MEZZANINES = {"prores": "prores_ks", "dnxhd": "dnxhd"}  # codecs of editing, by decoder, which a result in MOV keeps
LOSSLESS = {"ffv1": "FFV1", "ffvhuff": "FFVHuff", "huffyuv": "HuffYUV", "utvideo": "Ut Video", "v210": "v210"}
LOSSLESS_IN = {  # lossless codecs that a container keeps; others become FFV1 where it is one of them
    ".mkv": ("ffv1",),
    ".avi": ("ffv1", "huffyuv", "utvideo"),
    ".mov": ("v210",),
}
X26X_PRESETS = "ultrafast, superfast, veryfast, faster, fast, medium, slow, slower, veryslow, placebo"
PRESETS = {"libx264": X26X_PRESETS, "libx265": X26X_PRESETS, "libsvtav1": "0 (slow) to 13 (fast)"}  # for --preset
SLICE_PIXELS = 1 << 22  # of FFV1; ffmpeg refuses slices of somewhat more
HARDWARE_SUFFIXES = ("_nvenc", "_qsv", "_vaapi", "_amf", "_videotoolbox")


def find_encoder(codec: str) -> EncoderSpec:
    """The encoder of a codec's short name, or of an ffmpeg encoder name.

    Raises UsageError for a name that is neither.
    """
    name = SHORT_NAMES.get(codec, codec)
    if name in ENCODERS:
        return ENCODERS[name]
    if name.endswith(HARDWARE_SUFFIXES):
        nvidia = name.endswith("_nvenc")
        quality = ("-cq", 19) if nvidia else ("-global_quality", 20)
        depths = (8,) if name.startswith("h264") else (8, 10)
        extra: tuple[str, ...] = (
            ("-rc:v:0", "vbr", "-b:v:0", "0") if nvidia else ()
        )  # or a bitrate would limit the quality
        extra += APPLE_TAG if name.startswith("hevc") else ()
        return EncoderSpec(name=name, chroma=("420",), depths=depths, even=True, quality=quality, extra=extra)
    known = ", ".join(SHORT_NAMES)
    raise UsageError(f"unknown codec {codec!r}", f"Choose one of {known}, or a hardware encoder's ffmpeg name")


def default_encoder(layout: Layout, suffix: str) -> str:
    """The default encoder for a container suffix: supports the source layout and plays widely."""
    if suffix in STILL_ENCODERS:
        return STILL_ENCODERS[suffix]
    if suffix == ".webm":
        return "libvpx-vp9"
    if layout.alpha:
        return "prores_ks" if suffix == ".mov" else "ffv1" if suffix == ".mkv" else "libx264"
    return "libx265" if layout.depth > 8 and suffix != ".avi" else "libx264"  # players expect no HEVC in AVI


def lossless_encoder(codec: str, layout: Layout, suffix: str, size: tuple[int, int]) -> str | None:
    """The encoder that keeps what a lossless codec stores in a layout, in a container of a suffix; None for none."""
    known = LOSSLESS_IN.get(suffix, ()) if codec in LOSSLESS else ()
    for name in (codec, "ffv1"):
        if name in known and (takes_odd(ENCODERS[name]) or not (size[0] % 2 or size[1] % 2)):
            result, lost = choose_layout(layout, ENCODERS[name], size)
            if not lost and result == layout:
                return name
    return None


def fits(rule: EncoderSpec, size: tuple[int, int]) -> bool:
    """Whether an encoder takes pictures of a size, odd sides aside."""
    small = size[0] < rule.smallest[0] or size[1] < rule.smallest[1]
    return not small and (rule.largest is None or (size[0] <= rule.largest[0] and size[1] <= rule.largest[1]))


def takes_odd(rule: EncoderSpec) -> bool:
    """Whether an encoder takes pictures with an odd side, in some layout."""
    return not rule.even or "444" in rule.chroma


def advise_codec(container: str, size: tuple[int, int], rule: EncoderSpec | None = None) -> str:
    """`Use --codec vp9 or av1`: codecs of a container that take a size, but for that of `rule`; or another container.

    `container` by ffmpeg's name.
    """
    rules = {name: ENCODERS[SHORT_NAMES[name]] for name in CONTAINER_CODECS.get(container, ())}
    odd = bool(size[0] % 2 or size[1] % 2)
    good = [name for name, one in rules.items() if one != rule and fits(one, size) and (takes_odd(one) or not odd)]
    return f"Use --codec {choice_of(good)}" if good else "Use -o NAME.mkv"


def choose_layout(
    layout: Layout, rule: EncoderSpec, size: tuple[int, int], container: str = "matroska"
) -> tuple[Layout, str]:
    """The nearest layout that the encoder supports for a picture of `size`, and what is lost, in words.

    Raises UsageError for a size that it does not support; the hint names codecs that `container` holds.
    """
    if not fits(rule, size):
        hint = advise_codec(container, size, rule) + (", or a smaller size" if rule.largest is not None else "")
        if rule.name in STILL_ENCODERS.values():
            hint = "Write a PNG or TIFF picture, or a smaller one"
        limit, (width, height) = ("at most", rule.largest) if rule.largest else ("at least", rule.smallest)
        raise UsageError(f"{rule.name} cannot hold {size[0]}x{size[1]}, {limit} {width}x{height}", hint)
    if (size[0] % 2 or size[1] % 2) and not takes_odd(rule):
        raise UsageError(
            f"{rule.name} cannot hold the odd size {size[0]}x{size[1]}", advise_codec(container, size, rule)
        )
    lost = []
    if layout.alpha and rule.alpha:
        result, reason = choose_alpha_layout(layout, rule)
    else:
        if layout.alpha:
            lost.append("transparency")
        result, reason = choose_opaque_layout(replace(layout, alpha=False), rule, size)
    lost += [reason] if reason else []
    return result, f"{rule.name} cannot hold {' or '.join(lost)}; written as {result.pix_fmt}" if lost else ""


def choose_alpha_layout(layout: Layout, rule: EncoderSpec) -> tuple[Layout, str]:
    """As `choose_opaque_layout`, for pictures with alpha and an encoder that supports it.

    The same layout where the encoder has it, else one of the same depth or more, else the deepest.
    """
    kinds = {Kind.RGB: "rgb", Kind.GRAY: "gray"}
    own = (kinds.get(layout.kind) or chroma_name(layout), layout.depth)
    candidates = [pair for pair in rule.alpha if (pair[0] == "gray") <= (layout.kind is Kind.GRAY)]
    if layout.kind is Kind.GRAY:
        candidates.sort(key=lambda pair: pair[0] != "gray")
    enough = [pair for pair in candidates if pair[1] >= layout.depth]
    chroma, depth = own if own in candidates else enough[0] if enough else max(candidates, key=lambda pair: pair[1])
    lost = depth_loss(layout.depth, depth)
    if chroma == "gray":
        return Layout(Kind.GRAY, depth, alpha=True), lost
    if chroma == "rgb":
        return Layout(Kind.RGB, depth, alpha=True), lost
    wanted = chroma_name(layout)  # 4:4:4 for RGB
    if layout.kind is not Kind.GRAY and not preserves_chroma(chroma, wanted):
        lost = lost or f"4:{wanted[1]}:{wanted[2]}"
    return Layout(Kind.YUV, depth, *CHROMA[chroma], alpha=True), lost


def choose_opaque_layout(layout: Layout, rule: EncoderSpec, size: tuple[int, int]) -> tuple[Layout, str]:
    """As `choose_layout`, for pictures without alpha; second what is lost, or an empty string."""
    if layout.kind is Kind.GRAY and rule.gray:
        depth = nearest_depth(layout.depth, rule.gray)
        return Layout(Kind.GRAY, depth), depth_loss(layout.depth, depth)
    if rule.rgb and (layout.kind is Kind.RGB or not rule.chroma):
        depths = (8, *rule.rgb) if rule.name == "ffv1" else rule.rgb
        depth = nearest_depth(layout.depth, depths)
        return Layout(Kind.RGB, depth), depth_loss(layout.depth, depth)
    depth = nearest_depth(layout.depth, rule.depths)
    lost = depth_loss(layout.depth, depth)
    wanted = {Kind.RGB: "444", Kind.GRAY: "420"}.get(layout.kind) or chroma_name(layout)
    enough = [c for c in rule.chroma if preserves_chroma(c, wanted)]
    chroma = wanted if wanted in rule.chroma else min(enough or ["420"], key=chroma_samples)
    if layout.kind is Kind.RGB:
        lost = lost or "RGB"
    elif layout.kind is Kind.YUV and not preserves_chroma(chroma, wanted):
        lost = lost or f"4:{wanted[1]}:{wanted[2]}"
    shift_x, shift_y = CHROMA[chroma]
    if rule.even and ((shift_x and size[0] % 2) or (shift_y and size[1] % 2)):
        return Layout(Kind.YUV, depth), f"the odd size {size[0]}x{size[1]} in 4:{chroma[1]}:{chroma[2]}"
    return Layout(Kind.YUV, depth, shift_x, shift_y), lost


def interlacing_trouble(rule: EncoderSpec, layout: Layout, size: tuple[int, int]) -> str:
    """Why an encoder cannot code pictures of a size (width, height) as fields; empty where it can."""
    if rule.interlaced is None:
        return f"{rule.name} cannot tag fields (--codec h264, prores and ffv1 can)"
    rows = 2 << layout.shift_y  # of macroblocks in H.264, which has those of chroma, too
    if rule.name == "libx264" and size[1] % rows:
        return f"{rule.name} codes fields where the height is a multiple of {rows} (--codec prores and ffv1 always do)"
    return ""


def slice_count(size: tuple[int, int]) -> int:
    """Slices of an FFV1 picture: as few as the format allows, but four, so that there is work for several threads."""
    side = 2
    while size[0] * size[1] > side**2 * SLICE_PIXELS:
        side += 1
    return side**2


def chroma_name(layout: Layout) -> str:
    """`420` and the like for a YUV layout."""
    shifts = (layout.shift_x, layout.shift_y)
    return next((name for name, known in CHROMA.items() if known == shifts), "444")


def chroma_samples(chroma: str) -> int:
    """Chroma samples a four by two block."""
    x, y = CHROMA[chroma]
    return 8 >> (x + y)


def preserves_chroma(chroma: str, wanted: str) -> bool:
    """Whether subsampling `chroma` stores at least the samples of `wanted`."""
    return all(a <= b for a, b in zip(CHROMA[chroma], CHROMA[wanted], strict=True))


def nearest_depth(depth: int, depths: tuple[int, ...]) -> int:
    """The smallest depth that holds `depth`, else the largest one."""
    return min((d for d in depths if d >= depth), default=max(depths))


def depth_loss(wanted: int, actual: int) -> str:
    """The bits lost when `wanted` bits become `actual`, in words."""
    return f"{wanted} bits" if actual < wanted else ""


def encoder_pix_fmt(layout: Layout, name: str) -> str:
    """The pixel format that an encoder, by its ffmpeg name, takes for a layout."""
    if layout.kind is Kind.RGB:
        packed = {
            ("ffv1", 8, False): "bgr0",
            ("ffv1", 8, True): "bgra",
            ("ffv1", 16, True): "gbrap16le",
            ("huffyuv", 8, False): "rgb24",
            ("huffyuv", 8, True): "bgra",
            ("png", 8, False): "rgb24",
            ("png", 8, True): "rgba",
            ("png", 16, False): "rgb48be",
            ("png", 16, True): "rgba64be",
            ("tiff", 8, False): "rgb24",
            ("tiff", 8, True): "rgba",
            ("tiff", 16, False): "rgb48le",
            ("tiff", 16, True): "rgba64le",
            ("bmp", 8, False): "bgr24",
            ("ppm", 8, False): "rgb24",
            ("ppm", 16, False): "rgb48be",
            ("dpx", 8, False): "rgb24",
            ("dpx", 10, False): "gbrp10be",
            ("dpx", 12, False): "gbrp12be",
            ("dpx", 16, False): "rgb48be",
        }
        return packed.get((name, layout.depth, layout.alpha), layout.pix_fmt)
    if name in ("png", "dpx") and layout.depth == 16:
        return "gray16be"
    if name == "mjpeg":
        return layout.pix_fmt.replace("yuv", "yuvj") if layout.kind is Kind.YUV else "gray"
    return layout.pix_fmt
