"""Which model runs: the one that was named, a checkpoint by its path, or the best that fits.

Pure, but for looking at a checkpoint that is named by its path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import torch

from vrx.errors import ModelError, UsageError, choice_of, did_you_mean
from vrx.events import Note
from vrx.files import format_bytes, path_exists
from vrx.models.loader import entry_from_path
from vrx.models.registry import FAMILIES
from vrx.networks.quantized import WeightFormat
from vrx.pipeline.devices import pick_dtype, weight_format
from vrx.pipeline.memory import BASE_MEMORY
from vrx.settings import Dtype, ModelSettings, Prefer, RestoreSettings, Task
from vrx.weights.catalogue import EMBEDDED, Entry

AUTO = "auto"
PROCESSOR = torch.device("cpu")
PACKAGES_MEMORY = 210_000_000  # bytes: diffusers and transformers once they are imported
USUAL = 1280 * 720  # pixels of an output whose size is not known
CHECKPOINTS = {".safetensors", ".pt", ".pth", ".ckpt"}
Catalogue = Mapping[str, Entry]


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """What the choice depends on besides the settings: a GPU's free memory in bytes (None on a processor), the
    pixels of the output, the models whose checkpoints are here, whether others may be downloaded, and the models that
    ran out of memory.
    """

    gpu_memory: int | None = None
    pixels: int = USUAL
    on_disk: frozenset[str] = frozenset()
    online: bool = False
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Choice:
    """The entry to run, and notes about it."""

    entry: Entry
    notes: tuple[Note, ...] = ()


def select_model(model: ModelSettings, catalogue: Catalogue, restore: RestoreSettings, device: DeviceInfo) -> Choice:
    """The entry to run; a checkpoint that is named by its path becomes one.

    Raises UsageError for options that the model does not take, ModelError for one that is unknown or does not
    support what is asked.
    """
    name = model.name
    if name == AUTO:
        choice = auto_select(model, catalogue, restore, device)
        validate(choice.entry, model, catalogue, restore)
        return Choice(choice.entry, (*choice.notes, *map(fault_note, filter(lambda e: e.fault, catalogue.values()))))
    entry = find_entry(name, catalogue)
    validate(entry, model, catalogue, restore)
    return Choice(entry)


def find_entry(name: str, catalogue: Catalogue) -> Entry:
    """The entry of a name, or of a checkpoint's path.  Raises ModelError for one that is unknown or cannot be used."""
    path = Path(name)
    if name not in catalogue and (path.suffix in CHECKPOINTS or path_exists(path)):
        return entry_from_path(path)
    if name in catalogue:
        if catalogue[name].fault:
            raise ModelError(catalogue[name].fault)
        return catalogue[name]
    raise ModelError(f"unknown model {name!r}", f"{did_you_mean(name, catalogue)}List the models with: vrx models list")


def fault_note(entry: Entry) -> Note:
    """That an entry of the user's catalogue cannot be chosen, and why."""
    return Note("catalogue-entry-unusable", f"not considered: {entry.fault}", {"model": entry.name})


def auto_select(model: ModelSettings, catalogue: Catalogue, restore: RestoreSettings, device: DeviceInfo) -> Choice:
    """The first of the catalogue that supports the task and fits: one that is here, else one to download.

    One in a folder of Google Drive, which may refuse for a day, is downloaded unasked only where a prompt needs it.
    Else the embedded one, with a note about the larger one where only the download is missing.
    """
    usable = [entry for entry in catalogue.values() if supports(entry, model, restore)]
    large = [entry for entry in usable if needs_gpu(entry) and entry.name not in device.excluded]
    fitting = rank([entry for entry in large if fits(entry, device, model)], model.prefer)
    for entry in fitting:
        if entry.name in device.on_disk:
            return Choice(entry)
    small = catalogue[EMBEDDED]
    downloadable = [entry for entry in fitting if all(part.downloadable for part in entry.parts if not part.optional)]
    if not downloadable:
        return Choice(small)
    best = downloadable[0]
    downloads = device.online and (model.prompt is not None or not any(part.drive for part in best.parts))
    facts = {"model": best.name if downloads else small.name, "larger": best.name}
    if downloads:
        text = f"using {best.name}" + f"; --model {small.name} needs no download" * supports(small, model, restore)
        return Choice(best, (Note("model-selected", text, facts),))
    text = f"using the {small.name} model; a larger one: vrx models pull {best.name}"
    return Choice(small, (Note("model-selected", text, facts),))


