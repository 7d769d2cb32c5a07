"""Pictures that ffmpeg puts together: tiles, transparency stored apart, animations that PyAV cannot read.

They are decoded into a temporary file without loss, which is read in their place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.error

from vrx.errors import InputError, OutputError
from vrx.media.animations import HEIF_SUFFIXES, webp_frames
from vrx.media.color import MATRICES, PRIMARIES, TRANSFERS
from vrx.media.ffmpeg import Encoder
from vrx.media.frame import Color
from vrx.media.heif import CODED, Heif, read_heif

NAMES = {"hvc1": "hevc", "hev1": "hevc", "av01": "av1", "jpeg": "mjpeg", "avc1": "h264", "vvc1": "vvc"}
LOSSLESS = ("-c:v", "ffv1", "-level", "3", "-g", "1", "-fps_mode", "passthrough", "-f", "matroska")
UNTOUCHED = ("-c:v", "rawvideo", "-f", "nut")  # no change of range, and tiles take no filter of ours


@dataclass(frozen=True)
class Composition:
    """How ffmpeg makes the whole picture: words after its input, and the size that must come out.

    `size` is (0, 0) where the file does not say.
    """

    words: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)


def composition(path: Path, name: str) -> Composition | None:
    """What has to be done before a file can be read; None where PyAV reads all of it by itself.

    Raises InputError for a file whose picture nothing here can put together.
    """
    suffix = path.suffix.lower()
    if suffix == ".webp" and path.is_file() and webp_frames(path) > 1:
        return Composition()
    heif = read_heif(path) if suffix in HEIF_SUFFIXES else None
    item = heif.picture if heif is not None else None
    if heif is None or item is None:
        return None
    if heif.moving:
        return moving_composition(path, heif)
    streams, alpha = picture_streams(path), heif.alpha()
    trouble = ""
    if item.kind not in CODED and item.kind != "grid":
        trouble = f"its picture is of the kind {item.kind!r}"
    elif item.kind == "grid" and item.content("clap"):
        trouble = "its picture is made of tiles and cut to a part of them"
    elif alpha is not None and not streams.get(item.number, "").startswith("yuv"):
        trouble = "its transparency is stored apart from tiles, gray or RGB"
    if trouble:
        raise InputError(f"cannot read {name}: {trouble}, which is not supported", "Convert it to PNG first")
    if alpha is not None:
        return Composition(merging((f"i:{item.number}", f"i:{alpha}"), streams[item.number]), heif.size)
    return Composition(UNTOUCHED, heif.size) if item.kind == "grid" or item.content("clap") else None


def moving_composition(path: Path, heif: Heif) -> Composition | None:
    """For an animation: its transparency is a track of its own."""
    if not heif.alpha_tracks:
        return None
    with av.open(f"file:{path}") as box:
        tracks = [s for s in box.streams.video if s.duration is not None or s.frames > 1]
        if len(tracks) <= heif.alpha_tracks[0] or not (tracks[0].codec_context.pix_fmt or "").startswith("yuv"):
            return None
        pair = (str(tracks[0].index), str(tracks[heif.alpha_tracks[0]].index))
        return Composition(merging(pair, tracks[0].codec_context.pix_fmt or ""))


def picture_streams(path: Path) -> dict[int, str]:
    """The pixel formats of a file's streams, by the numbers of their items."""
    try:
        with av.open(f"file:{path}") as box:
            return {s.id: s.codec_context.pix_fmt or "" for s in box.streams.video if s.codec_context is not None}
    except (av.error.FFmpegError, OSError, ValueError):
        return {}


def merging(streams: tuple[str, str], opaque: str) -> tuple[str, ...]:
    """ffmpeg's words that lay the second stream's luma over the first, of format `opaque`, as its alpha plane."""
    form = opaque.replace("yuvj", "yuv").replace("yuv", "yuva", 1)
    depth = av.VideoFormat(form).components[0].bits
    gray = "gray" if depth == 8 else f"gray{depth}le"
    same = "scale=in_range=pc:out_range=pc"  # whatever the range is: no change of values
    graph = (
        f"[0:{streams[0]}]{same},format={form.replace('yuva', 'yuv', 1)}[c];"
        f"[0:{streams[1]}]extractplanes=y,{same},format={gray}[a];[c][a]mergeplanes=0x00010210:{form}"
    )
    return "-filter_complex", graph, *UNTOUCHED


def color_in(heif: Heif) -> Color | None:
    """The color tags of the container, None where it has none."""
    codes = heif.color_codes()
    if codes is None:
        return None
    matrix, primaries, transfer = MATRICES.get(codes[2], ""), PRIMARIES.get(codes[0], ""), TRANSFERS.get(codes[1], "")
    return Color(matrix=matrix, primaries=primaries, transfer=transfer, full_range=codes[3])


@dataclass(frozen=True)
class Original:
    """What a source says of itself where a temporary file is read in its place; `color` None where it says nothing."""

    container: str
    codec: str
    color: Color | None = None


def original(path: Path) -> Original:
    """Of a source that was put together."""
    heif = read_heif(path)
    if heif is None:
        return Original("webp", "webp")
    codec = next((NAMES[item.kind] for item in heif.items.values() if item.kind in NAMES), "")
    return Original("heif", codec, color_in(heif))


@contextmanager
def readable(path: Path, name: str) -> Iterator[Path]:
    """The file to open in place of a source: itself, or a temporary one that holds its whole picture.

    Raises InputError where ffmpeg cannot make that.
    """
    made = composition(path, name)
    if made is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="vrx-") as folder:
        whole = Path(folder) / "whole"
        try:
            Encoder(["-y", "-i", f"file:{path}", *LOSSLESS, *made.words, f"file:{whole}"]).finish()
        except OutputError as error:
            raise InputError(
                f"cannot read {name}: ffmpeg cannot put its picture together ({error.message})",
                "Convert it first, or install a newer imageio-ffmpeg",
            ) from error
        check_size(whole, made.size, name)
        yield whole


def check_size(whole: Path, size: tuple[int, int], name: str) -> None:
    """Refuse a part of the picture, or none.  Raises InputError."""
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
