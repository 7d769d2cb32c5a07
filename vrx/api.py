"""The same in Python as on the command line: one call a command."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from vrx.batches import BatchSettings
from vrx.errors import UsageError
from vrx.events import Watcher, ignore
from vrx.rates import to_rate
from vrx.settings import Job, ModelSettings, check_threshold

if TYPE_CHECKING:
    from pathlib import Path

    from vrx.bench.end_to_end import Benchmark
    from vrx.bench.stages import LargeBenchmark
    from vrx.media.probe import SourceInfo
    from vrx.pipeline.batch import Batch
    from vrx.pipeline.compare.results import Comparison
    from vrx.pipeline.compare.tables import Report
    from vrx.pipeline.doctor import Check
    from vrx.pipeline.inputs import Expansion, Input
    from vrx.pipeline.mask.finds import MaskResult
    from vrx.pipeline.model_use import ModelUse
    from vrx.pipeline.plan import Plan
    from vrx.pipeline.run import RestoreResult
    from vrx.scenes.detect import Scene
    from vrx.weights.catalogue import Entry, PartFile
    from vrx.weights.manage import ModelState
    from vrx.weights.removal import Removal


PathLike = str | os.PathLike[str]
Rate = float | Fraction | str | None
THREADS = "vrx "  # what the names of threads at work begin with


def kill_encoders() -> None:
    """Kill every encoder; for a process about to exit."""
    from vrx.media import ffmpeg

    ffmpeg.kill_all()


def restore(job: Job, watch: Watcher = ignore) -> RestoreResult:
    """Run one job.  Raises VrxError; an earlier file of that name is then unchanged."""
    return batch([job], watch).restore(0)


def plan(job: Job, watch: Watcher = ignore) -> Plan:
    """What `restore` would do, without doing it."""
    return batch([job], watch).plan(0)


def batch(jobs: Sequence[Job], watch: Watcher = ignore, settings: BatchSettings | None = None) -> Batch:
    """Jobs that run one after the other.  Raises UsageError where their results would replace something."""
    from vrx.cluster.start import make_batch

    if not all(isinstance(job, Job) for job in jobs):
        raise UsageError("a job must be a vrx.settings.Job", "For one file use vrx.upscale, vrx.deblur or vrx.inpaint")
    return make_batch(jobs, watch, settings)


def make_jobs(template: Job, inputs: Sequence[Input], needs_rate: bool = False) -> list[Job]:
    """The jobs of inputs with the settings of `template`; `needs_rate`: --fps must be of some.  Raises UsageError."""
    from vrx.pipeline.inputs import make_jobs

    return make_jobs(template, inputs, needs_rate)


def refuse_shared(written: Sequence[tuple[str, Path]], others: Sequence[tuple[str, Path]]) -> None:
    """Refuse files that a run writes besides its results where they are something else.  Raises UsageError."""
    from vrx.pipeline.clashes import refuse_shared

    refuse_shared(written, others)


def expand(inputs: Sequence[str], recursive: bool, sequence: bool, template: Job, written: Sequence[Path]) -> Expansion:
    """The inputs that arguments name, for jobs like `template`, but for files `written` besides.  Raises UsageError."""
    from vrx.pipeline.inputs import Choice, command_of, expand_inputs
    from vrx.pipeline.paths import results_folder

    beside, mask, command = results_folder(template.output.path), template.restore.mask, command_of(template)
    choice = Choice(recursive=recursive, beside=beside, mask=mask, written=written, command=command, sequence=sequence)
    return expand_inputs(inputs, choice)


def expand_all(inputs: Sequence[str], recursive: bool = False, sequence: bool = False) -> Expansion:
    """The inputs that arguments name, results of earlier runs included.  Raises UsageError."""
    from vrx.pipeline.inputs import Choice, expand_inputs

    return expand_inputs(inputs, Choice(recursive=recursive, results=True, command=None, sequence=sequence))


def probe(source: PathLike, stream: int | None = None, fps: Rate = None) -> SourceInfo:
    """What a file holds: `video` with its size, rate and color, `duration` in seconds, all `streams`, and tags.

    `stream` is the index of another video stream than the one that players show; `fps` of numbered pictures, 24
    unless given.  Raises InputError, and UsageError for an index that is not a video stream.

    >>> import vrx
    >>> info = vrx.probe("in.mp4")
    >>> info.video.size, float(info.video.rate)
    ((64, 48), 25.0)
    """
    from vrx.media import read
    from vrx.pipeline.inputs import to_path

    with read.Reader(to_path(source), read.Span(stream=stream, fps=to_rate(fps)), lambda note: None) as reader:
        return reader.info


def detect_scenes(
    source: PathLike, threshold: float | None = None, stream: int | None = None, fps: Rate = None
) -> list[Scene]:
    """The scenes of a video: frames `start` to before `end`, and `start_time` and `end_time` in seconds.

    `threshold` is how large a change a cut is, 27 unless given; lower finds more.  `fps` of numbered pictures, 24
    unless given.  Raises InputError, and UsageError for values out of range or an index that is not a video stream.

    >>> import vrx
    >>> [(scene.start, scene.end) for scene in vrx.detect_scenes("in.mp4")]
    [(0, 4)]
    """
    from vrx.media import read
    from vrx.pipeline.inputs import to_path
    from vrx.scenes import detect

    check_threshold(threshold)
    with read.Reader(to_path(source), read.Span(stream=stream, fps=to_rate(fps)), lambda note: None) as reader:
        wanted = detect.CUT_THRESHOLD if threshold is None else threshold
        return list(detect.group_scenes(detect.detect_cuts(reader.frames(), wanted)))


def compare(
    first: PathLike,
    second: PathLike,
    reference: PathLike | None = None,
    perceptual: bool = True,
    on_event: Watcher = ignore,
    fps: Rate = None,
) -> Comparison:
    """Figures of two videos or pictures, against each other, or of both against the one they should be.

    `overall`, `scenes` and `frames` have them for each of `videos`: the reference, then the two; without one, the two,
    of which the second is measured against the first; `missing` says which were not measured, and why.  Frames are
    paired by time; resized pictures, parts and pictures moved by whole pixels are found and said in `notes`.
    With `perceptual`, LPIPS and DISTS are measured where they were downloaded (`vrx models pull`).  `on_event` gets
    `progress`; `fps` of numbered pictures, 24 unless given.  Raises InputError, UsageError and ModelError.

    >>> import vrx
    >>> vrx.compare("in.mp4", "in.mp4").overall[1].psnr
    100.0
    """
    from vrx.pipeline.compare import run
    from vrx.pipeline.compare.perceptual import Perceptuals, find_measures
    from vrx.pipeline.inputs import to_path

    sources = [os.fspath(source) for source in (*(() if reference is None else (reference,)), first, second)]
    run.check_sources(sources)
    paths = [to_path(source) for source in sources]
    measures = find_measures() if perceptual else Perceptuals()
    return run.compare(paths, reference is not None, measures, on_event, run.read_at(paths, to_rate(fps)))


def comparison_report(found: Comparison, names: Sequence[str]) -> Report:
    """A comparison as tables and JSON, under names of its videos."""
    from vrx.pipeline.compare.tables import Report

    return Report(found, tuple(names))


def write_comparison(found: Comparison, folder: Path, names: Sequence[str], overwrite: bool = False) -> list[Path]:
    """Pictures of a comparison: videos side by side where they differ most, and a row over time.

    Raises UsageError for pictures that exist, unless `overwrite`, and OutputError.
    """
    from vrx.pipeline.compare import pictures

    return pictures.write(found, folder, names, overwrite)


def check_comparison(sources: Sequence[str], folder: Path | None, page: Path | None, overwrite: bool) -> None:
    """Refuse files that cannot be written or would replace something.  Raises UsageError and OutputError."""
    from pathlib import Path

    from vrx.pipeline.compare import pictures
    from vrx.pipeline.compare.page import build

    if folder is not None:
        pictures.check_folder(folder)
    if page is not None:
        build.check_path(page, [Path(source) for source in sources], overwrite)


def write_page(found: Comparison, path: Path, names: Sequence[str], command: str) -> None:
    """A comparison as one HTML page, which shows `command` as what made it.  Raises OutputError."""
    from vrx.pipeline.compare.page import build

    build.write(found, path, names, command)


def make_mask(
    source: str,
    target: Path | None,
    find: str,
    *,
    grow: int,
    write_empty: bool,
    stream: int | None,
    overwrite: bool,
    fps: Rate = None,
    on_event: Watcher = ignore,
) -> MaskResult:
    """Find what does not belong to a video, and write a mask of it.  Raises UsageError, InputError and OutputError."""
    from vrx.pipeline.mask import finds, run

    kinds = finds.parse_kinds(find)
    settings = run.MaskSettings(
        kinds=kinds, grow=grow, write_empty=write_empty, stream=stream, overwrite=overwrite, fps=to_rate(fps)
    )
    return run.make_mask(source, target, settings, on_event)


def codecs() -> tuple[str, ...]:
    """Short names of the codecs that results are encoded with."""
    from vrx.media.encoders import SHORT_NAMES

    return tuple(SHORT_NAMES)


def list_models() -> dict[str, Entry]:
    """The catalogue: entries by name, those of measures too.  Raises ModelError."""
    from vrx.models import measures
    from vrx.models.registry import FAMILIES
    from vrx.weights import catalogue

    return {**catalogue.load_all(FAMILIES), **measures.load_entries()}


def model_names() -> list[str]:
    """The names of the catalogue's entries; quick, as nothing of them is checked.  Raises ModelError."""
    from vrx.weights import catalogue

    return catalogue.load_names()


