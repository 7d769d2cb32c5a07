"""What the runs of a batch share: the choice of a model, and its networks once they are loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from vrx.models.base import Restorer
from vrx.models.components import Parts
from vrx.models.registry import Request, build, parts_of
from vrx.pipeline.devices import free_memory, pick_device, pick_dtype
from vrx.pipeline.fitting import output_pixels, with_room
from vrx.pipeline.select_model import Machine, choose
from vrx.settings import Environment, ModelSettings, RestoreSettings
from vrx.weights import catalogue, http, store
from vrx.weights.catalogue import Entry
from vrx.weights.download import Downloader


@dataclass(frozen=True)
class Selection:
    """The model of a run and where it is to run; `note` is what the user should know about the choice."""

    entry: Entry
    catalogue: dict[str, Entry]
    device: torch.device
    note: str = ""


class ModelPool:
    """Chooses models, and keeps the one that was built last: runs with the same settings load it once.

    Restorers keep everything that depends on a video in the states of its scenes, so that one of them gives
    the same for a video whatever it restored before.
    """

    def __init__(self) -> None:
        self._selected: dict[tuple[ModelSettings, RestoreSettings], Selection] = {}
        self._parts: dict[tuple[ModelSettings, RestoreSettings], Parts] = {}
        self._restorers: dict[tuple[ModelSettings, RestoreSettings], Restorer] = {}

    def select(self, model: ModelSettings, restore: RestoreSettings, source: str = "-") -> Selection:
        """The model that settings ask for, by the size of the first source.

        Raises UsageError, ModelError and DeviceError.
        """
        key = (model, restore)
        if key not in self._selected:
            known = catalogue.load_all()
            device = pick_device(model.device)
            found = machine(model, known, device)
            if found.gpu_memory is not None:
                found = replace(found, pixels=output_pixels(source, restore.scale))
            choice = choose(model, known, restore, found)
            self._selected[key] = Selection(choice.entry, known, device, choice.note)
        return self._selected[key]

    def parts(self, model: ModelSettings, restore: RestoreSettings, downloader: Downloader) -> Parts:
        """The files of the selected model, fetched and verified.  Raises ModelError."""
        key, chosen = (model, restore), self.select(model, restore)
        if key not in self._parts:
            self._parts[key] = parts_of(chosen.entry, model, chosen.catalogue, downloader)
        return self._parts[key]

    def restorer(self, model: ModelSettings, restore: RestoreSettings, downloader: Downloader) -> Restorer:
        """The selected model, ready to run.  Raises ModelError."""
        key, chosen = (model, restore), self.select(model, restore)
        if key not in self._restorers:
            self._restorers.clear()  # the networks of another model make room first
            request = Request(
                self.parts(model, restore, downloader),
                restore,
                model,
                chosen.device,
                pick_dtype(model.dtype, chosen.device),
            )
            self._restorers[key] = build(chosen.entry, with_room(request, chosen.entry))
        return self._restorers[key]

    def drop(self) -> None:
        """Forget the networks: after a failure nobody knows what they hold."""
        self._restorers.clear()


def machine(model: ModelSettings, known: dict[str, Entry], device: torch.device) -> Machine:
    """What the choice of a model depends on; on a processor none of it is looked for."""
    memory = free_memory(device)
    if memory is None:
        return Machine()
    folder = Environment.read().models
    here = [name for name, entry in known.items() if entry.parts and not store.missing_parts(entry, folder)]
    return Machine(gpu_memory=memory, on_disk=frozenset(here), online=not (model.offline or http.offline()))
