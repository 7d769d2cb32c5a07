"""Color tags: defaults for untagged pictures, tags of the result, and YUV to RGB."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar, cast

from vrx.media.frame import Color, Kind, Layout

# ffmpeg's names of the codes of ITU-T H.273
MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"}
MATRICES |= {9: "bt2020nc", 10: "bt2020c", 14: "ictcp"}
PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film"}
PRIMARIES |= {9: "bt2020", 10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "jedec-p22"}
TRANSFERS = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear"}
TRANSFERS |= {9: "log100", 10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1"}
TRANSFERS |= {14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"}
SD_HEIGHT = 576  # rows, of 625 lines; players take untagged pictures up to here for BT.601, larger ones for BT.709
COEFFICIENTS = {  # red and blue weight of luma: ITU-R BT.601-7, BT.709-6, BT.2020-2, SMPTE 240M, FCC
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "bt470bg": (0.299, 0.114),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
    "bt2020c": (0.2627, 0.0593),
}

Samples = TypeVar("Samples")  # a numpy array or a torch tensor of floats


def assumed_matrix(width: int, height: int) -> str:
    """The matrix that players assume for an untagged picture: BT.601, by its name for 625 or 525 lines, or BT.709."""
    if not is_sd(width, height):
        return "bt709"
    return "bt470bg" if height == SD_HEIGHT else "smpte170m"


def is_sd(width: int, height: int) -> bool:
    """Whether players assume BT.601 for an untagged picture of this size (standard definition)."""
    return height <= SD_HEIGHT and width <= 1024


def resolve_color(color: Color, layout: Layout, size: tuple[int, int]) -> Color:
    """The color with default matrix and range where it is untagged."""
    if layout.kind is Kind.RGB:
        return replace(color, matrix="rgb", full_range=True)
    matrix = color.matrix if color.matrix in COEFFICIENTS else ""
    if not matrix:
        matrix = assumed_matrix(*size)
    full = color.full_range if color.full_range is not None else False
    return replace(color, matrix=matrix, full_range=full)


def output_color(
    source: Color, sizes: tuple[tuple[int, int], tuple[int, int]], layouts: tuple[Layout, Layout]
) -> Color:
    """The tags of the result, from the source's tags, both sizes (width, height) and both layouts.

    As in the source; but an untagged picture that grows out of standard definition is tagged with what
    it was taken for, since players would take the larger one for something else.
    """
    before, after = layouts
    if after.kind is Kind.RGB:
        return replace(source, matrix="rgb", full_range=True)
    if before.kind is Kind.RGB:
        return replace(source, matrix=assumed_matrix(*sizes[1]), full_range=False, chroma_location="")
    return fill_matrix(source, before, *sizes)


def fill_matrix(color: Color, layout: Layout, before: tuple[int, int], after: tuple[int, int]) -> Color:
    """The color, its matrix tagged where players would assume another one for the new size."""
    if color.matrix or layout.kind is Kind.RGB or is_sd(*before) == is_sd(*after):
        return color
    return replace(color, matrix=resolve_color(color, layout, before).matrix)


def describe_changes(first: Color, now: Color, layout: Layout, size: tuple[int, int]) -> list[str]:
    """Color changes in a later frame of a video, in words: those that are converted and those that cannot be.

    Tags that appear late and match what was assumed are not a change.
    """
    lines = []
    if not same_samples(first, now, layout, size):
        described = f"{now.matrix or 'untagged'}, {'full' if now.full_range else 'limited'} range"
        lines.append(f"the color changes to {described}; converted to the first")
    pairs = ((first.primaries, now.primaries), (first.transfer, now.transfer))
    if any(before and before != after for before, after in pairs):
        described = ", ".join(after or "untagged" for _, after in pairs)
        lines.append(f"primaries and transfer change to {described}; the result is tagged as the first picture")
    return lines


def same_samples(one: Color, other: Color, layout: Layout, size: tuple[int, int]) -> bool:
    """Whether samples of a layout mean the same in both colors; `size` is (width, height)."""
    first, second = resolve_color(one, layout, size), resolve_color(other, layout, size)
    same_matrix = first.matrix == second.matrix or COEFFICIENTS[first.matrix] == COEFFICIENTS[second.matrix]
    return same_matrix and first.full_range == second.full_range


def unscale_luma(y: Samples, depth: int, full: bool) -> Samples:
    """Stored luma, limited or full range, to 0..1."""
    values: Any = y
    unit = 1 << (depth - 8)
    scaled = values / ((1 << depth) - 1) if full else (values - 16 * unit) / (219 * unit)
    return cast(Samples, scaled)


def unscale_chroma(c: Samples, depth: int, full: bool) -> Samples:
    """Stored chroma, limited or full range, to -0.5..0.5."""
    values: Any = c
    unit = 1 << (depth - 8)
    return cast(Samples, (values - 128 * unit) / (((1 << depth) - 1) if full else 224 * unit))


def yuv_to_rgb(y: Samples, u: Samples, v: Samples, matrix: str) -> tuple[Samples, Samples, Samples]:
    """Luma 0..1 and chroma -0.5..0.5 to R, G, B in 0..1, by a matrix that `COEFFICIENTS` names."""
    red, blue = COEFFICIENTS[matrix]
    luma, first, second = cast(tuple[Any, Any, Any], (y, u, v))
    r, b = luma + 2 * (1 - red) * second, luma + 2 * (1 - blue) * first
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return r, g, b


def setparams_filter(color: Color) -> str:
    """The ffmpeg filter that tags raw frames."""
    parts = []
    if color.full_range is not None:
        parts.append(f"range={'pc' if color.full_range else 'tv'}")
    if color.matrix:
        parts.append(f"colorspace={'gbr' if color.matrix == 'rgb' else color.matrix}")
    if color.primaries:
        parts.append(f"color_primaries={color.primaries}")
    if color.transfer:
        parts.append(f"color_trc={color.transfer}")
    if color.chroma_location:
        parts.append(f"chroma_location={color.chroma_location}")
    return "setparams=" + ":".join(parts) if parts else ""
