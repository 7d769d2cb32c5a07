"""Restoring frames one by one: what they are, their scenes, their masks, and the events about them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vrx import events
from vrx.errors import UsageError, resource_errors
from vrx.events import Note, Watcher
from vrx.media.color import output_color
from vrx.media.frame import Frame
from vrx.media.masks import MaskTrack
from vrx.models.base import Restorer, SceneStart
from vrx.pipeline.arrays import Array, ArrayConverter, ArrayFormat, ArrayFrame, wrap_array
from vrx.pipeline.chunking import Chunk, MaskedFrame, make_chunks
from vrx.pipeline.convert import Bypass, FrameConverter, OutputFormat
from vrx.pipeline.executor import Converter, InFlight, SynchronousExecutor
from vrx.pipeline.mask_growth import Growth
from vrx.pipeline.progress import failure_notes
from vrx.pipeline.video import VideoFrame, VideoReader, make_notifier
from vrx.scenes.detect import CUT_THRESHOLD, SceneFrame, apply_cuts, detect_cuts
from vrx.settings import RestoreSettings, Task

Mask = NDArray[Any] | Tensor
Masks = str | os.PathLike[str] | Mask | Iterable[Mask]
IN_MEMORY = "frames"  # the input of events about frames in memory


@dataclass(frozen=True)
class CallOptions:
    """The arguments of one call; `scenes` None finds cuts, else the frames that begin a scene."""

    restore: RestoreSettings
    prompt: str | None
    scenes: frozenset[int] | None
    scene_threshold: float | None
    on_event: Watcher
    masks: Masks | None = None


class VideoFrameConverter(FrameConverter):
    """As FrameConverter, with frames that have the methods of `VideoFrame`."""

    def to_frames(self, chunk: Chunk, restored: Tensor, bypass: Bypass) -> list[Frame]:
        """Frames of the result."""
        return [VideoFrame.of(frame) for frame in super().to_frames(chunk, restored, bypass)]


def restore_frames(
    restorer: Restorer, frames: Iterable[Any], call: CallOptions, device: torch.device
) -> Iterator[Frame | Array]:
    """Restored frames, one by one, of the kind of those that come in."""
    source = iter(frames)
    first = next(source, None)
    if first is None:
        return
    with resource_errors(str(device)), ExitStack() as stack:
        wrapped = wrap_frames(chain([first], source), detect=call.scenes is None)
        start = next(wrapped)
        origin = frames.reader.origin if isinstance(frames, VideoReader) else start.time
        masks = open_masks(call, start, origin, stack)
        boundaries = find_boundaries(chain([start], wrapped), call)
        items = make_chunks(add_masks(boundaries, masks), restorer.schedule, restorer.scale)
        executor = SynchronousExecutor(restorer, make_converter(start, call.restore, device))
        progress = FrameProgress(call.on_event)
        results = stack.enter_context(closing(executor.results(items)))
        for item in results:
            if isinstance(item, SceneStart):
                progress.begin_scene(item)
            elif isinstance(item, InFlight):
                progress.report_notes([*item.notes, *failure_notes()])
                yield from item.restored
                progress.advance(len(item.restored))


def wrap_frames(frames: Iterator[Any], detect: bool) -> Iterator[Frame]:
    """Frames as the pipeline takes them, checked.  Raises UsageError for those that do not go together."""
    form: ArrayFormat | None = None
    first: Frame | None = None
    for number, frame in enumerate(frames):
        if isinstance(frame, Frame) or (first is not None and form is None):
            yield check_frame(frame, number, first)
        else:
            frame = wrap_array(frame, number, form, detect)
            form = frame.form
            yield frame
        first = first or frame


def check_frame(frame: object, number: int, first: Frame | None) -> Frame:
    """A frame of a video, unless it differs from the first one.  Raises UsageError."""
    if not isinstance(frame, Frame) or isinstance(first, ArrayFrame):
        raise UsageError(f"frame {number} is of another kind than those before it", "Give frames of one kind")
    if first is not None and (frame.width, frame.height, frame.layout) != (first.width, first.height, first.layout):
        raise UsageError(f"frame {number} is {frame}, the first one {first}", "Give frames of one size and format")
    return frame


def make_converter(first: Frame, restore: RestoreSettings, device: torch.device) -> Converter[Any]:
    """The conversion for frames of the kind of the first one."""
    if isinstance(first, ArrayFrame):
        return ArrayConverter(device, restore.scale, restore.blend, restore.keeps_known)
    size = (first.width, first.height)
    enlarged = (size[0] * restore.scale, size[1] * restore.scale)
    output = OutputFormat(
        layout=first.layout,
        color=output_color(first.color, (size, enlarged), (first.layout, first.layout)),
        scale=restore.scale,
        blend=restore.blend,
        known=restore.keeps_known,
    )
    return VideoFrameConverter(device, output)


def find_boundaries(frames: Iterator[Frame], call: CallOptions) -> Iterator[SceneFrame]:
    """Frames with their scene boundaries."""
    if call.scenes is not None:
        return apply_cuts(frames, call.scenes)
    return detect_cuts(frames, CUT_THRESHOLD if call.scene_threshold is None else call.scene_threshold)


def check_scenes(scenes: str | Iterable[int]) -> frozenset[int] | None:
    """The numbers of the frames that begin a scene; None where they are to be found.  Raises UsageError."""
    if isinstance(scenes, str) and scenes in ("auto", "off"):
        return None if scenes == "auto" else frozenset()
    numbers: list[Any] = list(scenes) if isinstance(scenes, Iterable) and scenes != "" else [None]
    if not all(isinstance(number, Integral) and int(number) >= 0 for number in numbers):
        raise UsageError(f"scenes is {scenes!r}", 'Use "auto", "off", or the numbers of the frames that begin a scene')
    return frozenset(numbers)


class FrameMasks:
    """The mask of each frame: from a file, one for all, or one after the other."""

    def __init__(
        self, masks: Mask | Iterable[Mask] | MaskTrack, first: Frame, origin: Fraction, dilate: int | None
    ) -> None:
        self._size, self._origin = (first.height, first.width), origin
        self._track = masks if isinstance(masks, MaskTrack) else None
        has_margin = self._track is not None and self._track.has_margin
        self._growth = Growth.of(dilate, first.layout, has_margin)
        self._fixed: NDArray[np.bool_] | None = None
        self._rest: Iterator[Mask] = iter(())
        if isinstance(masks, np.ndarray | Tensor) and masks.ndim == 2:
            self._fixed = self._prepare(masks, 0)
        elif self._track is None:
            self._rest = iter(cast(Iterable[Mask], masks))

    def next(self, frame: Frame, number: int) -> NDArray[np.bool_]:
        """The mask [H, W] of a frame.  Raises UsageError."""
        if self._track is not None:
            return self._growth.apply(self._track.at(frame.time - self._origin))
        if self._fixed is not None:
            return self._fixed
        mask = next(self._rest, None)
        if mask is None:
            raise UsageError(f"the masks end before frame {number}", "Give one for each frame, or one [H, W] for all")
        return self._prepare(mask, number)

    def _prepare(self, mask: Mask, number: int) -> NDArray[np.bool_]:
        array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
        if array.shape != self._size:
            shape = list(array.shape)
            raise UsageError(f"mask {number} has the shape {shape}, frames are {list(self._size)}", "Masks are [H, W]")
        if array.dtype.kind not in "biuf":
            raise UsageError(f"mask {number} has the type {array.dtype}", "Masks are bool, whole numbers or floats")
        if array.dtype != np.bool_:
            half = 0.5 if np.issubdtype(array.dtype, np.floating) else (np.iinfo(array.dtype).max + 1) / 2
            array = array >= half
        return self._growth.apply(array)


def open_masks(call: CallOptions, first: Frame, origin: Fraction, stack: ExitStack) -> FrameMasks | None:
    """The masks of a call; those of a file are closed with the stack.  Raises UsageError and InputError."""
    masks = call.masks
    if call.restore.task is not Task.INPAINT:
        return None
    if masks is None:
        raise UsageError("inpaint needs masks", "Give one [H, W] for all frames, one for each, or a path")
    if isinstance(masks, str | os.PathLike):
        notify = make_notifier(IN_MEMORY, call.on_event)
        masks_ = stack.enter_context(MaskTrack(Path(masks), (first.width, first.height), notify))
        return FrameMasks(masks_, first, origin, call.restore.dilate)
    return FrameMasks(masks, first, origin, call.restore.dilate)


def add_masks(frames: Iterator[SceneFrame], masks: FrameMasks | None) -> Iterator[MaskedFrame]:
    """Frames with the masks that belong to them."""
    for number, item in enumerate(frames):
        mask = None if masks is None else masks.next(item.frame, number)
        yield MaskedFrame(item.frame, mask, item.boundary)


class FrameProgress:
    """The events of frames in memory."""

    def __init__(self, on_event: Watcher) -> None:
        self._on_event, self._begin = on_event, perf_counter()
        self._frames, self._scene = 0, 0

    def begin_scene(self, start: SceneStart) -> None:
        """A scene begins with the next frame."""
        self._scene = start.number + 1
        self._on_event(events.SceneBegan(input=IN_MEMORY, number=self._scene, frame=self._frames, soft=False))

    def report_notes(self, notes: Iterable[Note]) -> None:
        """Send the notes of the model."""
        for note in notes:
            self._on_event(events.Noted.of(IN_MEMORY, note))

    def advance(self, count: int) -> None:
        """Count restored frames, and send their progress."""
        self._frames += count
        fps = self._frames / max(1e-9, perf_counter() - self._begin)
        self._on_event(
            events.Advanced(input=IN_MEMORY, done=self._frames, frames=None, scene=self._scene, fps=fps, queues={})
        )
