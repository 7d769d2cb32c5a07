"""A loaded model in Python: frames in, restored frames out, one after the other."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from numpy.typing import NDArray
from torch import Tensor

from vrx import events
from vrx.events import Watcher
from vrx.models.registry import FAMILIES
from vrx.pipeline import memory
from vrx.pipeline.devices import pick_dtype
from vrx.pipeline.frame_stream import CallOptions, Masks, check_scenes, restore_frames
from vrx.pipeline.needs import refuse
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.select_model import AUTO, find_entry, least_entry_memory, needs_gpu
from vrx.pipeline.video import VideoFrame
from vrx.settings import ColorFix, Decoder, Dtype, Look, ModelSettings, Quality, RestoreSettings, Task, check_threshold
from vrx.weights import catalogue
from vrx.weights.catalogue import Entry
from vrx.weights.download import Downloader

logger = logging.getLogger(__name__)

AnyFrame = TypeVar("AnyFrame", VideoFrame, NDArray[Any], Tensor)


def load_model(
    name: str | os.PathLike[str] = "embedded",
    *,
    device: str | torch.device = "auto",
    dtype: Dtype = "auto",
    decoder: Decoder = "auto",
    tile: str = "auto",
    steps: int | None = None,
    guidance: float | None = None,
    color_fix: ColorFix = "auto",
    seed: int = 0,
    offline: bool = False,
    on_event: Watcher = events.ignore,
) -> Model:
    """Load a model of the catalogue, or a checkpoint by its path: a file, or a folder of parts.

    Files that are missing are downloaded unless `offline`, and all are verified.  `device` is auto, cpu, cuda,
    cuda:N, mps or a torch.device; `dtype` auto, bf16, fp16, fp32, int8 or fp8; the others are as on the command
    line.  Raises ModelError, DeviceError and UsageError.

    >>> import vrx
    >>> model = vrx.load_model("embedded", device="cpu")
    >>> model.tasks, model.scales
    (('upscale', 'deblur', 'inpaint'), (2, 3, 4))
    """
    settings = ModelSettings(
        name=os.fspath(name),
        device=str(device),
        dtype=dtype,
        decoder=decoder,
        tile=tile,
        steps=steps,
        guidance=guidance,
        color_fix=color_fix,
        seed=seed,
        offline=offline,
    )
    return Model(settings, on_event)


class Model:
    """A model on a device, for any number of videos and pictures; made by `load_model`.

    `name`, `device`, `dtype`; `tasks` it does and `scales` it enlarges by.  Frames go in as any iterable and come
    out one by one, of the same kind: numpy arrays [H, W, 3] or torch tensors [3, H, W], both RGB, of uint8, uint16
    or float in 0..1 (tensors stay on their device), or the `VideoFrame`s of a `VideoReader`, with their times, pixel
    format and color.  All frames of a call have one size.  Memory does not grow with their number, and nothing
    runs between two `next()`: to stop early, stop iterating.
    """

    def __init__(self, settings: ModelSettings, on_event: Watcher = events.ignore) -> None:
        self._settings, self._pool = settings, ModelPool()
        restore = default_task(settings)
        chosen = self._pool.select(settings, restore)
        self._entry: Entry = chosen.entry
        self.name, self.device = self._entry.name, chosen.device
        self.dtype = pick_dtype(settings.dtype, self.device)
        self.tasks = tuple(str(task) for task in self._entry.tasks)
        self.scales = tuple(self._entry.scales)
        downloader = Downloader.for_watcher(self.name, on_event, settings.offline)
        if self.device.type == "cpu":
            weights = least_entry_memory(self._entry, 0, settings, processor=True)
            refuse(self._entry, settings, self.device, weights, self._pool.components(settings, restore, downloader))
        self._pool.restorer(settings, restore, downloader)
        logger.debug("loaded %s on %s in %s", self.name, self.device, self.dtype)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, device={str(self.device)!r}, dtype={self.dtype})"

    def memory(self, width: int, height: int) -> int | None:
        """Bytes that a result of `width` x `height` takes, roughly; None where it was not measured."""
        if not needs_gpu(self._entry) and self.device.type == "cpu":
            size = (width, height)
            return max(memory.embedded_video_memory(size, size, 8, Task(task)) for task in self.tasks)
        return least_entry_memory(self._entry, width * height, self._settings, processor=self.device.type == "cpu")

    def upscale(
        self,
        frames: Iterable[AnyFrame],
        scale: int = 4,
        *,
        strength: float | None = None,
        denoise: float | None = None,
        grain: float = 0.0,
        look: Look = "faithful",
        quality: Quality = "auto",
        blend: float = 1.0,
        prompt: str | None = None,
        scenes: str | Iterable[int] = "auto",
        scene_threshold: float | None = None,
        on_event: Watcher = events.ignore,
    ) -> Iterator[AnyFrame]:
        """Enlarge frames by `scale`, one of `scales`.

        `strength` 0 (clean) to 1 is how degraded they are, None estimates it for each scene; `denoise` 0 to 1 how
        much of the noise found goes, None for what is plain, to deblur or enlarge by 2; `grain` 0 to 1 of it that
        is given back, drawn anew; `look` faithful, closest to what was filmed, or sharp, with crisper edges;
        `quality` fast, best, or auto, the best where it shows; `blend` the restored share.  `scenes`: "auto" finds
        cuts, "off" takes all frames for one scene, or the numbers of the frames that begin one.  `on_event` gets
        scenes, notes and progress.  Raises UsageError and ModelError.

        >>> import numpy as np, vrx
        >>> model = vrx.load_model("embedded", device="cpu")
        >>> frames = (np.full((32, 48, 3), 40 * number, np.uint8) for number in range(3))
        >>> [frame.shape for frame in model.upscale(frames, scale=2)]
        [(64, 96, 3), (64, 96, 3), (64, 96, 3)]
        """
        restore = RestoreSettings(
            task=Task.UPSCALE,
            scale=scale,
            strength=strength,
            denoise=denoise,
            grain=grain,
            look=look,
            quality=quality,
            blend=blend,
        )
        return self._restore(frames, CallOptions(restore, prompt, check_scenes(scenes), scene_threshold, on_event))

    def deblur(
        self,
        frames: Iterable[AnyFrame],
        *,
        sigma: float | None = None,
        strength: float | None = None,
        denoise: float | None = None,
        grain: float = 0.0,
        blend: float = 1.0,
        prompt: str | None = None,
        scenes: str | Iterable[int] = "auto",
        scene_threshold: float | None = None,
        on_event: Watcher = events.ignore,
    ) -> Iterator[AnyFrame]:
        """Remove blur of `sigma` pixels; None estimates it for each scene.  The rest is as in `upscale`."""
        restore = RestoreSettings(
            task=Task.DEBLUR, sigma=sigma, strength=strength, denoise=denoise, grain=grain, blend=blend
        )
        return self._restore(frames, CallOptions(restore, prompt, check_scenes(scenes), scene_threshold, on_event))

    def inpaint(
        self,
        frames: Iterable[AnyFrame],
        masks: Masks,
        *,
        dilate: int | None = None,
        strength: float | None = None,
        denoise: float | None = None,
        grain: float = 0.0,
        blend: float = 1.0,
        prompt: str | None = None,
        scenes: str | Iterable[int] = "auto",
        scene_threshold: float | None = None,
        on_event: Watcher = events.ignore,
    ) -> Iterator[AnyFrame]:
        """Fill what masks mark; all other pixels stay exactly what they were, unless `denoise` is given.

        `masks` is one mask for all frames or an iterable of one for each: [H, W], bool, or marked from half of the
        largest value (uint8: 128, float: 0.5) on; or the path of a picture, a folder or a video, as `--mask` takes
        them.  They are grown by `dilate` pixels, None for as many as `vrx inpaint` takes.  The rest is as in `upscale`.
        """
        restore = RestoreSettings(
            task=Task.INPAINT,
            mask=Path("mask"),
            dilate=dilate,
            strength=strength,
            denoise=denoise,
            grain=grain,
            blend=blend,
        )  # masks come with the call, not as a file
        call = CallOptions(restore, prompt, check_scenes(scenes), scene_threshold, on_event, masks)
        return self._restore(frames, call)

    def _restore(self, frames: Iterable[AnyFrame], call: CallOptions) -> Iterator[AnyFrame]:
        """Check a call and set the model up at once; the frames are restored as the result is iterated."""
        check_threshold(call.scene_threshold)
        settings = replace(self._settings, prompt=call.prompt)
        self._pool.select(settings, call.restore)
        downloader = Downloader.for_watcher(self.name, call.on_event, settings.offline)
        restorer = self._pool.restorer(settings, call.restore, downloader)
        return cast(Iterator[AnyFrame], restore_frames(restorer, frames, call, self.device))


def default_task(settings: ModelSettings) -> RestoreSettings:
    """A task that the model does, to load it for: its first, with its largest scale.  Raises ModelError."""
    tasks: tuple[str, ...] = (Task.UPSCALE,)
    scales: tuple[int, ...] = (4,)
    if settings.name != AUTO:
        entry = find_entry(settings.name, catalogue.load_all(FAMILIES))
        tasks, scales = entry.tasks, entry.scales
    task = Task(tasks[0])
    if task is Task.INPAINT:
        return RestoreSettings(task=task, mask=Path("mask"))
    return RestoreSettings(task=task, scale=max(scales, default=4) if task is Task.UPSCALE else 1)
