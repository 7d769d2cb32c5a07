"""Videos as Python iterables: frames with their times out of a file, and into one."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vrx import events
from vrx.errors import ExistsError, OutputError, UsageError
from vrx.events import Note, Notify, Watcher
from vrx.media import encoders
from vrx.media.deinterlace import Deinterlace
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.media.read import Reader
from vrx.media.signals import defer_signals
from vrx.media.target import Target
from vrx.media.write import Writer
from vrx.pipeline import paths
from vrx.pipeline.arrays import Picture, array_to_rgb, describe_array
from vrx.pipeline.clashes import refuse_clashes
from vrx.pipeline.colorspace import Conversion, from_rgb, to_rgb
from vrx.pipeline.output import choose_encoder, expected_frames, prepare_target
from vrx.pipeline.resume.workspace import claim
from vrx.pipeline.session import select_span
from vrx.rates import to_rate
from vrx.settings import (
    Deinterlacing,
    Job,
    ModelSettings,
    OutputSettings,
    RestoreSettings,
    SelectionSettings,
    Task,
    to_seconds,
)
from vrx.temporary import temporary_folder

HOST = torch.device("cpu")
BT709 = Color(matrix="bt709", primaries="bt709", transfer="bt709", full_range=False)
Seconds = float | Fraction | str


class VideoFrame(Frame):
    """One frame of a video: planes as the file holds them, `layout`, `color`, and `time` in seconds, exact."""

    @classmethod
    def of(cls, frame: Frame) -> VideoFrame:
        """The same frame, with the methods of this class."""
        return cls(
            frame.planes, frame.layout, frame.color, frame.pts, frame.time_base, frame.interlaced, frame.quantizer
        )

    def to_numpy(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """RGB [H, W, 3]: uint8, or uint16 over its full range where the file has more than 8 bits."""
        dtype, peak = (np.uint8, 255) if self.layout.depth == 8 else (np.uint16, 65535)
        picture = (self.to_tensor() * peak).round_().clamp_(0, peak).permute(1, 2, 0)
        found: NDArray[Any] = np.ascontiguousarray(picture.numpy().astype(dtype))
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """What `np.asarray(frame)` gives: see `to_numpy`."""
        picture = self.to_numpy()
        return picture if dtype is None else picture.astype(dtype)

    def to_tensor(self, device: str | torch.device = "cpu") -> Tensor:
        """RGB [3, H, W], float32 in 0..1."""
        return to_rgb(self, torch.device(device))[0].clamp(0, 1)


class VideoReader:
    """The frames of a video, a picture or a numbered sequence, in order of time: decoded once, in constant memory.

    A context manager that is iterated once and gives `VideoFrame`s, upright.  `path` may be a pattern
    (`f_%05d.png`).  `start` and `end` are seconds (a number or `"1:20.5"`), `frames` the most that come,
    `stream` the index of another video stream than players show, `fps` the rate of numbered pictures (24 unless
    given).  `on_event` gets notes about the file.

    Raises InputError for what cannot be read, UsageError for options that make no sense.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        start: Seconds | None = None,
        end: Seconds | None = None,
        frames: int | None = None,
        stream: int | None = None,
        deinterlace: Deinterlacing = "auto",
        fps: Seconds | None = None,
        on_event: Watcher = events.ignore,
    ) -> None:
        self.path = Path(path)
        self.selection = SelectionSettings(
            start=to_seconds(start),
            end=to_seconds(end),
            frames=frames,
            stream=stream,
            deinterlace=deinterlace,
            fps=to_rate(fps),
        )
        self._times: deque[Fraction] | None = None
        self._iterated = self._closed = False
        self._stack = ExitStack()
        span = replace(select_span(self.selection), quantizers=True)  # so that models give what the command gives
        notify = make_notifier(str(self.path), on_event)
        self.reader = self._stack.enter_context(Reader(self.path, span, notify, None, Deinterlace(deinterlace)))
        self.reader.make_upright()

    def __repr__(self) -> str:
        width, height = self.size
        return f"VideoReader({str(self.path)!r}, {width}x{height}, {float(self.fps):g} fps)"

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; frames that were not read yet can no longer be."""
        self._closed = True
        self._stack.close()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        return self.reader.size

    @property
    def fps(self) -> Fraction:
        """The nominal frame rate; `time` of the frames is exact, also where rates vary."""
        return self.reader.info.video.rate

    @property
    def frame_count(self) -> int | None:
        """How many frames will come, by the file's header; None if unknown."""
        return expected_frames(self.reader.info_on_timeline(), self.selection)

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames.  Raises UsageError the second time, as frames are not stored, and once the file is closed."""
        if self._iterated:
            raise UsageError(f"{self.path} was read already", "Open another VideoReader to read it again")
        self._iterated = True
        return self._frames()

    def _frames(self) -> Iterator[VideoFrame]:
        frames = self.reader.frames()
        while True:
            if self._closed:  # a closed file must not be touched: the decoder would crash
                raise UsageError(f"{self.path} is closed", "Read the frames inside the with block of the VideoReader")
            frame = next(frames, None)
            if frame is None:
                return
            if self._times is not None:
                self._times.append(frame.time)
            yield VideoFrame.of(frame)

    def record_times(self) -> deque[Fraction]:
        """The times of the frames that are read from now on, for who writes a result frame by frame."""
        if self._iterated:
            raise UsageError(f"{self.path} is being read already", "Open the VideoWriter before reading frames")
        self._times = deque() if self._times is None else self._times
        return self._times


class VideoWriter:
    """A video, a picture or a numbered sequence that is written frame by frame.

    A context manager: the file appears under its name only when the block ends without an exception, complete
    and counted.  With `like`, a `VideoReader` whose frames were not read yet, the result has its frame times,
    colors, pixel format, sound, subtitles and metadata, at `scale` times its size; else give `size` (width,
    height) and `fps`.  An existing file is refused unless `overwrite`.

    Raises OutputError for what cannot be written, UsageError for options that make no sense.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        like: VideoReader | None = None,
        scale: int = 1,
        size: tuple[int, int] | None = None,
        fps: float | Fraction | None = None,
        codec: str = "auto",
        crf: int | None = None,
        preset: str | None = None,
        pix_fmt: str | None = None,
        encoder_args: tuple[str, ...] = (),
        audio: bool = True,
        overwrite: bool = False,
        on_event: Watcher = events.ignore,
    ) -> None:
        self.path, self._like = Path(path), like
        output = OutputSettings(
            path=os.fspath(path),
            codec=codec,
            crf=crf,
            preset=preset,
            pix_fmt=pix_fmt,
            encoder_args=encoder_args,
            audio=audio,
            overwrite=overwrite,
        )
        self._stack = ExitStack()
        self._times: deque[Fraction] | None = None
        try:
            if like is not None:
                if not isinstance(like, VideoReader):
                    raise UsageError(f"`like` is of type {type(like).__name__}", "Give an open VideoReader")
                if size is not None or fps is not None:
                    raise UsageError("VideoWriter takes size and fps from `like`", "Leave size and fps out")
                self._times = like.record_times()
                target = self._target_like(like, scale, output, make_notifier(str(path), on_event))
            elif size is None or fps is None:
                raise UsageError(
                    "VideoWriter needs `like`, or `size` and `fps`", "For example size=(1280, 720), fps=25"
                )
            else:
                target = make_plain_target(self.path, output, check_size(size), check_rate(fps))
                self._check(paths.Destination(self.path, sequence=target.sequence), overwrite)
            if target.path is not None:
                self._stack.enter_context(claim(target.path))
            with defer_signals():
                self._writer = self._stack.enter_context(Writer(target))
        except BaseException:
            self._stack.close()
            raise
        self.target = target
        self._finished = False
        self._abandon = weakref.finalize(self, abandon, self._writer, self._stack)  # dropped without `close`

    def _target_like(self, like: VideoReader, scale: int, output: OutputSettings, notify: Notify) -> Target:
        """The target of a result that is like a source."""
        restore = RestoreSettings(task=Task.DEBLUR) if scale == 1 else RestoreSettings(task=Task.UPSCALE, scale=scale)
        job = Job(
            source=str(like.path), model=ModelSettings(), restore=restore, selection=like.selection, output=output
        )
        destination = paths.find_destination(job, like.path, "vrx")
        refuse_clashes([(job, destination)])
        if destination is not None:
            self._check(destination, output.overwrite)
        return prepare_target(job, like.reader, destination, self._folder, notify)

    def _check(self, destination: paths.Destination, overwrite: bool) -> None:
        """Refuse what cannot be written, and an existing file unless it may be replaced."""
        paths.check_folder(destination)
        paths.check_kind(destination)
        found = destination.existing()
        if found and not overwrite:
            raise ExistsError(f"{found[0]} exists", "Choose another name, or overwrite=True to replace it")
        paths.make_folder(destination)

    def _folder(self) -> Path:
        return self._stack.enter_context(temporary_folder())

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:
            self.close()
        elif not self._finished:
            self._finished = True
            self._abandon()

    def write(self, frame: Picture, time: Seconds | None = None) -> None:
        """Add a frame: a `VideoFrame`, or RGB as [H, W, 3] array or [3, H, W] tensor (uint8, uint16, or float in 0..1).

        An array is shown from `time` (seconds) on; without it, when the frame of `like` was whose turn it is, or
        one frame after the one before it.  Raises UsageError after `close`.
        """
        if self._finished:
            raise UsageError(f"{self.path} is closed", "Write frames before the end of the `with` block")
        number = self._writer.frames
        expected = self._times.popleft() if self._times else None
        if isinstance(frame, Frame):
            fitted = self._fit(frame)
        else:
            at = to_seconds(time)
            if at is None:
                at = expected if expected is not None else self.target.offset + number / self.target.rate
            picture = array_to_rgb(frame, describe_array(frame, number), HOST)
            fitted = self._from_rgb(picture, None, round(at / self.target.time_base), self.target.time_base)
        if (fitted.width, fitted.height) != self.target.size:
            width, height = self.target.size
            raise UsageError(
                f"frame {number} is {fitted.width}x{fitted.height}, and {self.path} is {width}x{height}",
                "VideoWriter needs the scale that the model has, such as scale=4",
            )
        self._writer.write(fitted)

    def _fit(self, frame: Frame) -> Frame:
        """A frame in the layout and the color that the file has."""
        if frame.layout == self.target.layout and frame.color == self.target.color:
            return frame
        picture, alpha = to_rgb(frame, HOST)
        return self._from_rgb(picture, alpha, frame.pts, frame.time_base)

    def _from_rgb(self, picture: Tensor, alpha: Tensor | None, pts: int, time_base: Fraction) -> Frame:
        layout, color = self.target.layout, self.target.color
        conversion = Conversion(layout, color, (picture.shape[-1], picture.shape[-2]))
        return Frame(from_rgb(picture, alpha, conversion), layout, color, pts, time_base)

    def close(self) -> None:
        """Finish the file and give it its name.  Raises OutputError; then there is no file."""
        if self._finished:
            return
        self._finished = True
        self._abandon.detach()
        try:
            if not self._writer.frames:
                self._writer.abort()
                raise OutputError(f"cannot write {self.path}: no frames were given")
            self._writer.finish(self._like.reader.end_time if self._like is not None else None)
        finally:
            self._stack.close()