def rank(entries: Sequence[Entry], prefer: Prefer) -> list[Entry]:
    """Entries by what is preferred, the best first; in the catalogue's order where that is left open, or alike."""
    if prefer == "speed":
        return sorted(entries, key=lambda entry: -entry.speed)
    return sorted(entries, key=lambda entry: -entry.quality) if prefer == "quality" else list(entries)


def supports(entry: Entry, model: ModelSettings, restore: RestoreSettings) -> bool:
    """Whether a model supports the task, the scale, the prompt and the options."""
    installed = entry.family not in FAMILIES or not FAMILIES[entry.family].missing_packages
    runs = entry.available and installed and not entry.missing_roles and restore.task in entry.tasks
    scales = restore.task is not Task.UPSCALE or restore.size is not None or restore.scale in entry.scales
    prompted = model.prompt is None or entry.takes_prompt
    quantized = weight_format(model.dtype) in (None, *weight_formats(entry, restore.task))
    return runs and scales and prompted and quantized and not ignored_options(entry, model, restore)


def weight_formats(entry: Entry, task: Task) -> tuple[WeightFormat, ...]:
    """The formats in which a model does a task with weights in 8 bits; none for a family that is not known."""
    if entry.family not in FAMILIES:
        return ()
    capabilities = FAMILIES[entry.family].capabilities
    return capabilities.quantizes or (("int8",) if task in capabilities.int8_tasks else ())


def check_format(entry: Entry, dtype: Dtype, task: Task = Task.UPSCALE) -> None:
    """Refuse a format in which a model does not have weights.  Raises UsageError."""
    if weight_format(dtype) not in (None, *weight_formats(entry, task)):
        others = choice_of(("auto", *weight_formats(entry, task)))
        raise UsageError(f"model {entry.name} does not have weights in {dtype}", f"Use --dtype {others}")


def needs_gpu(entry: Entry) -> bool:
    """Whether a model is large for a processor; those in the package are not."""
    family = FAMILIES.get(entry.family)
    return not entry.packaged and (family is None or family.capabilities.needs_gpu)


def fits(entry: Entry, device: DeviceInfo, model: ModelSettings) -> bool:
    """Whether a GPU has the free memory that the output is known to need."""
    needed = least_entry_memory(entry, device.pixels, model)
    return device.gpu_memory is not None and needed is not None and needed <= device.gpu_memory


def least_entry_memory(
    entry: Entry, pixels: int, model: ModelSettings | None = None, *, processor: bool = False
) -> int | None:
    """Bytes of a device for an output of so many pixels; the catalogue's figure where it was not measured.

    On a `processor` weights stay as they are: its memory is the one in which they would wait; see `on_processor`.
    """
    family, model = FAMILIES.get(entry.family), model or ModelSettings()
    found = None if family is None else family.footprint(entry, model.decoder, model.tile)
    if found is None or family is None:
        return entry.memory
    int8 = model.dtype == AUTO and "int8" in family.capabilities.quantizes and not processor
    least = found.stored(weight_format(model.dtype)).minimum(pixels, int8=int8, offload=not processor)
    return on_processor(entry, least, model.dtype) if processor else least


def on_processor(entry: Entry, size: int, dtype: Dtype) -> int:
    """Bytes that a footprint of so many is on a processor: the process itself counts, and numbers of four bytes."""
    return process_memory(entry) + size * number_bytes(entry, dtype) // 2


