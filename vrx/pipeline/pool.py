"""Models shared by the runs of a batch: chosen once, loaded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from vrx.environment import Environment
from vrx.events import Note
from vrx.models.base import Restorer
from vrx.models.components import Components
from vrx.models.family import BuildRequest, LoadedModel
from vrx.models.footprint import Fit
from vrx.models.loader import find_components, load_model
from vrx.models.registry import FAMILIES
from vrx.pipeline.devices import check_dtype, free_memory, idle_gpu, pick_device, pick_dtype, torch_fault, weight_format
from vrx.pipeline.fitting import (
    check_processor,
    describe_fit,
    fit_processor,
    fit_weights,
    limit_to_memory,
    output_pixels,
)
from vrx.pipeline.gpu import prepare
from vrx.pipeline.select_model import AUTO, DeviceInfo, select_model
from vrx.pipeline.ways import Way
from vrx.settings import ModelSettings, RestoreSettings
from vrx.weights import catalogue, http, store
from vrx.weights.catalogue import EMBEDDED, Entry
from vrx.weights.download import Downloader

Key = tuple[ModelSettings, str, frozenset[str]]


@dataclass(frozen=True)
class Selection:
    """The model of a run and where it is to run; `notes` are about the choice, `fit` is how its weights are stored."""

    entry: Entry
    catalogue: dict[str, Entry]
    device: torch.device
    notes: tuple[Note, ...] = ()
    fit: Fit = field(default_factory=Fit)


class ModelPool:
    """Selects models, and keeps the networks of the one that was loaded last, for all tasks and scales.

    Everything that depends on a video is in the states of its scenes, so that a model gives the same for a
    video whatever it restored before.
    """

    def __init__(self) -> None:
        self._selected: dict[tuple[ModelSettings, RestoreSettings], Selection] = {}
        self._pixels: dict[tuple[ModelSettings, RestoreSettings], int] = {}  # of outputs, where a GPU is to hold them
        self._components: dict[Key, Components] = {}
        self._loaded: dict[tuple[Key, bool, Fit], LoadedModel] = {}
        self._excluded: frozenset[str] = frozenset()  # models that ran out of memory
        self._on_processor = False  # the last of them on a GPU, so that a GPU is no longer chosen

    def select(
        self, model: ModelSettings, restore: RestoreSettings, sources: Sequence[str] = ("-",), pixels: int | None = None
    ) -> Selection:
        """The model that the settings name, or the best for the largest of the sources that are first named with them.

        `pixels` of its output where they are known.  Raises UsageError, ModelError and DeviceError.
        """
        key = (model, restore)
        if key not in self._selected:
            known = catalogue.load_all(FAMILIES)
            device = torch.device("cpu") if self._on_processor and model.device == AUTO else pick_device(model.device)
            check_dtype(model.dtype, device)
            found = replace(device_info(model, known, device), excluded=self._excluded)
            if found.gpu_memory is not None:
                if key not in self._pixels:
                    self._pixels[key] = pixels or max(output_pixels(source, restore) for source in sources)
                found = replace(found, pixels=self._pixels[key])
            choice = select_model(model, known, restore, found)
            check_processor(choice.entry, model, restore.task, device)
            if device.type == "cpu":
                fit = fit_processor(choice.entry, model, restore.task)
            else:
                fit = fit_weights(choice.entry, model, found.gpu_memory, found.pixels)
            notes = (*choice.notes, *device_notes(model, device), *describe_fit(fit, choice.entry, found.gpu_memory))
            self._selected[key] = Selection(choice.entry, known, device, notes, fit)
        return self._selected[key]

    def keep(self, model: ModelSettings, restore: RestoreSettings, selection: Selection) -> None:
        """Settings that became known after the model was selected get the same."""
        self._selected.setdefault((model, restore), selection)

    def components(self, model: ModelSettings, restore: RestoreSettings, downloader: Downloader) -> Components:
        """The files of the selected model, fetched and verified.  Raises ModelError."""
        chosen = self.select(model, restore)
        key = make_key(model, chosen.entry)
        if key not in self._components:
            self._components[key] = find_components(chosen.entry, model, chosen.catalogue, downloader)
        return self._components[key]

    def restorer(
        self,
        model: ModelSettings,
        restore: RestoreSettings,
        downloader: Downloader,
        way: Way | None = None,
        frames: int | None = None,
    ) -> Restorer:
        """The selected model, set up for a task, to work in a way.  Raises ModelError.

        `frames` of the video that it is loaded for; None where that is not known.
        """
        chosen, way = self.select(model, restore), way or Way()
        settings = way.settings(model)
        key = (make_key(settings, chosen.entry), way.offload, chosen.fit)
        if key not in self._loaded:
            self._loaded.clear()  # the networks of another model make room first
            prepare(chosen.device)
            components = self.components(model, restore, downloader)
            dtype = pick_dtype(settings.dtype, chosen.device)
            request = BuildRequest(
                components,
                settings,
                chosen.device,
                dtype,
                offload=way.offload or chosen.fit.offload,
                quantized=chosen.fit.quantized or weight_format(settings.dtype),
                frames=frames,
            )
            self._loaded[key] = load_model(chosen.entry, limit_to_memory(request, chosen.entry))
        return self._loaded[key].restorer(restore, model.prompt)

    def has_loaded(self, model: ModelSettings, restore: RestoreSettings) -> bool:
        """Whether the networks of the selected model are in memory."""
        key = make_key(model, self.select(model, restore).entry)
        return any(loaded == key for loaded, *_ in self._loaded)

    def exclude(self, model: ModelSettings, restore: RestoreSettings, source: str) -> Note | None:
        """Choose without the selected model from now on, as its memory was not enough; a note that says so.

        None where there is nothing else: the model or the device was named, or it is the last one.
        """
        last = self.select(model, restore, (source,))
        if model.name != AUTO:
            return None
        if last.entry.name != EMBEDDED:
            self._excluded |= {last.entry.name}
        elif last.device.type == "cuda" and model.device == AUTO:
            self._on_processor = True
        else:
            return None
        self.drop()
        self._selected.clear()
        then = self.select(model, restore, (source,))
        text = f"{last.entry.name} does not fit the memory of {last.device}: again with {then.entry.name}"
        text += f" on {then.device}" if then.device != last.device else ""
        return Note("model-fallback", text, {"model": then.entry.name, "device": str(then.device)}, "warning")

    def drop(self) -> None:
        """Drop the networks: after a failure their state is undefined."""
        self._loaded.clear()


def make_key(model: ModelSettings, entry: Entry) -> Key:
    """What decides which networks are loaded: of a prompt, only whether files are needed for it."""
    return replace(model, prompt=None), entry.name, frozenset(FAMILIES[entry.family].optional_roles(model))


def device_notes(model: ModelSettings, device: torch.device) -> Iterator[Note]:
    """That a GPU there is cannot be used, where the choice was left to vrx, or that this torch is wrong for it."""
    if device.type == "cuda" and (wrong := torch_fault()):
        yield Note("torch-unsuitable", wrong, {"torch": torch.__version__}, "warning")
    fault = idle_gpu() if model.device == AUTO and device.type == "cpu" else ""
    if fault:
        yield Note("gpu-unusable", f"the GPU cannot be used: {fault}; the processor does the work", {}, "warning")


def device_info(model: ModelSettings, known: dict[str, Entry], device: torch.device) -> DeviceInfo:
    """What the choice of a model depends on; on a processor none of it is looked for."""
    memory = free_memory(device)
    if memory is None:
        return DeviceInfo()
    folder = Environment.read().models
    here = [name for name, entry in known.items() if entry.parts and not store.missing_parts(entry, folder)]
    return DeviceInfo(gpu_memory=memory, on_disk=frozenset(here), online=not (model.offline or http.offline()))
