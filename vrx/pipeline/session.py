"""Opening a job: its model selected, its source, mask and cuts read, and how the result is written decided."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Self

import torch

from vrx import events
from vrx.batches import Deadline
from vrx.errors import UsageError
from vrx.events import Note, Notify, Watcher
from vrx.media import encoders
from vrx.media.borders import find_borders
from vrx.media.deinterlace import Deinterlace
from vrx.media.file_types import is_pattern
from vrx.media.read import Reader, Span
from vrx.media.target import ONE_PICTURE
from vrx.models.base import Restorer
from vrx.models.components import Components
from vrx.models.footprint import Fit
from vrx.models.registry import FAMILIES
from vrx.networks.quantized import WeightFormat
from vrx.pipeline import paths
from vrx.pipeline.clashes import refuse_clashes
from vrx.pipeline.devices import describe_type, pick_dtype, release_memory, weight_format
from vrx.pipeline.encoding_pace import Pace, keep_pace
from vrx.pipeline.fields import deinterlacing
from vrx.pipeline.masking import JobMask, open_masks
from vrx.pipeline.output import apply_orientation, expected_frames, names_encoder_settings, prepare_target
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.sizing import choose_scale
from vrx.pipeline.stdin import PIPE_NAME, spool_stdin
from vrx.pipeline.trace import Trace
from vrx.pipeline.ways import Way
from vrx.scenes.cut_list import read_cuts
from vrx.scenes.detect import SceneFrame
from vrx.settings import Job, SelectionSettings
from vrx.temporary import temporary_folder
from vrx.weights.download import Downloader

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conduct:
    """How a run goes: the deadline at which it stops, and the trace that it is recorded in."""

    deadline: Deadline = field(default_factory=Deadline)
    trace: Trace = field(default_factory=lambda: Trace(None))


@dataclass(frozen=True)
class RunPart:
    """What makes a job a part of a run: the `selection` of that, to which masks and cuts belong.

    The job's first `skipped` frames are read for their cuts only; the next one is shown `start` seconds after the
    source's first, and is the first of the result.
    """

    selection: SelectionSettings
    skipped: int
    start: Fraction


class Session:
    """A job: its model and the name of its result at once, its source and all else after `open`.

    A context manager.  `frames` is how many will come, None where that is unknown; `cuts` None where they
    are to be found; `destination` None for standard output; `notes` are all that `open` sent but details, and later
    warnings: a long run has many scenes to tell of.  `run_part` where the job is a part of a run.
    Raises UsageError where the result would replace something that the job reads.
    """

    def __init__(
        self,
        job: Job,
        watch: Watcher,
        pool: ModelPool,
        run_part: RunPart | None = None,
        conduct: Conduct | None = None,
    ) -> None:
        self.job, self.watch, self._pool = job, watch, pool
        self.run_part, conduct = run_part, conduct or Conduct()
        self.deadline, self.trace = conduct.deadline, conduct.trace
        self._stack = ExitStack()
        self._reading = self._stack.enter_context(ExitStack())  # the source and its mask
        self.notes: list[Note] = []
        self._is_open = False
        self.encoder_remark = ""  # why the encoder is not the usual one
        self.mask: JobMask | None = None
        self.frames: int | None = None
        self.boundaries: Callable[[], Iterator[SceneFrame]] | None = None  # frames with theirs, where they are known
        self._selection = pool.select(job.model, job.restore, (job.source,))
        self.entry, self.device = self._selection.entry, self._selection.device
        self._named = None if job.source == "-" else Path(job.source)
        self._skims = False
        self.destination = paths.find_destination(job, self._named, self.entry.name)
        refuse_clashes([(job, self.destination)])
        logger.debug("%s: model %s on %s, result %s", job.source, self.entry.name, self.device, self.output or "-")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def output(self) -> Path | None:
        """The file, or the pattern of files, that is written; None for standard output."""
        return None if self.destination is None else self.destination.path

    @property
    def reading(self) -> Span:
        """The part of the source to read, and how."""
        steered = str(self.job.restore.task) in FAMILIES[self.entry.family].capabilities.quantizer_tasks
        told = steered and not self._skims
        return replace(select_span(self.job.selection), threads=self.job.model.threads or 0, quantizers=told)

    @property
    def dtype(self) -> torch.dtype:
        """The number type of the network."""
        return pick_dtype(self.job.model.dtype, self.device)

    @property
    def number_type(self) -> str:
        """What the network computes in, for people; see `describe_type`."""
        return describe_type(self.dtype, self.quantized)

    @property
    def quantized(self) -> WeightFormat | None:
        """The format in which most weights are in 8 bits; None where they are not."""
        return self.fit.quantized

    @property
    def fit(self) -> Fit:
        """How the weights are stored: as was asked for, or so that they fit the device."""
        fit = self._selection.fit
        return replace(fit, quantized=fit.quantized or weight_format(self.job.model.dtype))

    @property
    def model_loaded(self) -> bool:
        """Whether the model's networks are in memory, as an earlier job took them."""
        return self._pool.has_loaded(self.job.model, self.job.restore)

    def components(self) -> Components:
        """The model's files, downloaded where they are missing, and verified.  Raises ModelError."""
        return self._pool.components(self.job.model, self.job.restore, self._downloader())

    def restorer(self, way: Way | None = None) -> Restorer:
        """The model, set up for the job, to work in a way.  Raises ModelError."""
        changes = {} if way is None else {name: value for name, value in asdict(way).items() if value}
        with self.trace.span("load the model", model=self.entry.name, **changes):
            return self._pool.restorer(self.job.model, self.job.restore, self._downloader(), way, self.frames)

    def drop_model(self) -> None:
        """Drop the networks and the memory that they took."""
        self._pool.drop()
        release_memory(self.device)

    def open(self) -> None:
        """Open the source, and decide all about the result.  Raises VrxError for whatever cannot be."""
        job = self.job
        for note in self._selection.notes:
            self.notify(note)
        cuts = job.selection.scenes
        self.cuts = frozenset() if cuts == "off" else None if cuts == "auto" else read_cuts(Path(cuts))
        if self.destination is not None:
            self._check_pictures(self.destination)
            if self._named is None:  # what cannot be written is refused before all of a pipe is read
                paths.check_folder(self.destination)
        self._open_source(self._named)
        self._choose_scale()
        self.target = prepare_target(self.job, self.reader, self.destination, self._folder, self.notify)
        self._keep_pace()
        if self.run_part is not None:
            self.target = replace(self.target, offset=self.reader.origin + self.run_part.start)
        self.frames = expected_frames(self.reader.info_on_timeline(), job.selection)
        if self.target.single and self.frames is not None and self.frames > 1:
            raise UsageError(f"{self.output} is a single image, the result has {self.frames} frames", ONE_PICTURE)
        if self.destination is not None:
            paths.check_folder(self.destination)
            paths.check_kind(self.destination)
        self._is_open = True

    def _keep_pace(self) -> None:
        """Choose an encoder that keeps up with the GPU, unless the user chose anything of it."""
        pixels = FAMILIES[self.entry.family].capabilities.pace
        if self.device.type != "cuda" or pixels is None or names_encoder_settings(self.job.output):
            return
        cores = self.job.model.threads or torch.get_num_threads()
        self.target, note = keep_pace(self.target, Pace(pixels, cores))
        if note is not None:
            self.encoder_remark = note.text
            self.notify(note)

    def _choose_scale(self) -> None:
        """The scale of the network, now that the source's size is known; the model stays."""
        reader, native = self.reader, FAMILIES[self.entry.family].capabilities.native_scale
        scales = (native,) if native in self.entry.scales else self.entry.scales  # resized once, not twice
        self.job = choose_scale(self.job, reader.size, scales, reader.orientation, reader.sample_aspect)
        self._pool.keep(self.job.model, self.job.restore, self._selection)

    def _check_pictures(self, destination: paths.Destination) -> None:
        single = destination.path.suffix.lower() in encoders.STILL_ENCODERS and not destination.sequence
        if single and self._named is not None and is_pattern(self._named):
            raise UsageError(
                f"{destination.path} is a single image, the input a sequence", "Name a video, or a pattern (f_%05d.png)"
            )

    def _open_source(self, named: Path | None) -> None:
        """Open the source, standard input where none is named, and the mask beside it."""
        selection = self.job.selection
        self.source = spool_stdin(self._folder()) if named is None else named
        self.job = replace(self.job, selection=resolve_crop(selection, self.source))
        self._begin_reading(self.notify)
        cropped = crop_note(selection, self.reader)
        if cropped is not None:
            self.notify(cropped)
        which = deinterlacing(selection, self.job.restore.task)
        if selection.deinterlace == "auto":
            stays = which is Deinterlace.OFF
            if stays and (self.reader.interlaced or self.reader.later_fields):
                kind = "source is interlaced" if self.reader.interlaced else "a part of the source is interlaced"
                text = f"{self.job.source}: {kind} and stays so; to deinterlace: --deinterlace on"
                self.notify(Note("interlaced", text, {"deinterlaced": False}, "warning"))
            elif self.reader.interlaced:
                text = "source is interlaced; deinterlaced first (to keep it interlaced: --deinterlace off)"
                self.notify(Note("interlaced", text, {"deinterlaced": True}))

    def _begin_reading(self, notify: Notify) -> None:
        """Have the source and its mask read from their beginning; `notify` gets what is seen when they are opened."""
        self._reading.close()
        selection, span = self.job.selection, self.reading
        name = PIPE_NAME if self._named is None else None
        reader = Reader(self.source, span, self.notify, name, deinterlacing(selection, self.job.restore.task))
        self.reader = self._reading.enter_context(reader)
        apply_orientation(self.reader, self.output, notify)
        self.mask = open_masks(self.job, self.reader, notify, self.run_part.selection if self.run_part else None)
        if self.mask is not None:
            self._reading.enter_context(self.mask)

    def close_source(self) -> None:
        """Close the source and its mask, as nothing more is read."""
        self._reading.close()

    def rewind(self) -> None:
        """Read the source and its mask again from the beginning; what was said of them is not said again."""
        self._begin_reading(lambda _: None)
        self.reader.side_data()  # kinds that begin later are still told apart from those of the first frames

    def skim(self) -> None:
        """From here on read the source for its cuts alone, from its beginning: no frame goes through the model."""
        if self.reading.quantizers:  # which take decoders that are slower on many cores
            self._skims = True
            self.rewind()

    def _folder(self) -> Path:
        """A folder for as long as the job is open."""
        return self._stack.enter_context(temporary_folder())

    def notify(self, note: Note) -> None:
        """Pass a note on; the same warning once."""
        if note.level == "warning" and any(note.text == before.text for before in self.notes):
            return
        if note.level == "warning" or (note.level != events.DETAIL and not self._is_open):
            self.notes.append(note)
        self.trace.mark(note.text, code=note.code)
        self.watch(events.Noted.of(self.job.source, note))

    def _downloader(self) -> Downloader:
        """Provides the files of models."""
        return Downloader.for_watcher(self.job.source, self.watch, self.job.model.offline)


def select_span(selection: SelectionSettings) -> Span:
    """The part of a source to read."""
    start = selection.start or Fraction(0)
    crop = None if selection.crop == "auto" else selection.crop
    return Span(start, selection.end, selection.frames, selection.stream, fps=selection.fps, crop=crop)


def resolve_crop(selection: SelectionSettings, source: Path) -> SelectionSettings:
    """A selection whose crop is known: black borders are looked for.  Raises InputError."""
    if selection.crop != "auto":
        return selection
    return replace(selection, crop=find_borders(source, select_span(selection)))


def crop_note(selection: SelectionSettings, reader: Reader) -> Note | None:
    """What is cropped of an open source, in words; None where nothing was asked for."""
    if selection.crop is None:
        return None
    part = reader.window.turned(reader.orientation)
    if part.is_all:
        why = "no black borders found"
        if selection.crop != "auto":
            why = f"--crop {selection.crop} is the complete picture"
        return Note("cropped", f"{why}; nothing is cropped", {"crop": None})
    crop = f"{part.width}:{part.height}:{part.left}:{part.top}"
    text = f"cropped from {part.size[0]}x{part.size[1]} to {part.width}x{part.height} (--crop {crop})"
    return Note("cropped", text, {"crop": crop})
