"""One job from end to end: open, plan, stream, publish."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from time import perf_counter

import torch

from vrx import events
from vrx.errors import InputError, OutputError, StoppedError, UsageError, resource_errors
from vrx.events import Watcher
from vrx.media import encoders
from vrx.media.deinterlace import Deinterlace
from vrx.media.masks import MaskTrack
from vrx.media.read import Reader, Span
from vrx.media.shield import shielded
from vrx.media.stills import is_pattern, sequence_members
from vrx.media.write import ONE_PICTURE, Writer
from vrx.models.embedded import SMALL
from vrx.pipeline import memory
from vrx.pipeline import plan as planning
from vrx.pipeline.choose import EMBEDDED, Machine, choose
from vrx.pipeline.chunks import Chunk, Item, Place, Source, chunked
from vrx.pipeline.cost import REACHED, matrix_rate, operations
from vrx.pipeline.devices import gpu_memory, pick_device, pick_dtype
from vrx.pipeline.doors import Finish, make_doors
from vrx.pipeline.fingerprint import fingerprint
from vrx.pipeline.journal import Journal
from vrx.pipeline.kept import SPAN, KeptWriter, can_keep, with_saves
from vrx.pipeline.pixels import grown
from vrx.pipeline.plan import Plan
from vrx.pipeline.stages import Control, Pipeline, Resume, Work
from vrx.pipeline.target import expected_frames, make_target
from vrx.pipeline.transfer import container_reason
from vrx.pipeline.workspace import claimed
from vrx.restorers.base import Restorer, SceneStart
from vrx.restorers.registry import FAMILIES, Request, build, parts_of
from vrx.scenes.detect import CUT_THRESHOLD, Marked, Turn, mark, mark_at, read_cuts
from vrx.settings import Environment, Job, Task
from vrx.weights import catalogue, locate, network
from vrx.weights.fetch import Shop

PIPE_NAME = "standard input"
SPOOL_BLOCK = 1 << 20  # bytes copied from standard input at a time
REPORT_EVERY = 0.1  # seconds between two progress events


@dataclass(frozen=True)
class Outcome:
    """What a run made: the file (None for standard output), frames, scenes and seconds."""

    output: Path | None
    frames: int
    scenes: int
    seconds: float
    stage_seconds: dict[str, float] = field(default_factory=dict)


class Run:
    """A job opened and planned.  A context manager; `stream` does the work, once."""

    def __init__(self, job: Job, watch: Watcher) -> None:
        self.job, self._watch = job, watch
        self._stack = ExitStack()
        self._notes: list[str] = []
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        job = self.job
        self._catalogue = catalogue.known()
        self._device = pick_device(job.model.device)
        choice = choose(job.model, self._catalogue, job.restore, self._machine())
        self._entry, self._model = choice.entry, choice.entry.name
        if choice.note:
            self._inform(choice.note)
        named = None if job.source == "-" else Path(job.source)
        self._output = planning.output_path(job, named, self._model)
        if self._output is not None:
            self._check_output(self._output, named)
        cuts = job.selection.scenes
        self._cuts = frozenset() if cuts == "off" else None if cuts == "auto" else read_cuts(Path(cuts))
        source = self._spooled() if named is None else named
        selection = job.selection
        span = Span(selection.start or Fraction(0), selection.end, selection.frames)
        name = PIPE_NAME if named is None else None
        which = Deinterlace(selection.deinterlace)
        if job.restore.task is Task.INPAINT and which is Deinterlace.FLAGGED:
            which = Deinterlace.OFF  # what is known stays as it was
        self._reader = self._stack.enter_context(Reader(source, span, self._note, name, which))
        self._source = source
        self._mask = None
        if job.restore.mask is not None:
            self._mask = self._stack.enter_context(MaskTrack(job.restore.mask, self._reader.size, self._note))
        reason = container_reason(job, self._reader.info, self._output)
        if reason:
            self._note(f"{job.source}: {reason}")
        self._target = make_target(job, self._reader, source, self._output, self._note)
        self.frames = expected_frames(self._reader.info, selection)
        if self._target.single and self.frames is not None and self.frames > 1:
            raise UsageError(f"{self._output} holds one picture, and {self.frames} frames come", ONE_PICTURE)
        if self._reader.interlaced and selection.deinterlace == "auto":
            if which is Deinterlace.OFF:
                self._note(f"{job.source}: interlaced video stays as it is; --deinterlace on makes it whole first")
            else:
                self._inform("interlaced: made into whole pictures first; --deinterlace off leaves it as it is")

    def _machine(self) -> Machine:
        """What the choice of a model depends on; on a processor none of it is looked for."""
        held = gpu_memory(self._device)
        if held is None:
            return Machine()
        folder = Environment.read().models
        here = [name for name, entry in self._catalogue.items() if entry.parts and not locate.missing(entry, folder)]
        offline = self.job.model.offline or network.offline()
        return Machine(gpu_memory=held, on_disk=frozenset(here), online=not offline)

    def _check_output(self, path: Path, source: Path | None) -> None:
        if is_pattern(path):
            planning.check_output(path, None, self.job.output)
            taken = sequence_members(path)
            if taken and not self.job.output.overwrite:
                raise OutputError(f"{taken[0]} exists", "Add -y to replace the sequence")
            return
        if source is not None and is_pattern(source) and path.suffix.lower() in encoders.STILL_ENCODERS:
            raise UsageError(f"a sequence of pictures does not fit into {path}", "Name a video or a pattern (%05d)")
        planning.check_output(path, source, self.job.output)

    def _spooled(self) -> Path:
        """Standard input as a file: its header may stand at the end, and its sound is read once more."""
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("standard input is a terminal", "Pipe a video into it, or name a file")
        try:
            spool = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vrx-"))) / "stdin"
            with spool.open("wb") as file:
                while block := sys.stdin.buffer.read(SPOOL_BLOCK):
                    file.write(block)
        except OSError as error:
            raise InputError(
                f"cannot keep {PIPE_NAME}: {error.strerror}", "Set TMPDIR to a folder with enough space"
            ) from error
        return spool

    def _note(self, text: str) -> None:
        """Tell a warning once."""
        if text not in self._notes:
            self._notes.append(text)
            self._watch(events.Noted(input=self.job.source, level="warning", text=text))

    def _inform(self, text: str, level: str = "info") -> None:
        self._watch(events.Noted(input=self.job.source, level=level, text=text))

    def _fetching(self, part: str, done: int, size: int | None) -> None:
        self._watch(events.Fetching(input=self.job.source, part=part, done=done, size=size))

    def plan(self) -> Plan:
        """What `stream` would do."""
        dtype = pick_dtype(self.job.model.dtype, self._device)
        target, reader = self._target, self._reader
        parts = ", ".join(p.path for p in self._entry.parts if not p.optional)
        frames, seconds = self.frames, None
        needed, fears = self._entry.memory, ""
        if self._entry.family == EMBEDDED:
            needed = self._memory()
            fears = memory.note(needed, self._device)
            restore = self.job.restore
            mode = f"upscale{restore.scale}" if restore.task is Task.UPSCALE else str(restore.task)
            work = operations(SMALL, mode, target.size)
            seconds = None if frames is None else frames * work / matrix_rate(self._device, dtype) / REACHED
        return Plan(
            source=self.job.source,
            output=str(target.path) if target.path else "standard output",
            model=self._model,
            checkpoint=str(self._entry.local or parts),
            device=str(self._device),
            dtype=str(dtype).removeprefix("torch."),
            frames=frames,
            source_size=reader.size,
            target_size=target.size,
            encoder=target.rule.name,
            pix_fmt=target.layout.pix_fmt,
            container=target.container,
            chunk=FAMILIES[self._entry.family].schedule.next,
            scenes=self.job.selection.scenes,
            memory=needed,
            seconds=seconds,
            notes=(*self._notes, *([fears] if fears else [])),
        )

    def _memory(self) -> int:
        reader = self._reader
        return memory.needed(self._target.size, reader.size, reader.layout.depth, self.job.restore.task, self.frames)

    def stream(self) -> Outcome:
        """Restore every frame that no earlier run has restored, and publish the result.

        Raises DeviceError where memory runs out, or cannot be enough.
        """
        if self._entry.family == EMBEDDED:
            memory.check(self._memory(), self._device)
        with resource_errors(str(self._device)):
            return self._stream()

    def _stream(self) -> Outcome:
        job, target = self.job, self._target
        begin = perf_counter()
        dtype = pick_dtype(job.model.dtype, self._device)
        torch.manual_seed(job.model.seed)
        shop = Shop(
            models=Environment.read().models, offline=job.model.offline, note=self._inform, progress=self._fetching
        )
        parts = parts_of(self._entry, job.model, self._catalogue, shop)
        with ExitStack() as stack:
            journal = self._journal(stack, parts.paths(), dtype)
            restorer = build(self._entry, Request(parts, job.restore, job.model, self._device, dtype))
            self._watch(
                events.Started(
                    input=job.source,
                    output=str(target.path) if target.path else "-",
                    frames=self.frames,
                    source_size=self._reader.size,
                    target_size=target.size,
                    model=self._model,
                    device=str(self._device),
                    dtype=str(dtype).removeprefix("torch."),
                    kept=journal.kept.frames if journal else 0,
                )
            )
            for line in (
                f"checkpoint: {', '.join(str(path) for path in parts.paths())}",
                f"encoder: {target.rule.name}, {target.layout.pix_fmt}, {target.container}",
                f"chunks of {restorer.schedule.first}, then {restorer.schedule.next} frames",
            ):
                self._inform(line, events.DETAIL)
            known = job.restore.task is Task.INPAINT
            finish = Finish(
                layout=target.layout, color=target.color, scale=job.restore.scale, blend=job.restore.blend, known=known
            )
            pipeline = Pipeline(restorer, make_doors(self._device, finish))
            with shielded():
                writer: Writer | KeptWriter = KeptWriter(target, journal) if journal else Writer(target)
                stack.enter_context(writer)
            scenes = self._drain(pipeline, self._items(restorer, journal), writer, begin)
            writer.finish()
        seconds = perf_counter() - begin
        outcome = Outcome(target.path, writer.frames, scenes, seconds, dict(pipeline.timings.seconds))
        name = str(target.path) if target.path else "-"
        spent = ", ".join(f"{stage} {t:.1f}" for stage, t in outcome.stage_seconds.items())
        self._inform(f"seconds of work: {spent}", events.DETAIL)
        self._watch(
            events.Finished(
                input=job.source,
                output=name,
                frames=writer.frames,
                scenes=scenes,
                seconds=seconds,
                kept=writer.kept,
            )
        )
        return outcome

    def _journal(self, stack: ExitStack, checkpoints: list[Path], dtype: torch.dtype) -> Journal | None:
        """What an earlier run left and this one adds to; None where the result is made in one go."""
        job, path = self.job, self._target.path
        long = self.frames is None or self.frames > SPAN
        if path is None:
            return None
        if job.source == "-" or not (long and can_keep(self._target) and job.output.resume):
            workspace = stack.enter_context(claimed(path))
            if workspace is not None and workspace.holds_parts() and not job.output.resume:
                workspace.discard()
                self._inform(f"{path}: an earlier run's work is thrown away")
            return None
        marks = fingerprint(job, self._model, checkpoints, (self._device, dtype))
        journal = stack.enter_context(Journal(path, marks))
        stack.callback(self._tell_kept, journal)
        if journal.differs:
            differs = ", ".join(journal.differs)
            self._note(f"{path}: starting over, an earlier run's work does not fit ({differs})")
        elif journal.kept.segments:
            frames = journal.kept.frames
            self._inform(f"{path}: going on after {frames} frames of an earlier run, which are read again first")
        return journal

    def _tell_kept(self, journal: Journal) -> None:
        """Where a run ends early, what it leaves to the next."""
        frames = journal.left()
        if frames:
            self._inform(f"{frames} frames are kept; the same command goes on after them")

    def _items(self, restorer: Restorer, journal: Journal | None) -> Iterator[Item | Control]:
        """The stream from where it begins, or where an earlier run's ends."""
        state = journal.kept.state if journal else None
        place = Place(state.scene.number, state.index, state.frame) if state else None
        if state is not None and state.stages:
            yield Resume(state)
        items = chunked(self._sources(place.frame if place else 0), restorer.schedule, restorer.scale, place)
        yield from items if journal is None else with_saves(items, self._entry.family == EMBEDDED, state)

    def _drain(
        self, pipeline: Pipeline, items: Iterator[Item | Control], writer: Writer | KeptWriter, begin: float
    ) -> int:
        """Write what the stages give; returns the number of scenes."""
        scene, last = writer.scene, 0.0
        with closing(pipeline.results(items)) as results:
            try:
                for item in results:
                    if isinstance(item, SceneStart):
                        scene = item.number
                        self._watch(
                            events.SceneBegan(input=self.job.source, number=scene, frame=writer.frames, soft=False)
                        )
                    elif isinstance(item, Work):
                        self._write(pipeline, item, writer, scene)
                        now = perf_counter()
                        if now - last > REPORT_EVERY:
                            last = now
                            self._report(pipeline, writer, scene, begin)
                    else:
                        assert isinstance(writer, KeptWriter)
                        writer.keep(item.state)
            except (KeyboardInterrupt, StoppedError):
                pipeline.hurry()
                lost = "" if isinstance(writer, KeptWriter) else "; the same command starts again"
                self._inform(f"stopped after {writer.frames} of {self.frames or 'unknown'} frames{lost}")
                raise
        self._report(pipeline, writer, scene, begin)
        return scene + 1

    def _write(self, pipeline: Pipeline, work: Work, writer: Writer | KeptWriter, scene: int) -> None:
        """Write a chunk's frames, and pass on what was noticed about them."""
        self._tell_refreshes(work.chunk, scene)
        for text in work.notes:
            self._inform(text)
        start = perf_counter()
        for frame in work.restored:
            writer.write(frame)
        pipeline.timings.seconds["write"] += perf_counter() - start

    def _tell_refreshes(self, chunk: Chunk, scene: int) -> None:
        for place, source in enumerate(chunk.frames):
            if source.turn is Turn.SOFT:
                frame = chunk.first_frame + place
                self._watch(events.SceneBegan(input=self.job.source, number=scene, frame=frame, soft=True))

    def _report(self, pipeline: Pipeline, writer: Writer | KeptWriter, scene: int, begin: float) -> None:
        fps = (writer.frames - writer.kept) / max(1e-9, perf_counter() - begin)
        self._watch(
            events.Advanced(
                input=self.job.source,
                done=writer.frames,
                frames=self.frames if writer.frames <= (self.frames or 0) else None,  # headers may be wrong
                scene=scene,
                fps=fps,
                queues=pipeline.queues(),
            )
        )

    def _marked(self) -> Iterator[Marked]:
        frames = self._reader.frames()
        if self._reader.info.still and not (self._source and is_pattern(self._source)):
            return mark_at(frames, frozenset())
        if self._cuts is not None:
            return mark_at(frames, self._cuts)
        return mark(frames, self.job.selection.scene_threshold or CUT_THRESHOLD)

    def _sources(self, first: int) -> Iterator[Source]:
        """Frames with their marks and masks, from number `first` on; those before it are looked at for cuts."""
        origin: Fraction | None = None
        for number, item in enumerate(self._marked()):
            mask = None
            if self._mask is not None:
                origin = item.frame.time if origin is None else origin
                start = self.job.selection.start or Fraction(0)
                mask = grown(self._mask.at(item.frame.time - origin + start), self.job.restore.dilate)
            if number >= first:
                yield Source(item.frame, mask, item.turn)
