"""Pictures composed by ffmpeg: tiled images, separate alpha, and animations that PyAV cannot read.

They are decoded losslessly into a temporary file, which is read in their place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.error

from vrx.errors import InputError, OutputError
from vrx.media.animations import HEIF_SUFFIXES, count_webp_frames
from vrx.media.color import MATRICES, PRIMARIES, TRANSFERS
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.frame import Color
from vrx.media.heif import CODED_ITEMS, HeifFile, HeifItem, read_heif
from vrx.settings import LIMIT, too_large
from vrx.temporary import temporary_folder

CODEC_NAMES = {"hvc1": "hevc", "hev1": "hevc", "av01": "av1", "jpeg": "mjpeg", "avc1": "h264", "vvc1": "vvc"}
LOSSLESS_OUTPUT = ("-c:v", "ffv1", "-level", "3", "-g", "1", "-fps_mode", "passthrough", "-f", "matroska")
MOV_OUTPUT = ("-enc_time_base", "demux", "-f", "mov")  # MOV also stores the duration of the last picture
RAW_OUTPUT = ("-c:v", "rawvideo", "-f", "nut")  # no range conversion; tiled pictures accept no filters


@dataclass(frozen=True)
class Composition:
    """How ffmpeg composes the picture: arguments after its input, and the size of the result.

    `size` is (0, 0) where the file does not store it.
    """

    words: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)


def plan_composition(path: Path, name: str) -> Composition | None:
    """The composition that a file needs before it can be read; None where PyAV can read it directly.

    Raises InputError for a file whose picture cannot be composed.
    """
    suffix = path.suffix.lower()
    if suffix == ".webp" and path.is_file() and count_webp_frames(path) > 1:
        return Composition(MOV_OUTPUT)
    heif = read_heif(path) if suffix in HEIF_SUFFIXES else None
    if heif is None or heif.picture is None:
        return None
    if heif.is_animation:
        return plan_animation(path, heif, name)
    return plan_still(path, heif, heif.picture, name)


def plan_still(path: Path, heif: HeifFile, item: HeifItem, name: str) -> Composition | None:
    """Composition of a still: its tiles, and its alpha, which is a separate picture."""
    streams, alpha = item_pix_fmts(path), heif.alpha()
    form = alpha_pix_fmt(streams.get(item.number, ""))
    if too_large(*heif.size):
        raise InputError(f"cannot read {name}: {heif.size[0]}x{heif.size[1]} is {LIMIT}")
    if item.kind not in CODED_ITEMS and item.kind != "grid":
        raise unsupported_error(name, f"its picture is of the kind {item.kind!r}")
    if item.kind == "grid" and item.content("clap"):
        raise unsupported_error(name, "its picture is made of tiles and cut to a part of them")
    if alpha is not None and (not form or alpha not in streams):
        raise unsupported_error(name, "its transparency is stored apart from tiles, gray or RGB")
    if alpha is not None:
        return Composition(alpha_merge_args((f"i:{item.number}", f"i:{alpha}"), form), heif.size)
    return Composition(RAW_OUTPUT, heif.size) if item.kind == "grid" or item.content("clap") else None


def plan_animation(path: Path, heif: HeifFile, name: str) -> Composition | None:
    """Composition of an animation, whose alpha is a separate track."""
    if not heif.alpha_tracks:
        return None
    with av.open(f"file:{path}") as box:
        tracks = [s for s in box.streams.video if s.duration is not None or s.frames > 1]
        form = alpha_pix_fmt(tracks[0].codec_context.pix_fmt or "") if tracks else ""
        if not form or len(tracks) <= heif.alpha_tracks[0]:
            raise unsupported_error(name, "its transparency is stored apart from gray or RGB")
        return Composition(alpha_merge_args((str(tracks[0].index), str(tracks[heif.alpha_tracks[0]].index)), form))


def unsupported_error(name: str, why: str) -> InputError:
    """The error for a picture that cannot be composed."""
    return InputError(f"cannot read {name}: {why}, which is not supported", "Convert it to PNG first")


def item_pix_fmts(path: Path) -> dict[int, str]:
    """The pixel formats of a file's streams, by the numbers of their items."""
    try:
        with av.open(f"file:{path}") as box:
            return {s.id: s.codec_context.pix_fmt or "" for s in box.streams.video if s.codec_context is not None}
    except (av.error.FFmpegError, OSError, ValueError):
        return {}


