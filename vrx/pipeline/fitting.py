"""Fitting a device: the size of an output before its model is chosen, and how a model uses the memory there is."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from vrx.errors import UsageError
from vrx.events import Note
from vrx.files import format_bytes
from vrx.geometry import fit
from vrx.media.probe import find_size
from vrx.models.family import BuildRequest
from vrx.models.footprint import Fit
from vrx.models.registry import FAMILIES
from vrx.pipeline.devices import free_memory, int8_units, weight_format
from vrx.pipeline.memory import host_memory
from vrx.pipeline.select_model import AUTO, USUAL, left_for_networks
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights.catalogue import Entry


def output_pixels(source: str, restore: RestoreSettings) -> int:
    """Pixels of a frame as a network makes it; those of 1280x720 for standard input.

    Where a size is asked for, the network's scale is taken to be the smallest that reaches it.
    """
    size = None if source == "-" else find_size(Path(source))
    if size is None:  # the reader reports what is wrong
        return USUAL
    scale = restore.scale
    if restore.size is not None:
        scale = math.ceil(max(wanted / side for wanted, side in zip(fit(size, restore.size), size, strict=True)))
    return size[0] * size[1] * scale**2


def describe_fit(fit: Fit, entry: Entry, free: int | None) -> tuple[Note, ...]:
    """What was chosen for the user, and why."""
    if free is None:
        return ()
    room = f"as {format_bytes(free)} of the GPU's memory are free"
    if fit.offload:
        text = f"{entry.name}: weights wait in the machine's memory for their turn, {room}"
    elif fit.quantized:
        text = f"{entry.name}: weights in 8 bits, {room} (--dtype bf16 keeps them, and is slower)"
    else:
        return ()
    return (Note("weights-fit", text, {"model": entry.name, "int8": fit.quantized == "int8", "offload": fit.offload}),)


def fit_processor(entry: Entry, model: ModelSettings, task: Task) -> Fit:
    """How a model works on the processor: in 8 bits where that is faster and the type was left open.

    Only those in the package, as other checkpoints may lack what 8 bits take.
    """
    family = FAMILIES.get(entry.family)
    suits = entry.packaged and family is not None and task in family.capabilities.int8_tasks
    return Fit(quantized="int8" if suits and model.dtype == AUTO and int8_units() else None)


def check_processor(entry: Entry, model: ModelSettings, task: Task, device: torch.device) -> None:
    """Refuse 8 bits on a GPU to a model that has them on processors only.  Raises UsageError."""
    family = FAMILIES.get(entry.family)
    wanted = weight_format(model.dtype)
    if family is None or wanted is None or device.type == "cpu" or wanted in family.capabilities.quantizes:
        return
    if task in family.capabilities.int8_tasks:
        raise UsageError(
            f"model {entry.name} works in {wanted} on processors only, not on {device}", "Use --dtype auto"
        )


def fit_weights(entry: Entry, model: ModelSettings, free: int | None, pixels: int) -> Fit:
    """How the weights of a model are stored, so that an output of so many pixels fits so many free bytes.

    Nothing changes where the model cannot work so; 8 bits are for those who left the type open.
    """
    family = FAMILIES.get(entry.family)
    found = family.footprint(entry, model.decoder, model.tile) if family else None
    if free is None or found is None:
        return Fit()
    int8 = model.dtype == AUTO and family is not None and "int8" in family.capabilities.quantizes
    return found.stored(weight_format(model.dtype)).fit(free, pixels, int8=int8)


def limit_to_memory(request: BuildRequest, entry: Entry) -> BuildRequest:
    """The request, limited to the device's memory; call before the weights are loaded.

    It is a GPU's free memory, and all that a processor has, so that its results do not depend on what else it does.
    """
    free, untiled, host_pixels = free_memory(request.device), None, None
    found = FAMILIES[entry.family].footprint(entry, request.model.decoder, request.model.tile)
    if found is not None:
        way, host = found.in_one_piece(Fit(request.quantized, request.offload)), host_memory(swap=False)
        if free is not None:
            untiled = way.within(free)
        elif request.device.type == "cpu" and host is not None:
            host_pixels = way.within(left_for_networks(entry, host.total, request.model.dtype))
    return replace(request, untiled=untiled, host_pixels=host_pixels, free=partial(free_memory, request.device))
