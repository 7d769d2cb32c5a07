"""What a run will do, decided before it starts: model, output, encoder, memory and time."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from vrx.environment import Environment
from vrx.models.registry import FAMILIES
from vrx.pipeline import memory
from vrx.pipeline.cost import INT8_GAIN, REACHED, matrix_rate, operations
from vrx.pipeline.existing import Action, plan_action
from vrx.pipeline.needs import enlarged_size, least_memory, memory_note, planned_memory
from vrx.pipeline.session import Session
from vrx.settings import ModelSettings, Task
from vrx.weights import http, store
from vrx.weights.catalogue import EMBEDDED, Entry


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `--dry-run` shows.  Sizes are (width, height); memory in bytes, time in seconds, both rough.

    `memory` that the run takes, `least_memory` in the ways of working that take less (see `vrx.pipeline.ways`), and
    `free_memory` of the device.
    """

    source: str
    output: str
    model: str
    checkpoint: str
    device: str
    dtype: str
    frames: int | None
    source_size: tuple[int, int]
    target_size: tuple[int, int]
    encoder: str
    preset: str | None
    pix_fmt: str
    container: str
    chunk: int
    scenes: str
    memory: int | None
    least_memory: int | None
    free_memory: int | None
    seconds: float | None
    action: Action
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def make_plan(session: Session) -> Plan:
    """The plan of an open job."""
    target, reader, entry = session.target, session.reader, session.entry
    files = ", ".join(part.path for part in store.required_parts(entry, optional_roles(entry, session.job.model)))
    needed, least, free = planned_memory(session), least_memory(session), memory.free_of(session.device)
    warning = memory_note(session)
    notes = [*(note.text for note in session.notes), warning, missing_files_note(entry, session.job.model)]
    return Plan(
        source=session.job.source,
        output=str(target.path) if target.path else "standard output",
        model=entry.name,
        checkpoint=str(entry.local or files),
        device=str(session.device),
        dtype=session.number_type,
        frames=session.frames,
        source_size=reader.size,
        target_size=target.size,
        encoder=target.rule.name,
        preset=target.preset or target.rule.preset,
        pix_fmt=target.layout.pix_fmt,
        container=target.container,
        chunk=FAMILIES[entry.family].capabilities.schedule.next,
        scenes=session.job.selection.scenes,
        memory=needed,
        least_memory=least,
        free_memory=free,
        seconds=estimate_seconds(session),
        action=plan_action(session),
        notes=tuple(note for note in notes if note),
    )


def optional_roles(entry: Entry, model: ModelSettings) -> set[str]:
    """Roles of the optional files that a run with these settings needs."""
    return FAMILIES[entry.family].optional_roles(model)


def missing_files_note(entry: Entry, model: ModelSettings) -> str:
    """Which files of a model a run with these settings lacks, and whether it downloads them first; empty for none."""
    roles = optional_roles(entry, model)
    missing = [] if entry.local else store.missing_parts(entry, Environment.read().models, roles)
    if not missing:
        return ""
    files = ", ".join(part.path for part in missing)
    if all(part.downloadable for part in missing):
        if model.offline or http.offline():
            return f"not on this machine, and the network is off (--offline or HF_HUB_OFFLINE): {files}"
        return f"a run downloads first: {files}"
    return f"not on this machine: {files}; how to get them: vrx models show {entry.name}"


def estimate_seconds(session: Session) -> float | None:
    """Seconds that a run of an open job takes, roughly; None where that is unknown."""
    if session.entry.family != EMBEDDED or session.frames is None:
        return None
    restore = session.job.restore
    mode = f"upscale{restore.scale}" if restore.task is Task.UPSCALE else str(restore.task)
    work = operations(mode, enlarged_size(session))
    gain = INT8_GAIN if session.quantized == "int8" else 1.0
    return session.frames * work / matrix_rate(session.device, session.dtype) / REACHED / gain
