"""What an open job takes of its device's memory, and whether that is there."""

from __future__ import annotations

import torch

from vrx.errors import SMALLER, choice_of
from vrx.events import Note
from vrx.files import format_bytes
from vrx.models.components import Components
from vrx.models.registry import FAMILIES
from vrx.networks.umt5 import Umt5Encoder
from vrx.pipeline import memory, select_model
from vrx.pipeline.devices import pick_dtype, weight_format
from vrx.pipeline.memory import BASE_MEMORY, CERTAIN, Need
from vrx.pipeline.select_model import PROCESSOR, needs_gpu
from vrx.pipeline.session import Session
from vrx.settings import ModelSettings
from vrx.weights.catalogue import EMBEDDED, Entry

SMALL_NETWORK = 0.25  # of the predicted weights: networks with less are not of the published size


def planned_memory(session: Session) -> int | None:
    """Bytes that a run of an open job takes, roughly; None where that is unknown."""
    entry, reader, model = session.entry, session.reader, session.job.model
    if entry.family == EMBEDDED:
        task, frames = session.job.restore.task, session.frames
        return memory.embedded_memory(enlarged_size(session), reader.size, reader.layout.depth, task, frames)
    footprint = FAMILIES[entry.family].footprint(entry, model.decoder, model.tile)
    if footprint is None:
        return entry.memory
    found = footprint.in_one_piece(session.fit).at(network_pixels(session))
    return found if session.device.type != "cpu" else select_model.on_processor(entry, found, model.dtype)


def least_memory(session: Session) -> int | None:
    """Bytes below which an open job does not run in any way; None where that is unknown."""
    if session.entry.family == EMBEDDED:
        return planned_memory(session)
    pixels, processor = network_pixels(session), session.device.type == "cpu"
    return select_model.least_entry_memory(session.entry, pixels, session.job.model, processor=processor)


def network_pixels(session: Session) -> int:
    """Pixels of a frame that the network of an open job gives."""
    width, height = session.reader.size
    native = FAMILIES[session.entry.family].capabilities.native_scale or session.job.restore.scale
    return width * height * native**2


def enlarged_size(session: Session) -> tuple[int, int]:
    """What the network makes of the frames, or the result where that is larger: width and height."""
    scale = session.job.restore.scale
    width, height = (side * scale for side in session.reader.size)
    return max(width, session.target.size[0]), max(height, session.target.size[1])


def check_memory(session: Session, components: Components | None = None) -> None:
    """Refuse a run that certainly needs more than all that a processor has; see `refuse`.  Raises DeviceError."""
    found = components or known_components(session)
    refuse(session.entry, session.job.model, session.device, least_memory(session), found)


def known_components(session: Session) -> Components | None:
    """The files of a model that is named by its path; None for others, which may have to be downloaded."""
    return session.components() if session.entry.local else None


def refuse(
    entry: Entry, model: ModelSettings, device: torch.device, least: int | None, components: Components | None
) -> None:
    """Refuse what certainly needs more than all that a processor has.  Raises DeviceError.

    `least`: bytes as predicted; `components`: the model's files, without which nothing is certain of a large model.
    """
    if device.type == "cpu" and least is not None:
        memory.check(find_need(entry, model, (least, least), components), advice(entry, model))


def warn_of_memory(session: Session) -> None:
    """Say so where the memory of a processor may not be enough for a run; not of networks that are there already."""
    least = least_memory(session)
    if session.device.type != "cpu" or session.model_loaded or least is None:
        return
    need = processor_need(session, least)
    text = memory.note(need)
    if text:
        session.notify(Note("memory-short", f"{session.job.source}: {text}", {"bytes": need.size}, "warning"))


def memory_note(session: Session) -> str:
    """What a run has to fear; empty for nothing."""
    entry, least = session.entry, least_memory(session)
    if least is None:
        return ""
    if session.device.type == "cpu":
        return memory.note(processor_need(session, least))
    free = memory.free_of(session.device)
    if free is None or least <= free or not needs_gpu(entry):
        return ""
    need = f"{entry.name} takes {format_bytes(least)} at least"
    return f"{need}, and {format_bytes(free)} are free on {session.device}: it will run out of memory"


def processor_need(session: Session, least: int) -> Need:
    """What a run takes of a processor, as far as it is known before files are downloaded; see `least_memory`."""
    entry, model = session.entry, session.job.model
    predicted = least if model.tile.isdigit() else planned_memory(session) or least  # no tiles by themselves
    return find_need(entry, model, (least, predicted), known_components(session))


def find_need(entry: Entry, model: ModelSettings, sizes: tuple[int, int], components: Components | None) -> Need:
    """What a run takes of a processor; `sizes` are bytes as computed, in the way that takes least, and as planned.

    They are for networks of the published sizes.  Certain are the weights that do not stay pages of their files, which
    the system may drop and read again; nothing is as long as the files are not here.
    """
    least, predicted = sizes
    if not needs_gpu(entry):
        return Need.of(predicted)
    if components is None:
        return Need(predicted, 0)
    empty = select_model.least_entry_memory(entry, 0, model, processor=True) or least
    weights, mapped = find_weights(entry, model, components)
    share = min(1.0, weights / max(1, empty - BASE_MEMORY))
    certain = BASE_MEMORY + weights - mapped + share * (least - empty)
    if share < SMALL_NETWORK:
        predicted = round(BASE_MEMORY + share * (predicted - BASE_MEMORY))
    return Need(predicted, round(CERTAIN * certain))


def find_weights(entry: Entry, model: ModelSettings, components: Components) -> tuple[int, int]:
    """Bytes of a model's weights as a run has them, and those of them that stay pages of their files.

    Without those that encode a prompt: they are used as they are in their file, and gone before the frames come.
    """
    dtype, rounded = pick_dtype(model.dtype, PROCESSOR), weight_format(model.dtype) is not None
    weights = mapped = 0
    for role, part in FAMILIES[entry.family].components.items():
        stays = part.network is not None and part.network is not Umt5Encoder
        if stays and part.decoder in ("", model.decoder) and components.has(role):
            weights += components.count_weights(role) * (1 if rounded else dtype.itemsize)
            mapped += 0 if rounded else components.mapped_bytes(role, dtype)
    return weights, mapped


def advice(entry: Entry, model: ModelSettings) -> str:
    """What takes less memory of a processor."""
    if not needs_gpu(entry):
        return SMALLER
    capabilities = FAMILIES[entry.family].capabilities
    ways = ["a smaller video"]
    if len(entry.scales) > 1 and capabilities.native_scale is None:
        ways.append("a smaller --scale")
    if capabilities.quantizes and weight_format(model.dtype) is None:
        ways.append(f"--dtype {capabilities.quantizes[0]}")
    return f"Use {choice_of((*ways, '--model embedded'))}"
