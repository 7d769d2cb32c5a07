"""Which model runs: the one that was named, a checkpoint by its path, or the best that fits.  Pure but for `given`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from vrx.errors import ModelError, UsageError
from vrx.files import path_exists
from vrx.models.footprints import least
from vrx.models.registry import FAMILIES, given
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights.catalogue import Entry

EMBEDDED = "embedded"
AUTO = "auto"
USUAL = 1280 * 720  # pixels of an output whose size is not known
CHECKPOINTS = {".safetensors", ".pt", ".pth", ".ckpt"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the choice depends on besides the wish: a GPU's free memory in bytes (None on a processor), the pixels
    of the output, the models whose checkpoints are here, and whether others may be fetched.
    """

    gpu_memory: int | None = None
    pixels: int = USUAL
    on_disk: frozenset[str] = frozenset()
    online: bool = False


@dataclass(frozen=True)
class Choice:
    """The entry to run, and what the user should know about it."""

    entry: Entry
    note: str = ""


def choose(model: ModelSettings, catalogue: dict[str, Entry], restore: RestoreSettings, machine: Machine) -> Choice:
    """The entry to run; a checkpoint that is named by its path becomes one.

    Raises UsageError for a prompt that would not be heard, ModelError for a model that is unknown or does
    not do what is asked.
    """
    name = model.name
    if name == AUTO:
        choice = best(model, catalogue, restore, machine)
        allowed(choice.entry, model, catalogue, restore)
        faults = [f"left out of the choice: {entry.fault}" for entry in catalogue.values() if entry.fault]
        return replace(choice, note="; ".join(filter(None, [choice.note, *faults])))
    path = Path(name)
    if name not in catalogue and (path.suffix in CHECKPOINTS or path_exists(path)):
        entry = given(path)
    elif name in catalogue:
        entry = catalogue[name]
        if entry.fault:
            raise ModelError(entry.fault)
    else:
        raise ModelError(f"unknown model {name!r}", "See the catalogue with: vrx models list")
    allowed(entry, model, catalogue, restore)
    return Choice(entry)


def best(model: ModelSettings, catalogue: dict[str, Entry], restore: RestoreSettings, machine: Machine) -> Choice:
    """The first of the catalogue that does the task and fits: one that is here, else one that may be fetched.

    Else the embedded model, with a line about the larger one where only the download is missing.
    """
    fitting = [
        entry
        for entry in catalogue.values()
        if able(entry, model.prompt, restore) and fits(entry, machine, model.decoder)
    ]
    for entry in fitting:
        if entry.name in machine.on_disk:
            return Choice(entry)
    fetchable = [entry for entry in fitting if all(part.downloadable for part in entry.parts if not part.optional)]
    if fetchable and machine.online:
        return Choice(fetchable[0], f"using {fetchable[0].name}; --model embedded needs no download")
    hint = f"using the embedded model; a larger one: vrx models pull {fetchable[0].name}" if fetchable else ""
    return Choice(catalogue[EMBEDDED], hint)


def able(entry: Entry, prompt: str | None, restore: RestoreSettings) -> bool:
    """Whether a large model of the catalogue does what is asked."""
    does = entry.available and not entry.missing_roles and entry.name != EMBEDDED and restore.task in entry.tasks
    scales = restore.task is not Task.UPSCALE or restore.scale in entry.scales
    return does and scales and (prompt is None or entry.takes_prompt)


def fits(entry: Entry, machine: Machine, decoder: str) -> bool:
    """Whether a GPU is there with as much free memory as the output is known to need."""
    needed = least(entry, machine.pixels, decoder)
    return machine.gpu_memory is not None and needed is not None and needed <= machine.gpu_memory


def allowed(entry: Entry, model: ModelSettings, catalogue: dict[str, Entry], restore: RestoreSettings) -> None:
    """Refuse what an entry cannot do, rather than leave it out in silence.  Raises UsageError and ModelError."""
    task = restore.task
    if model.prompt is not None and not entry.takes_prompt:
        listeners = ", ".join(n for n, e in catalogue.items() if e.takes_prompt and task in e.tasks)
        raise UsageError(
            f"the model {entry.name} does not hear prompts",
            f"Models that do, for {task}: {listeners or 'none'}. Their sizes, and how to get one: vrx models show NAME",
        )
    if task not in entry.tasks:
        raise ModelError(f"the model {entry.name} does not {task}", "See: vrx models list")
    if not entry.available:
        raise ModelError(f"this version of vrx cannot run the model {entry.name}", "Use --model embedded")
    if entry.missing_roles:
        raise ModelError(
            f"the model {entry.name} has no part with the role {entry.missing_roles[0]}",
            "Add it to the catalogue's entry",
        )
    if task is Task.UPSCALE and restore.scale not in entry.scales:
        scales = ", ".join(map(str, entry.scales))
        raise UsageError(f"the model {entry.name} does not enlarge by {restore.scale}", f"Use --scale {scales}")
    heeded = FAMILIES[entry.family].options
    for option in ("decoder", "color_fix", "tile"):
        if getattr(model, option) != AUTO and option not in heeded:
            raise UsageError(f"the model {entry.name} has no choice of {option.replace('_', ' ')}", "Leave it at auto")
