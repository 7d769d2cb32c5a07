"""One job from end to end: open, plan, stream, publish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch

from vrx import events
from vrx.errors import StoppedError, resource_errors
from vrx.events import Watcher
from vrx.media.file_types import is_pattern
from vrx.media.signals import defer_signals
from vrx.media.write import Writer
from vrx.models.base import Restorer, SceneStart
from vrx.models.components import Parts
from vrx.pipeline.chunking import Chunk, Item, Place, Source, chunked
from vrx.pipeline.colorspace import grown
from vrx.pipeline.convert import Finish, make_doors
from vrx.pipeline.devices import pick_dtype
from vrx.pipeline.executor import Control, Pipeline, Resume, Work
from vrx.pipeline.paths import make_folder
from vrx.pipeline.plan import Plan
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.resume import published
from vrx.pipeline.resume.fingerprint import fingerprint
from vrx.pipeline.resume.journal import Journal
from vrx.pipeline.resume.published import Publication
from vrx.pipeline.resume.workspace import claimed
from vrx.pipeline.resume.writer import SPAN, KeptWriter, can_keep, with_saves
from vrx.pipeline.select_model import EMBEDDED
from vrx.pipeline.session import Session
from vrx.scenes.detect import CUT_THRESHOLD, Boundary, SceneFrame, apply_cuts, detect_cuts
from vrx.settings import Environment, Job, Task
from vrx.weights.download import Shop

REPORT_EVERY = 0.1  # seconds between two progress events


@dataclass(frozen=True)
class Outcome:
    """What a run made: the file (None for standard output), frames, scenes and seconds."""

    output: Path | None
    frames: int
    scenes: int
    seconds: float
    stage_seconds: dict[str, float] = field(default_factory=dict)
    skipped: bool = False  # the result was there already


class Run:
    """A job opened and planned.  A context manager; `stream` does the work, once."""

    def __init__(self, job: Job, watch: Watcher, pool: ModelPool | None = None) -> None:
        self.job, self._watch, self._pool = job, watch, pool or ModelPool()
        self._session = Session(job, watch, self._pool)
        self._entry, self._device = self._session.entry, self._session.device
        self._inform, self._note = self._session.inform, self._session.note
        self._done: Publication | None = None
        try:
            self.skipped = self._opened_and_skipped()
        except BaseException:
            self._session.__exit__()
            raise

    def _opened_and_skipped(self) -> bool:
        """Open all; whether the result is there already and to be left.  Raises OutputError for one that is not."""
        session, skip = self._session, self.job.output.skip_existing
        if skip and session.is_there():
            return True
        if self.job.source == "-":  # all of it is read before the rest can be known
            session.check_result()
        session.open()
        self._target, self.frames = session.target, session.frames
        if skip and session.is_whole():
            return True
        self._done = self._published()
        if self._done is None:
            session.check_result()
        return False

    def _published(self) -> Publication | None:
        """The result, where an earlier run of this command made it and was killed before it cleared up."""
        path, job = self._session.output, self.job
        found = None if path is None or not job.output.resume else published.find(path)
        if found is None:
            return None
        parts = self._pool.parts(job.model, job.restore, self._shop())
        dtype = pick_dtype(job.model.dtype, self._device)
        marks = fingerprint(job, self._entry.name, parts.paths(), (self._device, dtype))
        return found if marks == found.fingerprint else None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self._session.__exit__(*exc)

    def plan(self) -> Plan:
        """What `stream` would do."""
        return self._session.plan()

    def _clear(self, result: Path) -> None:
        """Remove what a killed run left of a result that is whole."""
        with claimed(result) as workspace:
            self._inform(f"{result}: finished by an earlier run, which was stopped before it cleared up")
            if workspace is not None:
                workspace.discard()
        published.forget(result)

    def _finish_again(self, done: Publication) -> Outcome:
        """Clear up after a run that published the result."""
        path = self._session.output
        assert path is not None
        self._clear(path)
        frames, scenes = done.frames, done.scenes
        self._watch(
            events.Finished(
                input=self.job.source,
                output=str(path),
                frames=frames,
                scenes=scenes,
                seconds=0.0,
                resumed_frames=frames,
            )
        )
        return Outcome(path, frames, scenes, 0.0)

    def _skip(self) -> Outcome:
        """Leave the result that is there."""
        output = self._session.output
        assert output is not None
        if published.find(output) is not None:
            self._clear(output)
        self._watch(events.Skipped(input=self.job.source, output=str(output)))
        return Outcome(output, 0, 0, 0.0, skipped=True)

    def _fetching(self, part: str, done: int, size: int | None) -> None:
        self._watch(events.Fetching(input=self.job.source, part=part, done=done, size=size))

    def _shop(self) -> Shop:
        """Where checkpoints come from."""
        return Shop(
            models=Environment.read().models,
            offline=self.job.model.offline,
            note=self._inform,
            progress=self._fetching,
        )

    def stream(self) -> Outcome:
        """Restore every frame that no earlier run has restored, and publish the result.

        Raises DeviceError where memory runs out, or cannot be enough.
        """
        if self.skipped:
            return self._skip()
        if self._done is not None:
            return self._finish_again(self._done)
        self._session.check_memory()
        with resource_errors(str(self._device)):
            return self._stream()

    def _stream(self) -> Outcome:
        job, target = self.job, self._target
        begin = perf_counter()
        dtype = pick_dtype(job.model.dtype, self._device)
        shop = self._shop()
        parts = self._pool.parts(job.model, job.restore, shop)
        if self._session.destination is not None:
            make_folder(self._session.destination)
        with ExitStack() as stack:
            journal = self._journal(stack, parts.paths(), dtype)
            restorer = self._pool.restorer(job.model, job.restore, shop)
            torch.manual_seed(job.model.seed)
            self._announce(parts, restorer, dtype, journal.kept.frames if journal else 0)
            known = job.restore.task is Task.INPAINT
            finish = Finish(
                layout=target.layout, color=target.color, scale=job.restore.scale, blend=job.restore.blend, known=known
            )
            pipeline = Pipeline(restorer, make_doors(self._device, finish))
            with defer_signals():
                writer: Writer | KeptWriter = KeptWriter(target, journal) if journal else Writer(target)
                stack.enter_context(writer)
            scenes = self._drain(pipeline, self._items(restorer, journal), writer, begin)
            end = self._session.reader.end_time
            if isinstance(writer, KeptWriter):
                writer.finish(scenes, end)
            else:
                writer.finish(end)
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
                resumed_frames=writer.kept,
            )
        )
        return outcome

    def _announce(self, parts: Parts, restorer: Restorer, dtype: torch.dtype, kept: int) -> None:
        """Say that the work begins, and with what; `kept` frames were made by an earlier run."""
        target = self._target
        self._watch(
            events.Started(
                input=self.job.source,
                output=str(target.path) if target.path else "-",
                frames=self.frames,
                source_size=self._session.reader.size,
                target_size=target.size,
                model=self._entry.name,
                device=str(self._device),
                dtype=str(dtype).removeprefix("torch."),
                resumed_frames=kept,
            )
        )
        for line in (
            f"checkpoint: {', '.join(str(path) for path in parts.paths())}",
            f"encoder: {target.rule.name}, {target.layout.pix_fmt}, {target.container}",
            f"chunks of {restorer.schedule.first}, then {restorer.schedule.next} frames",
        ):
            self._inform(line, events.DETAIL)

    def _journal(self, stack: ExitStack, checkpoints: list[Path], dtype: torch.dtype) -> Journal | None:
        """What an earlier run left and this one adds to; None where the result is made in one go."""
        job, path = self.job, self._target.path
        long = self.frames is None or self.frames > SPAN
        if path is None:
            return None
        if job.source == "-" or not (long and can_keep(self._target) and job.output.resume):
            workspace = stack.enter_context(claimed(path))
            if workspace is not None:
                published.forget(path)  # it is of another result
                if workspace.holds_parts() and not job.output.resume:
                    workspace.discard()
                    self._inform(f"{path}: an earlier run's work is thrown away")
            return None
        marks = fingerprint(job, self._entry.name, checkpoints, (self._device, dtype))
        journal = stack.enter_context(Journal(path, marks))
        published.forget(path)  # it is of another result
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
                            events.SceneBegan(input=self.job.source, number=scene + 1, frame=writer.frames, soft=False)
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
        for note in work.notes:
            self._inform(note.text, note.level)
        start = perf_counter()
        for frame in work.restored:
            writer.write(frame)
        pipeline.timings.seconds["write"] += perf_counter() - start

    def _tell_refreshes(self, chunk: Chunk, scene: int) -> None:
        for place, source in enumerate(chunk.frames):
            if source.boundary is Boundary.SOFT:
                frame = chunk.first_frame + place
                self._watch(events.SceneBegan(input=self.job.source, number=scene + 1, frame=frame, soft=True))

    def _report(self, pipeline: Pipeline, writer: Writer | KeptWriter, scene: int, begin: float) -> None:
        fps = (writer.frames - writer.kept) / max(1e-9, perf_counter() - begin)
        self._watch(
            events.Advanced(
                input=self.job.source,
                done=writer.frames,
                frames=self.frames if writer.frames <= (self.frames or 0) else None,  # headers may be wrong
                scene=scene + 1,
                fps=fps,
                queues=pipeline.queues(),
            )
        )

    def _marked(self) -> Iterator[SceneFrame]:
        frames = self._session.reader.frames()
        if self._session.reader.info.still and not (self._session.source and is_pattern(self._session.source)):
            return apply_cuts(frames, frozenset())
        if self._session.cuts is not None:
            return apply_cuts(frames, self._session.cuts)
        return detect_cuts(frames, CUT_THRESHOLD if (wanted := self.job.selection.scene_threshold) is None else wanted)

    def _sources(self, first: int) -> Iterator[Source]:
        """Frames with their marks and masks, from number `first` on; those before it are looked at for cuts."""
        for number, item in enumerate(self._marked()):
            mask = None
            if self._session.mask is not None:
                time = item.frame.time - self._session.reader.origin
                mask = grown(self._session.mask.at(time), self.job.restore.dilate)
            if number >= first:
                yield Source(item.frame, mask, item.boundary)