def alpha_pix_fmt(opaque: str) -> str:
    """The planar YUV format with an added alpha plane, empty where there is none."""
    form = opaque.replace("yuvj", "yuv").replace("yuv", "yuva", 1)
    try:
        return str(av.VideoFormat(form).name) if opaque.startswith("yuv") else ""
    except ValueError:
        return ""


def alpha_merge_args(streams: tuple[str, str], form: str) -> tuple[str, ...]:
    """ffmpeg arguments that use the second stream's luma as the alpha plane of `form`."""
    depth = av.VideoFormat(form).components[0].bits
    gray = "gray" if depth == 8 else f"gray{depth}le"
    same = "scale=in_range=pc:out_range=pc"  # whatever the range is: no change of values
    graph = (
        f"[0:{streams[0]}]{same},format={form.replace('yuva', 'yuv', 1)}[c];"
        f"[0:{streams[1]}]extractplanes=y,{same},format={gray}[a];[c][a]mergeplanes=0x00010210:{form}"
    )
    return "-filter_complex", graph, *RAW_OUTPUT


def container_color(heif: HeifFile) -> Color | None:
    """The color tags of the container, None where it has none."""
    codes = heif.color_codes()
    if codes is None:
        return None
    matrix, primaries, transfer = MATRICES.get(codes[2], ""), PRIMARIES.get(codes[0], ""), TRANSFERS.get(codes[1], "")
    return Color(matrix=matrix, primaries=primaries, transfer=transfer, full_range=codes[3])


@dataclass(frozen=True)
class SourceFormat:
    """Container, codec and color of a composed source; `color` None where it is untagged."""

    container: str
    codec: str
    color: Color | None = None


def read_source_format(path: Path) -> SourceFormat:
    """The format of a composed source."""
    heif = read_heif(path)
    if heif is None:
        return SourceFormat("webp", "webp")
    codec = next((CODEC_NAMES[item.kind] for item in heif.items.values() if item.kind in CODEC_NAMES), "")
    return SourceFormat("heif", codec, container_color(heif))


@contextmanager
def readable_copy(path: Path, name: str) -> Iterator[Path]:
    """The file to open for a source: itself, or a temporary one with its composed picture.

    Raises InputError where ffmpeg cannot make that.
    """
    made = plan_composition(path, name)
    if made is None:
        yield path
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary_folder())
        except OSError as error:
            raise InputError(f"cannot read {name}: no temporary folder ({error.strerror})", "Set TMPDIR") from error
        whole = folder / "whole"
        compose(path, made, whole, name)
        check_size(whole, made.size, name)
        yield whole


def compose(path: Path, made: Composition, whole: Path, name: str) -> None:
    """Write the temporary file with ffmpeg.  Raises InputError."""
    source = ["-y", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    try:
        FFmpegProcess([*source, *LOSSLESS_OUTPUT, *made.words, f"file:{whole}"]).finish()
    except OutputError as error:
        raise InputError(
            f"cannot read {name}: ffmpeg cannot compose its picture ({error.message})",
            "Convert it first, or install a newer imageio-ffmpeg",
        ) from error


def check_size(whole: Path, size: tuple[int, int], name: str) -> None:
    """Check the size of the composed picture.  Raises InputError."""
    try:
        with av.open(f"file:{whole}") as box:
            stream = box.streams.video[0]
            found = (stream.width, stream.height)
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(f"cannot read {name}: truncated or damaged") from error
    if (0, 0) != size != found:
        raise InputError(
            f"cannot read {name}: ffmpeg makes {found[0]}x{found[1]} of it, not {size[0]}x{size[1]}",
            "Convert it first, or install a newer imageio-ffmpeg",
        )
