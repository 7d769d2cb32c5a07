"""The same in Python as on the command line: one call a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vrx.errors import UsageError, VrxError
from vrx.events import Watcher, ignore
from vrx.settings import Job, ModelSettings, check_threshold

if TYPE_CHECKING:
    from pathlib import Path

    from vrx.bench.end_to_end import Benchmark, Check
    from vrx.bench.stages import LargeBenchmark
    from vrx.media.probe import SourceInfo
    from vrx.pipeline.batch import Batch
    from vrx.pipeline.inputs import Expansion
    from vrx.pipeline.plan import Plan
    from vrx.pipeline.run import RestoreResult
    from vrx.scenes.detect import Scene
    from vrx.weights.catalogue import Entry, PartFile
    from vrx.weights.removal import Removal


THREADS = "vrx "  # what the names of threads at work begin with


def kill_encoders() -> None:
    """End every encoder at once; for a process that leaves in a hurry."""
    from vrx.media import ffmpeg

    ffmpeg.kill_all()


def restore(job: Job, watch: Watcher = ignore) -> RestoreResult:
    """Run one job.  Raises VrxError; whatever stood under the output's name then still stands."""
    return batch([job], watch).restore(0)


def plan(job: Job, watch: Watcher = ignore) -> Plan:
    """What `restore` would do, without doing it."""
    return batch([job], watch).plan(0)


def batch(jobs: Sequence[Job], watch: Watcher = ignore) -> Batch:
    """Jobs that run one after the other.  Raises UsageError where their results would replace something."""
    from vrx.pipeline.batch import Batch

    if not all(isinstance(job, Job) for job in jobs):
        raise UsageError("what is restored is described by a vrx.settings.Job", "See the README for an example")
    return Batch(jobs, watch)


def as_failure(error: Exception, job: Job) -> VrxError:
    """A bug that one input of a batch brought out, as a failure of that input."""
    from vrx.pipeline.batch import as_failure

    return as_failure(error, job)


def in_subfolder(job: Job, subfolder: str) -> Job:
    """A job whose result stands in the folder for results where its input stands in the named folder."""
    from vrx.pipeline.paths import in_subfolder

    return in_subfolder(job, subfolder)


def expand(inputs: Sequence[str], recursive: bool = False, output: str | None = None) -> Expansion:
    """What the words of a restoring command stand for; `output` is where results go.  Raises UsageError."""
    from vrx.pipeline.inputs import Choice, expand_inputs
    from vrx.pipeline.paths import results_folder

    return expand_inputs(inputs, Choice(recursive=recursive, beside=results_folder(output)))


def expand_all(inputs: Sequence[str], recursive: bool = False) -> Expansion:
    """What words stand for, the results of earlier runs among them.  Raises UsageError."""
    from vrx.pipeline.inputs import Choice, expand_inputs

    return expand_inputs(inputs, Choice(recursive=recursive, results=True))


def probe(source: str | Path, stream: int | None = None) -> SourceInfo:
    """What a file holds, with the video stream of that index, or the one that players show.

    Raises InputError, and UsageError for an index that is no video stream.
    """
    from pathlib import Path

    from vrx.media import read

    with read.Reader(Path(source), read.Span(stream=stream), lambda text: None) as reader:
        return reader.info


def detect_scenes(source: str | Path, threshold: float | None = None, stream: int | None = None) -> list[Scene]:
    """The scenes of a video.

    Raises InputError, and UsageError for a threshold out of range or an index that is no video stream.
    """
    from pathlib import Path

    from vrx.media import read
    from vrx.scenes import detect

    check_threshold(threshold)
    with read.Reader(Path(source), read.Span(stream=stream), lambda text: None) as reader:
        wanted = detect.CUT_THRESHOLD if threshold is None else threshold
        return list(detect.group_scenes(detect.detect_cuts(reader.frames(), wanted)))


def codecs() -> tuple[str, ...]:
    """Short names of the codecs that results are encoded with."""
    from vrx.media.encoders import SHORT_NAMES

    return tuple(SHORT_NAMES)


def models() -> dict[str, Entry]:
    """The catalogue."""
    from vrx.weights import catalogue

    return catalogue.load_all()