def model_state(entry: Entry) -> ModelState:
    """Whether a model can run now; where parts are missing, which, and how to get them."""
    from vrx.weights import manage

    return manage.model_state(entry)


def model_options(entry: Entry) -> dict[str, str]:
    """The options that a model heeds besides those that all do, each with its meaning there."""
    from vrx.models.registry import FAMILIES

    family = FAMILIES.get(entry.family)
    options = family.capabilities.all_options if family else {}
    return {name.replace("_", "-"): meaning for name, meaning in options.items()}


def model_remarks(entry: Entry) -> tuple[str, ...]:
    """What else a user should know of a model: refused options with the reason, and limits."""
    from vrx.models.registry import FAMILIES

    family = FAMILIES.get(entry.family)
    if family is None:
        return ()
    refused = (f"no --{name.replace('_', '-')}: {why}" for name, why in family.capabilities.refusals.items())
    return (*refused, *family.capabilities.remarks)


def model_use(entry: Entry) -> ModelUse:
    """What a model would be on the device here: whether it fits, is slow, and its memory."""
    from vrx.pipeline import model_use

    return model_use.describe(entry)


def get_models(names: Sequence[str]) -> list[Entry]:
    """Entries of the catalogue by name.  Raises ModelError."""
    from vrx.weights import manage

    return manage.get_models(names, list_models())


