"""What a result cannot keep of its source, in words: one line a loss, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from vrx.media.hdr10 import Hdr10Metadata, can_store
from vrx.media.probe import StreamInfo
from vrx.media.side_data import SideData, SideDataKind
from vrx.media.streams import CopiedStream

SUBTITLE_STYLES = {
    "ass": "fonts, colors and places",
    "ssa": "fonts, colors and places",
    "webvtt": "places",
    "cc_dec": "places",
}
STEREO_MODES = {  # Matroska's names of 3D layouts that a container holds; None: all of them
    "matroska": None,
    "webm": {"left_right", "right_left", "top_bottom", "bottom_top"},
}
ADVICE = {
    SideDataKind.DOLBY_VISION: "the result plays as the plain picture beneath it",
    SideDataKind.HDR10_PLUS: "the result plays as plain HDR10",
    SideDataKind.CAPTIONS: 'save them first: ffmpeg -f lavfi -i "movie=NAME[out+subcc]" -map 0:s NAME.srt',
    SideDataKind.SPHERICAL: "mark the result again, for example with Google's Spatial Media Metadata Injector",
    SideDataKind.STEREO: "use -o NAME.mkv to keep them",
}
DOLBY_ONLY_PROFILE = 5  # of Dolby Vision: its picture has colors of its own kind, which only Dolby's players know
MAX_NAMES = 6  # tags that a line names before it counts the rest


def stream_lines(container: str, lost: Sequence[tuple[StreamInfo, str]]) -> list[str]:
    """Streams that are left out, each with the suffix of a container that would hold it, or an empty string."""
    lines = []
    for suffix in dict.fromkeys(suffix for _, suffix in lost):
        names = ", ".join(str(stream) for stream, held in lost if held == suffix)
        advice = f"; use -o NAME{suffix} to keep it" if suffix else ""
        lines.append(f"{container} cannot hold {names}{advice}")
    return lines


def conversion_lines(container: str, streams: Sequence[StreamInfo], carried: Sequence[CopiedStream]) -> list[str]:
    """What becomes another codec on its way, where that changes something."""
    lines = []
    for stream in streams:
        codec = next((item.convert for item in carried if item.index == stream.index), None)
        if codec is None:
            continue
        if stream.kind == "audio":
            lines.append(f"{container} cannot hold {stream} as it is; converted to {codec}, without loss")
        elif stream.codec in SUBTITLE_STYLES:
            advice = "" if container == "matroska" else "; use -o NAME.mkv to keep them"
            lines.append(f"{container} holds {stream} as {codec}, without its {SUBTITLE_STYLES[stream.codec]}{advice}")
    return lines


def picture_lines(streams: Sequence[StreamInfo], chapters: int) -> list[str]:
    """What pictures leave out of a video."""
    names = [str(stream) for stream in streams if stream.kind != "chapters"]
    names += ["chapters"] if chapters else []
    return [f"pictures cannot hold {', '.join(names)}; use -o NAME.mkv to keep it"] if names else []


def chapter_lines(container: str, chapters: int, kept: bool, part: bool) -> list[str]:
    """Chapters that are left out: of a part of the source, or of a container without a place for them."""
    if not chapters or (kept and not part):
        return []
    if part:
        return ["chapters are left out, since only a part is restored"]
    return [f"{container} cannot hold chapters; use -o NAME.mkv to keep them"]


def tag_lines(container: str, names: Sequence[str]) -> list[str]:
    """Tags of the file that are left out."""
    if not names:
        return []
    shown = ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")
    return [f"{container} cannot hold the tags {shown}; use -o NAME.mkv to keep them"]


def mastering_lines(raw: bool, mastering: Hdr10Metadata, where: tuple[str, str], options: bool) -> list[str]:
    """HDR10 data that is left out; `where` is encoder and container.

    `raw` says whether there is a mastering display at all, `options` whether ffmpeg can hand it to every encoder.
    """
    encoder, container = where
    lines = []
    if raw and not mastering.display:
        lines.append("the HDR10 mastering display data is incomplete and left out")
    if not mastering:
        return lines
    what = "HDR10's mastering display and light level"
    if container == "image2":
        lines.append(f"pictures cannot hold {what}; use -o NAME.mkv to keep them")
    elif not options and encoder != "libx265":
        lines.append(f"this ffmpeg cannot write {what} with {encoder}; use --codec hevc, or a newer ffmpeg")
    elif not can_store(encoder, container):
        lines.append(f"{encoder} in {container} cannot hold {what}; use -o NAME.mkv to keep them")
    return lines


def keeps_stereo(found: SideData, container: str) -> bool:
    """Whether the 3D layout has a name that the container writes."""
    if not found.stereo or container not in STEREO_MODES:
        return False
    modes = STEREO_MODES[container]
    return modes is None or found.stereo in modes


def side_data_lines(found: SideData, container: str) -> list[str]:
    """Data beside the pictures that is left out."""
    lines = []
    for extra in SideDataKind:
        if extra not in found.extras or (extra is SideDataKind.STEREO and keeps_stereo(found, container)):
            continue
        advice = ADVICE.get(extra, "")
        if extra is SideDataKind.STEREO and not (found.stereo and keeps_stereo(found, "matroska")):
            advice = ""
        if extra is SideDataKind.DOLBY_VISION and found.dolby_profile == DOLBY_ONLY_PROFILE:
            advice = "profile 5 has wrong colors without it, so convert the source to HDR10 first"
        lines.append(f"{extra.value} cannot be kept" + (f"; {advice}" if advice else ""))
    return lines
