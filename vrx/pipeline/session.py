"""A job opened: its model chosen, its source, mask and cuts read, and how the result is written decided."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vrx import events
from vrx.errors import InputError, OutputError, UsageError
from vrx.events import Note, Watcher
from vrx.media import encoders
from vrx.media.deinterlace import Deinterlace
from vrx.media.file_types import detect_suffix, is_pattern
from vrx.media.masks import MaskTrack
from vrx.media.read import Reader, Span
from vrx.media.target import ONE_PICTURE
from vrx.models.registry import FAMILIES
from vrx.pipeline import memory, paths
from vrx.pipeline.clashes import refuse_clashes
from vrx.pipeline.cost import REACHED, matrix_rate, operations
from vrx.pipeline.devices import pick_dtype
from vrx.pipeline.masking import open_mask
from vrx.pipeline.output import companions_of, expected_frames, make_target, orient
from vrx.pipeline.plan import Action, Plan
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.select_model import EMBEDDED
from vrx.pipeline.transfer import container_reason
from vrx.scenes.cut_list import read_cuts
from vrx.settings import Job, Task

PIPE_NAME = "standard input"
SPOOL_BLOCK = 1 << 20  # bytes copied from standard input at a time


class Session:
    """A job: its model and the name of its result at once, its source and all else once it is opened.

    A context manager.  `frames` is how many will come, None where that is unknown; `cuts` None where they
    are to be found; `destination` None for standard output.  Raises UsageError where the result would
    replace something that the job reads.
    """

    def __init__(self, job: Job, watch: Watcher, pool: ModelPool) -> None:
        self.job, self._watch = job, watch
        self._stack = ExitStack()
        self._notes: list[str] = []
        self.mask: MaskTrack | None = None
        self._selection = pool.select(job.model, job.restore, job.source)
        self.entry, self.device = self._selection.entry, self._selection.device
        self._named = None if job.source == "-" else Path(job.source)
        self.destination = paths.find_destination(job, self._named, self.entry.name)
        refuse_clashes([(job, self.destination)])

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def output(self) -> Path | None:
        """The file, or the pattern of files, that is written; None for standard output."""
        return None if self.destination is None else self.destination.path

    def open(self) -> None:
        """Open the source, and decide all about the result.  Raises VrxError for whatever cannot be."""
        job = self.job
        if self._selection.note:
            self.inform(self._selection.note)
        cuts = job.selection.scenes
        self.cuts = frozenset() if cuts == "off" else None if cuts == "auto" else read_cuts(Path(cuts))
        if self.destination is not None:
            self._check_pictures(self.destination)
            if self._named is None:  # what cannot be written is refused before all of a pipe is read
                paths.check_folder(self.destination)
        self._open_source(self._named)
        reason = container_reason(job, self.reader.info, self.output)
        if reason:
            self.note(f"{job.source}: {reason}")
        copied = companions_of(job, self.reader, self._folder)
        self.target = make_target(job, self.reader, copied, self.output, self.note)
        if self.destination is not None:
            number = paths.first_number(self.source, job.selection.start)
            self.target = replace(self.target, literal=not self.destination.sequence, first_number=number)
        self.frames = expected_frames(self.reader.info_on_timeline(), job.selection)
        if self.target.single and self.frames is not None and self.frames > 1:
            raise UsageError(f"{self.output} holds one picture, and {self.frames} frames come", ONE_PICTURE)
        if self.destination is not None:
            paths.check_folder(self.destination)
            paths.check_kind(self.destination)

    def is_there(self) -> bool:
        """Whether the result stands there already, as far as can be told before the source is opened."""
        if self.destination is None or self.destination.sequence:
            return False
        paths.check_kind(self.destination)
        return bool(self.destination.existing())

    def is_whole(self) -> bool:
        """Whether the result stands there already; of numbered pictures, all of them."""
        if self.destination is None:
            return False
        there = len(self.destination.existing())
        return there > 0 and (not self.destination.sequence or (self.frames is not None and there >= self.frames))

    def check_result(self) -> None:
        """Refuse to replace a result that nobody asked to replace.  Raises OutputError."""
        there = [] if self.destination is None or self.job.output.overwrite else self.destination.existing()
        if there:
            hint = "Add -y to replace it, or -n to skip what is there"
            raise OutputError(f"{there[0]} exists", "Add -y to replace the sequence" if len(there) > 1 else hint)

    def _check_pictures(self, destination: paths.Destination) -> None:
        single = destination.path.suffix.lower() in encoders.STILL_ENCODERS and not destination.sequence
        if single and self._named is not None and is_pattern(self._named):
            raise UsageError(
                f"a sequence of pictures does not fit into {destination.path}", "Name a video or a pattern (%05d)"
            )

    def _open_source(self, named: Path | None) -> None:
        """Open the source, standard input where none is named, and the mask beside it."""
        selection, mask = self.job.selection, self.job.restore.mask
        self.source = self._spooled() if named is None else named
        span = Span(selection.start or Fraction(0), selection.end, selection.frames, selection.stream)
        which = Deinterlace(selection.deinterlace)
        if self.job.restore.task is Task.INPAINT and which is Deinterlace.AUTO:
            which = Deinterlace.OFF  # what is known stays as it was
        name = PIPE_NAME if named is None else None
        self.reader = self._stack.enter_context(Reader(self.source, span, self.note, name, which))
        orient(self.reader, self.output, self.inform)
        if mask is not None:
            self.mask = self._stack.enter_context(open_mask(self.job, self.reader, mask, self.note))
        if self.reader.interlaced and selection.deinterlace == "auto":
            if which is Deinterlace.OFF:
                self.note(f"{self.job.source}: interlaced video stays as it is; --deinterlace on makes it whole first")
            else:
                self.inform("interlaced: made into whole pictures first; --deinterlace off leaves it as it is")

    def _folder(self) -> Path:
        """A folder for as long as the job is open."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vrx-")))

    def _spooled(self) -> Path:
        """Standard input as a file: its header may stand at the end, and its sound is read once more."""
        if sys.stdin is None:
            raise UsageError("standard input is closed", "Pipe a video into it, or name a file")
        if sys.stdin.isatty():
            raise UsageError("standard input is a terminal", "Pipe a video into it, or name a file")
        try:
            spool = self._folder() / "stdin"
            with spool.open("wb") as file:
                while block := sys.stdin.buffer.read(SPOOL_BLOCK):
                    file.write(block)
        except OSError as error:
            raise InputError(
                f"cannot keep {PIPE_NAME}: {error.strerror}", "Set TMPDIR to a folder with enough space"
            ) from error
        with spool.open("rb") as file:
            suffix = detect_suffix(file.read(16))
        return spool.rename(spool.with_suffix(suffix)) if suffix else spool

    def note(self, note: str | Note) -> None:
        """Emit a warning, once."""
        found = note if isinstance(note, Note) else Note("warning", note)
        if found.text not in self._notes:
            self._notes.append(found.text)
            self._watch(events.Noted.of(self.job.source, replace(found, level="warning")))

    def inform(self, note: str | Note, level: events.Level = "info") -> None:
        """Emit a note."""
        found = note if isinstance(note, Note) else Note("info", note, level=level)
        self._watch(events.Noted.of(self.job.source, found))

    def plan(self) -> Plan:
        """What a run would do."""
        dtype = pick_dtype(self.job.model.dtype, self.device)
        target, reader = self.target, self.reader
        parts = ", ".join(p.path for p in self.entry.parts if not p.optional)
        frames, seconds = self.frames, None
        needed, fears = self.memory_needed(), ""
        if self.entry.family == EMBEDDED:
            fears = memory.note(needed, self.device)
            restore = self.job.restore
            mode = f"upscale{restore.scale}" if restore.task is Task.UPSCALE else str(restore.task)
            work = operations(mode, target.size)
            seconds = None if frames is None else frames * work / matrix_rate(self.device, dtype) / REACHED
        return Plan(
            source=self.job.source,
            output=str(target.path) if target.path else "standard output",
            model=self.entry.name,
            checkpoint=str(self.entry.local or parts),
            device=str(self.device),
            dtype=str(dtype).removeprefix("torch."),
            frames=frames,
            source_size=reader.size,
            target_size=target.size,
            encoder=target.rule.name,
            pix_fmt=target.layout.pix_fmt,
            container=target.container,
            chunk=FAMILIES[self.entry.family].schedule.next,
            scenes=self.job.selection.scenes,
            memory=needed,
            seconds=seconds,
            action=self._action(),
            notes=(*self._notes, *([fears] if fears else [])),
        )

    def memory_needed(self) -> int | None:
        """Bytes that the run takes, roughly; None where that is unknown."""
        if self.entry.family != EMBEDDED:
            return self.entry.memory
        reader = self.reader
        return memory.needed(self.target.size, reader.size, reader.layout.depth, self.job.restore.task, self.frames)

    def check_memory(self) -> None:
        """Refuse a run that needs more than all the machine has.  Raises DeviceError."""
        if self.entry.family == EMBEDDED:
            memory.check(self.memory_needed(), self.device)

    def _action(self) -> Action:
        """What becomes of a result that stands there already."""
        if self.destination is None or not self.destination.existing():
            return Action.WRITE
        if self.job.output.overwrite:
            return Action.REPLACE
        return Action.SKIP if self.job.output.skip_existing and self.is_whole() else Action.REFUSE