def missing_parts(entry: Entry, everything: bool) -> list[PartFile]:
    """The parts that `pull` would download, with their sizes as servers state them."""
    from vrx.weights import manage

    return manage.missing_parts(entry, everything)


def pull(name: str, everything: bool = False, watch: Watcher = ignore) -> dict[str, Path]:
    """Download a model's missing parts and verify all; optional ones too with `everything`.  Raises ModelError."""
    from vrx.weights import manage

    (entry,) = get_models([name])
    return manage.pull(entry, everything, watch)


def import_checkpoint(name: str, path: Path) -> list[tuple[str, Path]]:
    """Convert a file, or the files of a folder, to safetensors as parts of a model; their roles and new files.

    Raises ModelError where one does not fit the model's networks, and OutputError for a full disk.
    """
    from vrx.errors import ModelError
    from vrx.models import checkpoints
    from vrx.models.measures import MEASURES

    (entry,) = get_models([name])
    if entry.family in MEASURES:
        raise ModelError(f"{name} is downloaded, not imported", f"Run: vrx models pull {name}")
    return checkpoints.import_checkpoint(entry, path)


def verify(name: str) -> dict[str, Path]:
    """Hash the parts of a model that are on this machine.  Raises ModelError for the first that is wrong."""
    from vrx.weights import manage

    (entry,) = get_models([name])
    return manage.verify(entry)


def part_paths(name: str) -> dict[str, Path]:
    """The files of a model that are on this machine, by role.  Raises ModelError."""
    from vrx.weights import manage

    (entry,) = get_models([name])
    return manage.part_paths(entry)


def remove(name: str) -> Removal:
    """Remove a model's downloads, except files that another complete model uses.  Raises ModelError."""
    from vrx.weights import manage

    (entry,) = get_models([name])
    return manage.remove(entry, list_models())


def convert(folder: Path, target: Path) -> str:
    """Write the parts in a folder as one safetensors file; returns the family.  Raises ModelError, OutputError."""
    from vrx.models import checkpoints

    return checkpoints.convert(folder, target)


def bench(sizes: Sequence[tuple[int, int]], frames: int, model: ModelSettings) -> Benchmark:
    """Measure the embedded model; sizes are (width, height) of the output."""
    from vrx.bench.end_to_end import benchmark

    return benchmark(sizes, frames, model)


def bench_random(
    name: str, sizes: Sequence[tuple[int, int]], chunks: int, model: ModelSettings, say: Callable[[str], object]
) -> LargeBenchmark:
    """Measure a large model of the catalogue, stage by stage, with random weights: see `benchmark_random`."""
    from vrx.bench.stages import benchmark_random

    (entry,) = get_models([name])
    return benchmark_random(entry, sizes, chunks, model, say)


def doctor() -> list[Check]:
    """What works here."""
    from vrx.pipeline.doctor import run_checks

    return run_checks()


def check(name: str, good: bool, detail: str) -> Check:
    """One more result among those of `doctor`."""
    from vrx.pipeline.doctor import Check

    return Check(name, good, detail)


def memory_for(size: tuple[int, int], scale: int) -> int:
    """Bytes that enlarging a video of `size` (width, height) takes, roughly."""
    from vrx.pipeline.memory import embedded_video_memory
    from vrx.settings import Task

    return embedded_video_memory((size[0] * scale, size[1] * scale), size, 8, Task.UPSCALE)


def model_metadata(entry: Entry) -> dict[str, str]:
    """What a checkpoint in the package states about itself: how it was trained, how good it is."""
    from vrx.weights import manage

    return manage.model_metadata(entry)
