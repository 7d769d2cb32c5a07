"""Notes about data of the source that a result does not keep: one per loss, with advice where there is any."""

from __future__ import annotations

from collections.abc import Sequence

from vrx.events import Note
from vrx.media.encoders import CONTAINER_CODECS
from vrx.media.hdr10 import Hdr10Metadata, can_store
from vrx.media.probe import StreamInfo
from vrx.media.side_data import SideData, SideDataKind
from vrx.media.streams import LOSSY_SOUND, CopiedStream, is_plain_pcm

SUBTITLE_STYLES = {
    "ass": "fonts, colors and positions",
    "ssa": "fonts, colors and positions",
    "webvtt": "positions",
    "cc_dec": "positions",
}
STEREO_MODES = {  # Matroska's names of 3D layouts that a container can store; None: all of them
    "matroska": None,
    "webm": {"left_right", "right_left", "top_bottom", "bottom_top"},
}
ADVICE = {
    SideDataKind.DOLBY_VISION: "the result plays as the base layer without it",
    SideDataKind.HDR10_PLUS: "the result plays as plain HDR10",
    SideDataKind.CAPTIONS: 'save them first: ffmpeg -f lavfi -i "movie=NAME[out+subcc]" -map 0:s NAME.srt',
    SideDataKind.SPHERICAL: "mark the result again, for example with Google's Spatial Media Metadata Injector",
    SideDataKind.STEREO: "use -o NAME.mkv to keep them",
}
DOLBY_ONLY_PROFILE = 5  # of Dolby Vision: its base layer has a color space that only Dolby players know
MAX_NAMES = 6  # tags that a note names before it counts the rest


def stream_notes(container: str, lost: Sequence[tuple[StreamInfo, str]]) -> list[Note]:
    """Dropped streams, each given with the suffix of a container that can hold it, or an empty string."""
    notes = []
    for suffix in dict.fromkeys(suffix for _, suffix in lost):
        names = ", ".join(str(stream) for stream, other in lost if other == suffix)
        advice = f"; use -o NAME{suffix} to keep it" if suffix else ""
        text = f"{container} cannot hold {names}{advice}"
        notes.append(loss("stream-loss", text, container=container, streams=names, suffix=suffix or None))
    return notes


def conversion_notes(container: str, streams: Sequence[StreamInfo], copied: Sequence[CopiedStream]) -> list[Note]:
    """Streams that are converted to another codec, where that loses or changes something."""
    notes = []
    for stream in streams:
        codec = next((item.convert for item in copied if item.index == stream.index), None)
        if codec is None:
            continue
        text = ""
        if stream.kind == "audio":
            text = f"{container} cannot hold {stream} as it is; converted to {codec}, without loss"
            if is_plain_pcm(stream.codec) and container == "mp4":
                text = f"few players play {stream} in mp4; converted to {codec}; use -o NAME.mkv or .mov to keep it"
            elif codec in LOSSY_SOUND:
                text = f"{container} cannot hold {stream}; converted to {codec}; use -o NAME.mkv to avoid loss"
        elif stream.codec in SUBTITLE_STYLES:
            advice = "" if container == "matroska" else "; use -o NAME.mkv to keep them"
            text = f"{container} holds {stream} as {codec}, without its {SUBTITLE_STYLES[stream.codec]}{advice}"
        if text:
            notes.append(loss("stream-conversion", text, container=container, stream=stream.index, codec=codec))
    return notes


def picture_notes(streams: Sequence[StreamInfo], chapters: int) -> list[Note]:
    """Streams and chapters that are dropped where the result is pictures."""
    names = [str(stream) for stream in streams if stream.kind != "chapters"]
    names += ["chapters"] if chapters else []
    if not names:
        return []
    listed = ", ".join(names)
    return [loss("stream-loss", f"pictures cannot hold {listed}; use -o NAME.mkv to keep it", streams=listed)]


def chapter_notes(container: str, chapters: int, is_supported: bool, is_part: bool) -> list[Note]:
    """Dropped chapters: those of a source that is restored in part, or of a container without chapters."""
    if not chapters or (is_supported and not is_part):
        return []
    text = f"{container} cannot hold chapters; use -o NAME.mkv to keep them"
    if is_part:
        text = "chapters are dropped, since only a part is restored"
    return [loss("chapter-loss", text, chapters=chapters)]


def tag_notes(container: str, names: Sequence[str]) -> list[Note]:
    """Dropped tags of the file."""
    if not names:
        return []
    listed = ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")
    text = f"{container} cannot hold the tags {listed}; use -o NAME.mkv to keep them"
    return [loss("tag-loss", text, container=container, tags=len(names))]


def hdr10_notes(
    has_display: bool, metadata: Hdr10Metadata, destination: tuple[str, str], has_options: bool
) -> list[Note]:
    """Dropped HDR10 metadata; `destination` is encoder and container.

    `has_display`: the source has mastering display data at all; `has_options`: ffmpeg can
    pass the metadata to every encoder.
    """
    encoder, container = destination
    notes = []
    if has_display and not metadata.display:
        notes.append(loss("hdr10-loss", "the HDR10 mastering display data is incomplete and dropped"))
    if not metadata:
        return notes
    what = "HDR10's mastering display and light level"
    text = ""
    if container == "image2":
        text = f"pictures cannot hold {what}; use -o NAME.mkv to keep them"
    elif not has_options and encoder != "libx265":
        name = "" if "hevc" in CONTAINER_CODECS.get(container, ()) else " and -o NAME.mkv"
        text = f"this ffmpeg cannot write {what} with {encoder}; use --codec hevc{name}, or a newer ffmpeg"
    elif not can_store(encoder, container):
        text = f"{encoder} in {container} cannot hold {what}; use -o NAME.mkv to keep them"
    if text:
        notes.append(loss("hdr10-loss", text, encoder=encoder, container=container))
    return notes


def keeps_stereo(found: SideData, container: str) -> bool:
    """Whether the container can store the 3D layout."""
    if not found.stereo or container not in STEREO_MODES:
        return False
    modes = STEREO_MODES[container]
    return modes is None or found.stereo in modes


def side_data_notes(found: SideData, container: str) -> list[Note]:
    """Dropped side data of the video stream."""
    notes = []
    for kind in SideDataKind:
        if kind not in found.kinds or (kind is SideDataKind.STEREO and keeps_stereo(found, container)):
            continue
        advice = ADVICE.get(kind, "")
        if kind is SideDataKind.STEREO and not (found.stereo and keeps_stereo(found, "matroska")):
            advice = ""
        if kind is SideDataKind.DOLBY_VISION and found.dolby_profile == DOLBY_ONLY_PROFILE:
            advice = "profile 5 has wrong colors without it, so convert the source to HDR10 first"
        text = f"{kind.value} cannot be preserved" + (f"; {advice}" if advice else "")
        notes.append(loss("side-data-loss", text, kind=kind.value))
    return notes


def loss(code: str, text: str, **facts: str | int | None) -> Note:
    """A warning with its facts."""
    return Note(code, text, facts, "warning")
