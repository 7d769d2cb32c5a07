"""Fitting a device: the size of an output before its model is chosen, and how a model uses the memory there is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from vrx.errors import InputError
from vrx.media.probe import open_input
from vrx.media.video_stream import pick_video
from vrx.models.family import BuildRequest
from vrx.models.registry import FAMILIES
from vrx.pipeline.devices import free_memory
from vrx.pipeline.select_model import USUAL
from vrx.weights.catalogue import Entry


def output_pixels(source: str, scale: int) -> int:
    """Pixels of a frame of the result; those of 1280x720 for standard input."""
    if source == "-":
        return USUAL
    try:
        with open_input(Path(source), source) as container:
            stream = pick_video(container, source)
            return stream.width * stream.height * scale**2 or USUAL
    except InputError:  # the reader reports what is wrong
        return USUAL


def limit_to_memory(request: BuildRequest, entry: Entry) -> BuildRequest:
    """The request, limited to the device's free memory; call before the weights are loaded."""
    free = free_memory(request.device)
    found = FAMILIES[entry.family].footprint(entry, request.model.decoder)
    untiled = None if free is None or found is None else found.whole.within(free)
    return replace(request, untiled=untiled, free=partial(free_memory, request.device))