def model_state(entry: Entry) -> tuple[str, str]:
    """Whether a model can run now: in a word, and what it lacks and where that belongs."""
    from vrx.settings import Environment
    from vrx.weights import store

    if entry.fault:
        return "broken", entry.fault
    if not entry.available:
        return "not in this version", ""
    if entry.missing_roles:
        return "incomplete", f"the entry has no part with the role {', '.join(entry.missing_roles)}"
    folder = Environment.read().models
    lacking = store.missing_parts(entry, folder)
    if not lacking:
        return "ready", ""
    by_hand = [part for part in lacking if not part.downloadable]
    if by_hand:
        return "by hand", "; ".join(
            f"put {part.path} into {store.manual_path(entry, part, folder).parent}" for part in by_hand
        )
    return "on the Hub", f"{', '.join(part.path for part in lacking)}: downloaded when first used"


def model_fits(entry: Entry) -> bool | None:
    """Whether a model could be chosen for the device here: its memory is there, and it is not slow.

    None where its memory is not known.
    """
    from vrx.pipeline.devices import memory_of, pick_device

    if entry.memory is None:
        return None
    if not entry.available or model_is_slow(entry):
        return False
    there = memory_of(pick_device("auto"))
    return None if there is None else entry.memory <= there


def model_is_slow(entry: Entry) -> bool:
    """Whether a model is large for the device here: without a GPU it takes minutes for a second of video."""
    from vrx.pipeline.devices import pick_device

    return entry.family != "embedded" and pick_device("auto").type == "cpu"


def entries_of(names: Sequence[str]) -> list[Entry]:
    """Entries of the catalogue by name.  Raises ModelError."""
    from vrx.errors import ModelError

    known = models()
    for name in names:
        if name not in known:
            raise ModelError(f"unknown model {name!r}", "See the catalogue with: vrx models list")
        if known[name].fault:
            raise ModelError(known[name].fault)
    return [known[name] for name in names]


def lacking(entry: Entry, everything: bool) -> list[PartFile]:
    """The parts that `pull` would bring, with the sizes their servers tell."""
    from vrx.settings import Environment
    from vrx.weights import download, store

    roles = {part.role for part in entry.parts} if everything else set()
    folder = Environment.read().models
    absent = [part for part in store.required_parts(entry, roles) if store.find_part(entry, part, folder) is None]
    return download.priced(absent)


def pull(name: str, everything: bool, watch: Watcher) -> dict[str, Path]:
    """Bring a model's parts to this machine and verify them; optional ones too with `everything`.

    Raises ModelError.
    """
    from vrx import events
    from vrx.errors import ModelError
    from vrx.settings import Environment
    from vrx.weights import download, hashes, store

    (entry,) = entries_of([name])
    if entry.family == "embedded":
        part = entry.parts[0]
        hashes.verify_file(hashes.packaged_path(part.path), part.size, part.sha256)
        return {"embedded": hashes.packaged_path(part.path)}

    def note(text: str) -> None:
        watch(events.Noted(input=name, code="download", text=text))

    def progress(part: str, done: int, size: int | None) -> None:
        watch(events.Fetching(input=name, part=part, done=done, size=size))

    if not entry.parts:
        raise ModelError(f"the files of {name} are not known to this version of vrx", f"It comes from: {entry.source}")
    roles = {part.role for part in entry.parts} if everything else set()
    shop = download.Shop(models=Environment.read().models, offline=False, note=note, progress=progress)
    return store.locate(entry, roles, shop)


def bring(name: str, path: Path) -> list[tuple[str, Path]]:
    """A file, or the files of a folder, as parts of a model: checked against its networks, converted to safetensors.

    A checkpoint in several files is one part.  Returns each part's role and where it stands now; all are
    checked before the first is written.  Raises ModelError, and OutputError for a full disk.
    """
    from vrx.errors import ModelError
    from vrx.files import path_exists
    from vrx.models.components import part_in
    from vrx.settings import Environment
    from vrx.weights import checkpoint, hashes, sharded, store

    (entry,) = entries_of([name])
    if not path_exists(path):
        raise ModelError(f"cannot read the checkpoint {path}: no such file")
    if path.is_dir():
        files = sharded.list_checkpoints(path)
    elif sharded.is_index(path) or path.suffix in sharded.SUFFIXES:
        files = [path]
    else:
        raise ModelError(f"{path} is no checkpoint by its name", "Name a .safetensors, .pt, .pth or .ckpt file")
    if not files:
        raise ModelError(f"the folder {path} holds no checkpoint", "Name a .safetensors, .pt, .pth or .ckpt file")
    parts = [(file, part_in(entry, file)) for file in files]
    brought = []
    for file, part in parts:
        target = store.manual_path(entry, part, Environment.read().models).with_suffix(hashes.SAFE)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"cannot write into {target.parent}: {error.strerror}", "Set VRX_HOME") from error
        checkpoint.save(target, checkpoint.load_tensors(file)[0], {})
        brought.append((part.role, target))
    return brought


