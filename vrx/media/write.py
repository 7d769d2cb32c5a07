"""Video writer: raw frames with their timestamps piped to ffmpeg, which encodes them and copies other streams.

The result gets its final name only when it is complete: it is written under another name in the same
folder, checked, synced, and renamed.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np

from vrx.errors import DeviceError, OutputError, ReaderGoneError, VrxError, mentions_memory
from vrx.media.atomic import commit, count_frames, make_folder
from vrx.media.embed_metadata import embed_source_metadata
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.ffmpeg_args import build_arguments, container_args, sequence_pattern
from vrx.media.frame import Frame, Kind, Plane
from vrx.media.last_frame import set_last_duration
from vrx.media.partial_files import partial_folder, partial_path
from vrx.media.signals import defer_signals
from vrx.media.target import ONE_PICTURE, PIPED_PICTURE, Target
from vrx.temporary import temporary_folder

HINTS = {  # substrings of ffmpeg messages: what to do
    "No space left": "Free some space and run the same command again",
    "quota exceeded": "Free some space and run the same command again",
    "File too large": "Raise the limit of file sizes (ulimit -f), or write to another disk",
    "SIGXFSZ": "Raise the limit of file sizes (ulimit -f), or write to another disk",
    "SIGKILL": "It was killed from outside, as systems do that run out of memory",
}


class Writer:
    """Writer of one result.  A context manager: leaving it by an exception removes the partial file."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.frames = 0
        self.resumed_frames = self.scene = 0  # of an earlier run: nothing, in one piece
        path = target.path
        self._folder: Path | None = None
        self._spool: ExitStack | None = None
        if target.single and path is None:  # what goes along is added when the picture is complete
            self._spool = ExitStack()
            self._partial = self._spool.enter_context(temporary_folder()) / PIPED_PICTURE
            destination = f"file:{self._partial}"
        elif path is None:
            destination = "pipe:1"
        elif target.sequence:
            self._folder = partial_folder(path)
            make_folder(self._folder)
            destination = f"file:{sequence_pattern(self._folder / path.name)}"
        else:
            self._partial = partial_path(path)
            destination = f"file:{self._partial}"
        stdout = sys.stdout.buffer if path is None and not target.single else None
        try:
            self._encoder = FFmpegProcess(build_arguments(target, destination), stdout)
        except OutputError:
            self._discard()
            raise
        self._open_pipe()

    def _open_pipe(self) -> None:
        target = self.target
        self._box = av.open(self._encoder.stdin, "w", format="nut")
        self._stream = self._box.add_stream("rawvideo", rate=target.rate)
        self._stream.width, self._stream.height = target.size
        self._stream.pix_fmt = target.layout.pix_fmt
        self._stream.time_base = target.time_base
        self._stream.codec_context.time_base = target.time_base
        if target.sample_aspect:
            self._stream.codec_context.sample_aspect_ratio = target.sample_aspect
            self._stream.sample_aspect_ratio = target.sample_aspect

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            self.abort()

    def write(self, frame: Frame) -> None:
        """Send one frame; its planes must have the target's layout and size."""
        if self.target.single and self.frames:
            raise OutputError(f"{self.target.path} is a single image, the result has more frames", ONE_PICTURE)
        planes = frame.planes
        if frame.layout.kind is Kind.RGB:  # ffmpeg's planar order is G, B, R
            planes = (planes[1], planes[2], planes[0], *planes[3:])
        elif frame.layout.kind is Kind.GRAY and frame.layout.alpha:
            planes = (cast(Plane, np.stack(planes, -1)),)
        packet = av.Packet(b"".join(plane.tobytes() for plane in planes))
        packet.stream = self._stream
        packet.time_base = self.target.time_base
        packet.pts = packet.dts = round((frame.time - self.target.offset) / self.target.time_base)
        packet.is_keyframe = True
        try:
            with defer_signals(self._encoder.kill):
                self._box.mux_one(packet)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._early_exit_error() from error
        self.frames += 1

    def _early_exit_error(self) -> VrxError:
        """The error for an encoder that has exited early."""
        try:
            self._encoder.finish()
        except OutputError as error:
            return writer_error(error, self.target.path)
        return OutputError("ffmpeg ended before the last frame")

    def finish(self, end: Fraction | None = None) -> None:
        """Complete the file, check it, and rename it; `end` is when the last frame stops being shown, if known.

        Raises OutputError where ffmpeg failed or the file does not hold what was sent.
        """
        try:
            try:
                with defer_signals(self._encoder.kill):
                    self._box.close()
            except (av.error.FFmpegError, OSError) as error:
                raise self._early_exit_error() from error
            try:
                self._encoder.finish()
            except OutputError as error:
                raise writer_error(error, self.target.path) from error
            if self.target.path is None and self._spool is None:
                return
            if self._folder is not None:
                self._commit_sequence()
            else:
                self._check()
                set_end_time(self.target, self._partial, end)
                self._commit_file()
        except BaseException:
            self._discard()
            raise

    def _check(self) -> None:
        if self.target.still:
            count = 1 if self._partial.exists() and self._partial.stat().st_size else 0
        else:
            count = count_frames(self._partial)
        if count != self.frames:
            raise OutputError(
                f"{self.target.path}: encoded file has {count} of {self.frames} frames; output discarded",
                "Try another --codec or container",
            )

    def _commit_file(self) -> None:
        """Rename the finished file, or send it to standard output."""
        self._embed([self._partial])
        if self.target.path is not None:
            commit(self._partial, self.target.path, self.target.overwrite)
            return
        try:
            sys.stdout.buffer.write(self._partial.read_bytes())
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            raise OutputError(f"cannot write standard output: {error.strerror}") from error
        self._discard()

    def _embed(self, files: Sequence[Path]) -> None:
        target = self.target
        if target.still:
            embed_source_metadata(files, target.pictures, target.size, target.layout.kind is Kind.GRAY)

    def _commit_sequence(self) -> None:
        assert self._folder is not None
        assert self.target.path is not None
        members = sorted(self._folder.iterdir())
        if len(members) != self.frames:
            raise OutputError(f"{self.target.path}: {len(members)} of {self.frames} pictures encoded; output discarded")
        self._embed(members)
        for member in members:
            commit(member, self.target.path.with_name(member.name), self.target.overwrite)
        self._folder.rmdir()

    def abort(self) -> None:
        """Stop and remove what was written."""
        self._encoder.abort()
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._box.close()
        self._discard()

    def _discard(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        elif self._spool is not None:
            self._spool.close()
        elif self.target.path is not None:
            self._partial.unlink(missing_ok=True)


def set_end_time(target: Target, partial: Path, end: Fraction | None) -> None:
    """Let the last frame of a finished result be shown until `end` seconds of the source, where that is known."""
    if end is not None and not target.still:
        set_last_duration(partial, target.container, container_args(replace(target, source=None)), end - target.offset)


def writer_error(error: OutputError, path: Path | None) -> VrxError:
    """An ffmpeg failure as an error about writing `path` (None: standard output), or about memory."""
    name = "standard output" if path is None else str(path)
    message = str(error)
    if mentions_memory(message):
        return DeviceError(f"out of memory while writing {name}: {error.message}", "Use a smaller video or --scale")
    if path is None and "Broken pipe" in message:
        return ReaderGoneError()
    hint = next((hint for words, hint in HINTS.items() if words in message), "")
    return OutputError(f"cannot write {name}: {error.message}", hint)
