"""Fitting a device: the size of an output before its model is chosen, and how a model uses the memory there is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vrx.errors import InputError
from vrx.events import Note
from vrx.files import format_bytes
from vrx.media.probe import open_input
from vrx.media.video_stream import pick_video
from vrx.models.family import BuildRequest
from vrx.models.registry import FAMILIES
from vrx.pipeline.devices import INT8, free_memory
from vrx.pipeline.select_model import AUTO, USUAL
from vrx.pipeline.sizing import fit
from vrx.settings import ModelSettings, RestoreSettings
from vrx.weights.catalogue import Entry


def output_pixels(source: str, restore: RestoreSettings) -> int:
    """Pixels of a frame as a network makes it; those of 1280x720 for standard input.

    Where a size is asked for, the network's scale is taken to be the smallest that reaches it.
    """
    if source == "-":
        return USUAL
    try:
        with open_input(Path(source), source) as container:
            stream = pick_video(container, source)
            size = stream.width, stream.height
            scale = restore.scale
            if restore.size is not None:
                scale = math.ceil(
                    max(wanted / side for wanted, side in zip(fit(size, restore.size), size, strict=True))
                )
            return size[0] * size[1] * scale**2 or USUAL
    except (InputError, ZeroDivisionError):  # the reader reports what is wrong
        return USUAL


@dataclass(frozen=True)
class Fit:
    """How a model uses a device's memory: weights in 8 bits, or waiting on the host for their layer's turn."""

    int8: bool = False
    offload: bool = False

    def note(self, entry: Entry, free: int | None) -> tuple[Note, ...]:
        """What was chosen for the user, and why."""
        room = f"as {format_bytes(free)} of the GPU's memory are free"
        if self.offload:
            text = f"{entry.name}: weights wait in the machine's memory for their turn, {room}"
        elif self.int8:
            text = f"{entry.name}: weights in 8 bits, {room} (--dtype bf16 keeps them, and is slower)"
        else:
            return ()
        return (Note("weights-fit", text, {"model": entry.name, "int8": self.int8, "offload": self.offload}),)


def fit_weights(entry: Entry, model: ModelSettings, free: int | None, pixels: int) -> Fit:
    """How the weights of a model are stored, so that an output of so many pixels fits so many free bytes.

    Nothing changes where all fits, or where the model cannot work so; 8 bits are for those who left the type open.
    """
    family = FAMILIES.get(entry.family)
    found = family.footprint(entry, model.decoder) if family else None
    if free is None or found is None or found.int8 is None or found.offloaded is None:
        return Fit()
    if model.dtype == INT8:
        return Fit(offload=found.int8.at(pixels) > free)
    if found.whole.at(pixels) <= free:
        return Fit()
    int8 = model.dtype == AUTO and found.int8.at(pixels) <= free
    return Fit(int8=int8, offload=not int8)


def limit_to_memory(request: BuildRequest, entry: Entry) -> BuildRequest:
    """The request, limited to the device's free memory; call before the weights are loaded."""
    free = free_memory(request.device)
    found = FAMILIES[entry.family].footprint(entry, request.model.decoder)
    way = None if found is None else found.whole
    if found is not None and found.int8 is not None and (request.int8 or request.offload):
        way = found.offloaded if request.offload else found.int8
    untiled = None if free is None or way is None else way.within(free)
    return replace(request, untiled=untiled, free=partial(free_memory, request.device))
