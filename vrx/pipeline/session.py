"""A job opened: its model chosen, its source, mask and cuts read, and how the result is written decided."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

from vrx import events
from vrx.errors import InputError, OutputError, UsageError
from vrx.events import Watcher
from vrx.media import encoders
from vrx.media.deinterlace import Deinterlace
from vrx.media.masks import MaskTrack
from vrx.media.read import Reader, Span
from vrx.media.stills import is_pattern, sequence_members
from vrx.media.write import ONE_PICTURE
from vrx.models.embedded import SMALL
from vrx.pipeline import paths
from vrx.pipeline import plan as planning
from vrx.pipeline.choose import EMBEDDED, Machine, choose
from vrx.pipeline.cost import REACHED, matrix_rate, operations
from vrx.pipeline.devices import gpu_memory, pick_device, pick_dtype
from vrx.pipeline.plan import Plan
from vrx.pipeline.target import expected_frames, make_target
from vrx.restorers.registry import FAMILIES
from vrx.scenes.detect import read_cuts
from vrx.settings import Environment, Job, Task
from vrx.weights import catalogue, locate, network

PIPE_NAME = "standard input"
SPOOL_BLOCK = 1 << 20  # bytes copied from standard input at a time


class Session:
    """A job whose files are open.  A context manager.

    `frames` is how many will come, None where that is unknown; `cuts` None where they are to be found.
    """

    def __init__(self, job: Job, watch: Watcher) -> None:
        self.job, self._watch = job, watch
        self._stack = ExitStack()
        self._notes: list[str] = []
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        job = self.job
        self.catalogue = catalogue.known()
        self.device = pick_device(job.model.device)
        choice = choose(job.model, self.catalogue, job.restore, self._machine())
        self.entry, self.model = choice.entry, choice.entry.name
        if choice.note:
            self.inform(choice.note)
        named = None if job.source == "-" else Path(job.source)
        self.output = paths.output_path(job, named, self.model)
        if self.output is not None:
            self._check_output(self.output, named)
        cuts = job.selection.scenes
        self.cuts = frozenset() if cuts == "off" else None if cuts == "auto" else read_cuts(Path(cuts))
        self._open_source(named)
        self.target = make_target(job, self.reader, self.source, self.output, self.note)
        self.frames = expected_frames(self.reader.info, job.selection)
        if self.target.single and self.frames is not None and self.frames > 1:
            raise UsageError(f"{self.output} holds one picture, and {self.frames} frames come", ONE_PICTURE)

    def _open_source(self, named: Path | None) -> None:
        """Open the source, standard input where none is named, and the mask beside it."""
        selection, mask = self.job.selection, self.job.restore.mask
        self.source = self._spooled() if named is None else named
        span = Span(selection.start or Fraction(0), selection.end, selection.frames)
        which = Deinterlace(selection.deinterlace)
        if self.job.restore.task is Task.INPAINT and which is Deinterlace.FLAGGED:
            which = Deinterlace.OFF  # what is known stays as it was
        name = PIPE_NAME if named is None else None
        self.reader = self._stack.enter_context(Reader(self.source, span, self.note, name, which))
        self.mask = None if mask is None else self._stack.enter_context(MaskTrack(mask, self.reader.size, self.note))
        if self.reader.interlaced and selection.deinterlace == "auto":
            if which is Deinterlace.OFF:
                self.note(f"{self.job.source}: interlaced video stays as it is; --deinterlace on makes it whole first")
            else:
                self.inform("interlaced: made into whole pictures first; --deinterlace off leaves it as it is")

    def _machine(self) -> Machine:
        """What the choice of a model depends on; on a processor none of it is looked for."""
        memory = gpu_memory(self.device)
        if memory is None:
            return Machine()
        folder = Environment.read().models
        here = [name for name, entry in self.catalogue.items() if entry.parts and not locate.missing(entry, folder)]
        offline = self.job.model.offline or network.offline()
        return Machine(gpu_memory=memory, on_disk=frozenset(here), online=not offline)

    def _check_output(self, path: Path, source: Path | None) -> None:
        if is_pattern(path):
            paths.check_output(path, None, self.job.output)
            taken = sequence_members(path)
            if taken and not self.job.output.overwrite:
                raise OutputError(f"{taken[0]} exists", "Add -y to replace the sequence")
            return
        if source is not None and is_pattern(source) and path.suffix.lower() in encoders.STILL_ENCODERS:
            raise UsageError(f"a sequence of pictures does not fit into {path}", "Name a video or a pattern (%05d)")
        paths.check_output(path, source, self.job.output)

    def _spooled(self) -> Path:
        """Standard input as a file: its header may stand at the end, and its sound is read once more."""
        spool = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vrx-"))) / "stdin"
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("standard input is a terminal", "Pipe a video into it, or name a file")
        try:
            with spool.open("wb") as file:
                while block := sys.stdin.buffer.read(SPOOL_BLOCK):
                    file.write(block)
        except OSError as error:
            raise InputError(f"cannot keep {PIPE_NAME}: {error.strerror}", "Set TMPDIR to a larger disk") from error
        return spool

    def note(self, text: str) -> None:
        """Tell a warning once."""
        if text not in self._notes:
            self._notes.append(text)
            self._watch(events.Noted(input=self.job.source, level="warning", text=text))

    def inform(self, text: str, level: str = "info") -> None:
        self._watch(events.Noted(input=self.job.source, level=level, text=text))

    def plan(self) -> Plan:
        """What `stream` would do."""
        dtype = pick_dtype(self.job.model.dtype, self.device)
        target, reader = self.target, self.reader
        parts = ", ".join(p.path for p in self.entry.parts if not p.optional)
        frames, seconds = self.frames, None
        memory = self.entry.memory
        if self.entry.family == EMBEDDED:
            memory = planning.memory_needed(target.size, reader.size, reader.layout.depth)
            restore = self.job.restore
            mode = f"upscale{restore.scale}" if restore.task is Task.UPSCALE else str(restore.task)
            work = operations(SMALL, mode, target.size)
            seconds = None if frames is None else frames * work / matrix_rate(self.device, dtype) / REACHED
        return Plan(
            source=self.job.source,
            output=str(target.path) if target.path else "standard output",
            model=self.model,
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
            memory=memory,
            seconds=seconds,
            notes=tuple(self._notes),
        )
