"""What a model of the catalogue would be on the device here, before any video is named."""

from __future__ import annotations

from dataclasses import dataclass

from vrx.models.measures import MEASURES
from vrx.pipeline.devices import pick_device
from vrx.pipeline.memory import free_of
from vrx.pipeline.select_model import USUAL, least_entry_memory, needs_gpu
from vrx.weights.catalogue import Entry


@dataclass(frozen=True)
class ModelUse:
    """Bytes that a model takes at least for a result of 1280x720, and that are free on the device; None: not known.

    `slow`: it is large, and without a GPU it takes minutes for a second of video.
    """

    available: bool
    slow: bool
    memory: int | None
    free: int | None

    @property
    def fits(self) -> bool | None:
        """Whether the model could be chosen: its memory is free, and it is not slow; None where that is not known."""
        if self.memory is None:
            return None
        if not self.available or self.slow:
            return False
        return None if self.free is None else self.memory <= self.free


def describe(entry: Entry) -> ModelUse:
    """Of the device that a run would take."""
    device = pick_device("auto")
    slow = entry.family not in MEASURES and needs_gpu(entry) and device.type == "cpu"
    memory = least_entry_memory(entry, USUAL, processor=device.type == "cpu")
    return ModelUse(entry.available, slow, memory, free_of(device))