def left_for_networks(entry: Entry, size: int, dtype: Dtype) -> int:
    """Bytes of a footprint that are so many on a processor: the reverse of `on_processor`."""
    return max(0, size - process_memory(entry)) * 2 // number_bytes(entry, dtype)


def process_memory(entry: Entry) -> int:
    """Bytes that the process takes beside a model: with the libraries that it needs."""
    packages = PACKAGES_MEMORY if entry.family in FAMILIES and FAMILIES[entry.family].packages else 0
    return BASE_MEMORY + packages


def number_bytes(entry: Entry, dtype: Dtype) -> int:
    """Bytes of a number of a model's maps on a processor, where footprints mean two."""
    wide = needs_gpu(entry) and weight_format(dtype) is None and pick_dtype(dtype, PROCESSOR) is torch.float32
    return 4 if wide else 2


def validate(entry: Entry, model: ModelSettings, catalogue: Catalogue, restore: RestoreSettings) -> None:
    """Refuse settings that an entry does not support, rather than ignore them.  Raises UsageError and ModelError."""
    task = restore.task
    if model.prompt is not None and not entry.takes_prompt:
        others = [other for other in catalogue.values() if other.takes_prompt and task in other.tasks]
        raise UsageError(f"model {entry.name} does not take a prompt", prompt_hint(task, others))
    if task not in entry.tasks:
        raise ModelError(
            f"model {entry.name} does not support {task} (tasks: {', '.join(entry.tasks)})", "See: vrx models list"
        )
    if not entry.available:
        raise ModelError(f"model {entry.name} is not available in this version of vrx", "Use --model embedded")
    if entry.missing_roles:
        raise ModelError(
            f"the catalogue's entry for model {entry.name} has no part with the role {entry.missing_roles[0]}",
            "Add it to your weights.toml",
        )
    if task is Task.UPSCALE and restore.size is None and restore.scale not in entry.scales:
        scales = ", ".join(map(str, entry.scales))
        raise UsageError(f"model {entry.name} does not upscale by {restore.scale}", f"Use --scale {scales}")
    check_options(entry, model, restore)
    FAMILIES[entry.family].require_extra()


def prompt_hint(task: Task, entries: Sequence[Entry]) -> str:
    """Which models of a task take a prompt, what the first needs, and how to get it; empty for none."""
    if not entries:
        return ""
    first = entries[0]
    needs = f"over {format_bytes(first.minimum_size)}" + ", for a GPU" * needs_gpu(first)
    names = choice_of(entry.name for entry in entries)
    return f"For {task} use --model {names}. To get it ({needs}): vrx models pull {first.name}"


def ignored_options(entry: Entry, model: ModelSettings, restore: RestoreSettings) -> list[str]:
    """Options that were given, that another family heeds and this one does not."""
    options = {option for family in FAMILIES.values() for option in family.capabilities.options}
    heeded = FAMILIES[entry.family].capabilities.options if entry.family in FAMILIES else {}
    given = {
        field.name
        for settings in (model, restore)
        for field in fields(settings)
        if field.default is not MISSING and getattr(settings, field.name) != field.default
    }
    return sorted((options & given) - set(heeded))


def check_options(entry: Entry, model: ModelSettings, restore: RestoreSettings) -> None:
    """Refuse options that another family heeds and this one does not.  Raises UsageError."""
    capabilities = FAMILIES[entry.family].capabilities
    for option in ignored_options(entry, model, restore):
        name, reason = option.replace("_", "-"), capabilities.refusals.get(option, "")
        because = f": {reason}" if reason else ""
        raise UsageError(f"--{name} has no effect with model {entry.name}{because}", f"Remove --{name}")
    check_format(entry, model.dtype, restore.task)
    steps = capabilities.steps
    if model.steps is not None and model.steps not in steps:
        row = len(steps) > 2 and steps == tuple(range(steps[0], steps[-1] + 1))
        count = f"{steps[0]} to {steps[-1]}" if row else ", ".join(map(str, steps))
        raise UsageError(
            f"model {entry.name} was trained for {count} steps, not for {model.steps}", f"Use --steps {count}"
        )