def verify(name: str) -> dict[str, Path]:
    """Hash the parts of a model that are here.  Raises ModelError for the first that is not what it should be."""
    from vrx.settings import Environment
    from vrx.weights import store

    (entry,) = entries_of([name])
    if entry.family == "embedded":
        return pull(name, everything=False, watch=ignore)
    folder = Environment.read().models
    held = [part for part in entry.parts if store.find_part(entry, part, folder) is not None]
    return {part.role: store.verify_part(entry, part, folder, force=True) for part in held}


def located(name: str) -> dict[str, Path]:
    """The files of a model that are here, by role.  Raises ModelError."""
    from vrx.settings import Environment
    from vrx.weights import hashes, store

    (entry,) = entries_of([name])
    if entry.family == "embedded":
        return {"embedded": hashes.packaged_path(entry.parts[0].path)}
    found = {part.role: store.find_part(entry, part, Environment.read().models) for part in entry.parts}
    return {role: path for role, path in found.items() if path is not None}


def remove(name: str) -> Removal:
    """Remove a model's downloaded parts, but for those that another model here needs.  Raises ModelError."""
    from vrx.errors import ModelError
    from vrx.settings import Environment
    from vrx.weights import removal, store

    (entry,) = entries_of([name])
    if entry.family == "embedded":
        raise ModelError("the embedded model is part of vrx", "Nothing was removed")
    folder = Environment.read().models
    others = [other for other in models().values() if other.name != name and other.family != "embedded"]
    complete = [other for other in others if not other.fault and other.parts and not store.missing_parts(other, folder)]
    files = [store.part_files(other, part, folder) for other in complete for part in other.parts]
    keep = {path.resolve() for found in files for path in found.values()}
    return removal.remove(entry, folder, keep)


def convert(folder: Path, target: Path) -> str:
    """The parts in a folder as one safetensors file; returns the family.  Raises ModelError, OutputError."""
    from vrx.errors import ModelError, OutputError
    from vrx.files import path_exists
    from vrx.models.components import combine, in_folder
    from vrx.models.registry import family_of

    if not path_exists(folder) or not folder.is_dir():
        raise ModelError(f"{folder} is no folder", "Name the folder that holds the model's parts")
    if target.suffix != ".safetensors":
        raise OutputError(f"cannot write {target}: its name must end in .safetensors")
    if target.exists():
        raise OutputError(f"{target} exists", "Choose another name")
    family = family_of(folder)
    combine(in_folder(folder), family, target)
    return family


def bench(sizes: Sequence[tuple[int, int]], frames: int, model: ModelSettings) -> Benchmark:
    """Measure the embedded model; sizes are (width, height) of the output."""
    from vrx.bench.end_to_end import benchmark

    return benchmark(sizes, frames, model)


def bench_random(name: str, sizes: Sequence[tuple[int, int]], chunks: int, model: ModelSettings) -> LargeBenchmark:
    """Measure a large model of the catalogue, stage by stage, with random weights.  Raises ModelError."""
    from vrx.bench.stages import benchmark_random
    from vrx.errors import ModelError

    (entry,) = entries_of([name])
    if not entry.available or entry.family == "embedded":
        raise ModelError(f"the model {name} is not measured with random weights", "Leave --random-weights out")
    return benchmark_random(entry, sizes, chunks, model)


def doctor() -> list[Check]:
    """What works here."""
    from vrx.bench.end_to_end import checks

    return checks()


def memory_for(size: tuple[int, int], scale: int) -> int:
    """Bytes that restoring a video of `size` (width, height) takes, roughly."""
    from vrx.pipeline.memory import memory_needed

    return memory_needed((size[0] * scale, size[1] * scale), size, 8)


def model_figures(entry: Entry) -> dict[str, str]:
    """What a checkpoint in the package says of itself: how it was trained, how good it was."""
    from vrx.weights import checkpoint, hashes

    if entry.family != "embedded" or not entry.parts:
        return {}
    metadata = checkpoint.read_metadata(hashes.packaged_path(entry.parts[0].path))
    return {key: value for key, value in metadata.items() if key not in ("config", "family", "format")}
