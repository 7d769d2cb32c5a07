"""Streams and tags that go into the result beside the restored picture, and notes about those that cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vrx.events import Note, Notify
from vrx.media import data_loss
from vrx.media.containers import choose_container
from vrx.media.frame import Layout
from vrx.media.metadata_tags import (
    FILE_TAGS,
    KEYED_CONTAINERS,
    KEYED_FLAG,
    TagOptions,
    delete_args,
    find_lost_tags,
    find_statistics,
    try_tags,
)
from vrx.media.probe import SourceInfo, StreamInfo
from vrx.media.side_data import SideData
from vrx.media.streams import CopiedStream, can_mux, fallback_codec, select_streams
from vrx.settings import Job

ROOMIER = {"matroska": ".mkv", "mov": ".mov"}  # what is advised where a container cannot hold a stream
TIMECODED = {"mp4", "mov", "matroska", "webm"}  # containers that keep a timecode as a tag of the picture
CHAPTERED = {"mp4", "mov", "matroska", "webm", "nut"}
PICTURES = "image2"
LONGEST_WORD = 30_000  # letters that a command line takes for one word everywhere


def other_streams(info: SourceInfo, audio: bool) -> list[StreamInfo]:
    """The source's streams but the restored one, and but the sound where none is wanted."""
    found = [stream for stream in info.streams if stream.index != info.video.index]
    return found if audio else [stream for stream in found if stream.kind != "audio"]


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """From a source into a container, with the restored picture in `layout`.

    `others` are the streams to go along, in the file `source`, which need not be the one that `info` describes.
    """

    job: Job
    info: SourceInfo
    source: Path
    others: Sequence[StreamInfo]
    found: SideData
    container: str
    layout: Layout
    notify: Notify

    @property
    def part(self) -> bool:
        """Whether only a part of the source is restored."""
        selection = self.job.selection
        return any(limit is not None for limit in (selection.start, selection.end, selection.frames))

    @property
    def late(self) -> bool:
        """Whether that part does not begin where the source does."""
        return bool(self.job.selection.start)

    def warn(self, notes: list[Note]) -> None:
        """Pass notes on with the name of the source."""
        for note in notes:
            self.notify(replace(note, text=f"{self.job.source}: {note.text}"))

    def streams(self) -> tuple[CopiedStream, ...]:
        """The source's other streams, as far as the container holds them."""
        if self.container == PICTURES:
            self.warn(data_loss.picture_notes(self.others, self.info.chapters))
            return ()
        wanted = [stream for stream in self.others if not self._is_rewritten(stream)]
        carried, dropped = select_streams(self.source, self.container, wanted)
        suggestions = [(stream, self._suggest_container(stream)) for stream in dropped]
        self.warn(data_loss.stream_notes(self.container, suggestions))
        self.warn(data_loss.conversion_notes(self.container, wanted, carried))
        self.warn(data_loss.chapter_notes(self.container, self.info.chapters, self.container in CHAPTERED, self.part))
        return tuple(carried)

    def _is_rewritten(self, stream: StreamInfo) -> bool:
        """Whether the muxer makes a stream itself: titles of chapters, and the timecode that a tag gives."""
        if stream.kind == "chapters":
            return True
        tagged = "timecode" in stream.metadata and "timecode" in self._picture_tags()
        return stream.kind == "data" and tagged and (self.late or self.container in TIMECODED)

    def _suggest_container(self, stream: StreamInfo) -> str:
        """The suffix of a container that would keep a stream, or an empty string."""
        for form, suffix in ROOMIER.items():
            codec = fallback_codec(stream, form)
            if form != self.container and (
                can_mux(self.source, stream, form) or (codec is not None and can_mux(self.source, stream, form, codec))
            ):
                return suffix
        return ""

    def _picture_tags(self) -> dict[str, str]:
        """The tags of the restored stream."""
        video = self.info.video.index
        return next((stream.metadata for stream in self.info.streams if stream.index == video), {})

    def tags(self, carried: tuple[CopiedStream, ...]) -> TagOptions:
        """How the source's tags are written, without those that would be wrong in the result."""
        if self.container == PICTURES:
            return TagOptions()
        own = self._picture_tags()
        wrong = find_statistics(own)
        wrong += [name for name in own if name.lower() == "alpha_mode" and not self.layout.alpha]
        if self.late and "timecode" in own:
            wrong.append("timecode")
            text = "the timecode is dropped, since the result begins elsewhere"
            self.warn([data_loss.loss("timecode-loss", text)])
        words = list(delete_args(":s:0", wrong))
        streams = {stream.index: stream for stream in self.others}
        for place, item in enumerate(carried, start=1):
            words += delete_args(f":s:{place}", find_statistics(streams[item.index].metadata))
        words += delete_args("", [name for name in self.info.metadata if name.lower() in FILE_TAGS])
        if data_loss.keeps_stereo(self.found, self.container):
            words += ["-metadata:s:0", f"stereo_mode={self.found.stereo}"]
        flag = self._file_tags(carried)
        if flag:  # again from here, since a file between may hold less
            for name, value in self.info.metadata.items():
                if name.lower() not in FILE_TAGS and len(value) < LONGEST_WORD:
                    words += ["-metadata", f"{name}={value}"]
        return TagOptions(words=tuple(words), movflag=flag)

    def _file_tags(self, carried: tuple[CopiedStream, ...]) -> str:
        """Tell which tags of the file are lost; returns the muxer's flag that saves most of them."""
        if not set(map(str.lower, self.info.metadata)) - FILE_TAGS:
            return ""
        survived = try_tags(self.info.path, self.container)
        if survived is None:
            return ""
        flag, lost = "", find_lost_tags(self.info, survived)
        # by key, all are stored, but many players read the common ones elsewhere only; and covers are lost
        covered = any(item.kind == "cover" for item in carried)
        if lost and self.container in KEYED_CONTAINERS and "mov" in self.info.container and not covered:
            keyed = try_tags(self.info.path, self.container, KEYED_FLAG)
            if keyed is not None and len(fewer := find_lost_tags(self.info, keyed)) < len(lost):
                flag, lost = KEYED_FLAG, fewer
        self.warn(data_loss.tag_notes(self.container, lost))
        return flag


def container_reason(job: Job, info: SourceInfo, output: Path | None) -> str:
    """Why the result has another container than usual, where vrx chose it; else an empty string."""
    wanted = job.output.path
    if output is None or (wanted is not None and "{ext}" not in wanted and Path(wanted) == output):
        return ""
    suffix, reason = choose_container(other_streams(info, job.output.audio), Path(job.source).suffix)
    return reason if suffix == output.suffix else ""