def check_size(size: object) -> tuple[int, int]:
    """A width and a height.  Raises UsageError for anything else."""
    sides = list(size) if isinstance(size, Iterable) else []
    if len(sides) != 2 or not all(isinstance(side, Integral) for side in sides):
        raise UsageError(f"size is {size!r}", "Give the width and the height in pixels, such as (1280, 720)")
    return int(sides[0]), int(sides[1])


def check_rate(fps: object) -> Fraction:
    """Frames per second.  Raises UsageError for what is not a finite number."""
    if isinstance(fps, bool) or not isinstance(fps, Real) or not isfinite(fps):
        raise UsageError(f"fps is {fps!r}", "Give a number, such as 25 or Fraction(30000, 1001)")
    return Fraction(fps if isinstance(fps, Fraction) else float(fps)).limit_denominator(1_000_000)


def abandon(writer: Writer, stack: ExitStack) -> None:
    """Stop a writer whose result is not wanted: no file and no process stays."""
    writer.abort()
    stack.close()


def make_plain_target(path: Path, output: OutputSettings, size: tuple[int, int], fps: Fraction) -> Target:
    """The target of a video that is not made from another one.  Raises UsageError."""
    suffix = path.suffix.lower()
    paths.check_suffix(path, str(path))
    if fps <= 0 or min(size) < 1:
        raise UsageError(f"cannot write {size[0]}x{size[1]} at {float(fps):g} fps", "Give positive numbers")
    still = suffix in encoders.STILL_ENCODERS
    wanted = Layout(Kind.RGB, 8) if still else Layout(Kind.YUV, 8, 1, 1)
    rule = encoders.find_encoder(choose_encoder(output, path, encoders.default_encoder(wanted, suffix)))
    layout, _ = encoders.choose_layout(wanted, rule, size, paths.container_of(path))
    return Target(
        path=path,
        container=paths.container_of(path),
        rule=rule,
        layout=layout,
        color=BT709 if layout.kind is Kind.YUV else Color(matrix="rgb", full_range=True),
        size=size,
        time_base=1 / fps,
        rate=fps,
        sample_aspect=Fraction(1),
        crf=output.crf,
        preset=output.preset,
        pix_fmt=output.pix_fmt,
        encoder_args=output.encoder_args,
        overwrite=output.overwrite,
        literal=not paths.is_numbered(path.name),
    )


def make_notifier(source: str, on_event: Watcher) -> Notify:
    """A function that sends notes about a file as events."""

    def notify(note: Note) -> None:
        on_event(events.Noted.of(source, note))

    return notify
