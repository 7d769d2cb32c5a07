"""Executing an open job: read, restore, write, publish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch

from vrx import events
from vrx.errors import StoppedError, resource_errors
from vrx.events import Note
from vrx.media.frame import Frame
from vrx.media.signals import defer_signals
from vrx.media.write import Writer
from vrx.models.base import ChunkSchedule, Restorer, SceneStart
from vrx.models.components import Components
from vrx.models.family import Extent, compiled_extent, compiler_cache
from vrx.models.registry import FAMILIES
from vrx.pipeline.chunking import Item, StreamPosition, make_chunks
from vrx.pipeline.convert import FrameConverter, OutputFormat
from vrx.pipeline.devices import limit_threads
from vrx.pipeline.executor import Control, InFlight, Resume, Save, ThreadedExecutor
from vrx.pipeline.existing import Existing, clean_up, open_unless_done
from vrx.pipeline.fallback import Bookmark, Fallback, recoverable
from vrx.pipeline.needs import check_memory, warn_of_memory
from vrx.pipeline.paths import make_folder
from vrx.pipeline.progress import Progress
from vrx.pipeline.resume.opening import open_journal
from vrx.pipeline.resume.writer import SegmentedWriter, insert_checkpoints
from vrx.pipeline.session import Session
from vrx.pipeline.source import iter_masked_frames
from vrx.pipeline.streams import stage_streams
from vrx.settings import MAX_FRAMES


@dataclass(frozen=True)
class RestoreResult:
    """What a run made: the file (None for standard output), frames, scenes and seconds.

    `stage_seconds` is the time that each stage worked; `skipped` where the result existed and was left alone.
    """

    path: Path | None
    frames: int
    scenes: int
    seconds: float
    stage_seconds: dict[str, float] = field(default_factory=dict)
    skipped: bool = False


def run(session: Session) -> RestoreResult:
    """Open a job and execute it, unless its result is complete already.

    Raises VrxError; whatever existed under the result's name is then unchanged.
    """
    with session.trace.span("open the source"):
        existing = open_unless_done(session)
    return execute(session) if existing is None else report_existing(session, existing)


def report_existing(session: Session, existing: Existing) -> RestoreResult:
    """Leave a complete result as it is."""
    clean_up(session)
    source, path, done = session.job.source, session.output, existing.publication
    if done is None:
        session.watch(events.Skipped(input=source, output=str(path)))
        return RestoreResult(path, 0, 0, 0.0, skipped=True)
    session.watch(
        events.Finished(
            input=source,
            output=str(path),
            frames=done.frames,
            scenes=done.scenes,
            seconds=0.0,
            resumed_frames=done.frames,
        )
    )
    return RestoreResult(path, done.frames, done.scenes, 0.0)


def execute(session: Session) -> RestoreResult:
    """Restore every frame that no earlier run has restored, and publish the result.

    Raises DeviceError where memory runs out, or cannot be enough.
    """
    check_memory(session)
    warn_of_memory(session)
    with resource_errors(str(session.device)):
        with ExitStack() as stack:
            result, saved = restore(session, stack)
        report_finished(session, result, saved)
        return result


def restore(session: Session, stack: ExitStack) -> tuple[RestoreResult, int]:
    """Take an open job's frames from the source to the published result; `stack` closes what is opened for it.

    Returns the result, and how many of its frames were made by an earlier run.
    """
    begin = perf_counter()
    stack.enter_context(limit_threads(session.job.model.threads))
    components = session.components()
    check_memory(session, components)
    if session.destination is not None:
        make_folder(session.destination)
    journal = open_journal(stack, session, components.paths())
    fallback = Fallback(session, journal.resume_point.state if journal else None)
    announce(session, components, fallback.load().schedule, journal.resume_point.frames if journal else 0)
    with defer_signals():
        stops_within = session.deadline.moment is not None and resumes_within_scenes(session, fallback)
        writer = SegmentedWriter(session.target, journal, stops_within) if journal else Writer(session.target)
        stack.enter_context(writer)
    attempt = Attempt(session, fallback, writer, Progress(session, writer, begin))
    while (error := attempt.run()) is not None:
        fallback.advance(error)
    progress, spent = attempt.progress, attempt.seconds
    scenes, end = progress.scene + 1, session.reader.end_time
    with session.trace.span("finish the file"):
        if isinstance(writer, SegmentedWriter):
            writer.finish(scenes, end)
        else:
            writer.finish(end)
    seconds = perf_counter() - begin
    return RestoreResult(session.target.path, writer.frames, scenes, seconds, dict(spent)), writer.resumed_frames


@dataclass(frozen=True)
class Attempt:
    """The stream of a run, as often as it is begun: from where it stands to its end, or to a failure to recover from.

    `seconds` of work by stage, in all attempts.
    """

    session: Session
    fallback: Fallback
    writer: Writer | SegmentedWriter
    progress: Progress
    seconds: Counter[str] = field(default_factory=Counter)

    def run(self) -> Exception | None:
        """Restore and write what is left; an error that another way of working may avoid is returned.

        What the attempt has on the device is free then, but for what the error holds.
        """
        session, fallback = self.session, self.fallback
        torch.manual_seed(session.job.model.seed)
        restorer = fallback.load()
        converter = FrameConverter(session.device, output_format(session))
        # stages that share a processor gain little by working at the same time
        in_turn = fallback.way.in_turn or (session.device.type == "cpu" and restorer.schedule.spare)
        streams = stage_streams(session.device, restorer.stages)
        executor = ThreadedExecutor(restorer, converter, in_turn, session.trace, streams)
        self.progress.follow(executor)
        segmented = self.writer.segmented if isinstance(self.writer, SegmentedWriter) else None
        items = stream_items(session, restorer, fallback, segmented)
        saves = segmented is not None and resumes_within_scenes(session, fallback)
        try:
            drain(executor, items, Sink(session, self.writer, self.progress, fallback.bookmark, saves))
        except Exception as error:
            if not recoverable(error):
                raise
            return error
        finally:
            self.seconds.update(executor.timings.seconds)
        return None


def output_format(session: Session) -> OutputFormat:
    """How restored pixels become frames of the result."""
    wanted, target = session.job.restore, session.target
    return OutputFormat(
        layout=target.layout,
        color=target.color,
        scale=wanted.scale,
        size=target.size,
        blend=wanted.blend,
        known=wanted.keeps_known,
    )


def announce(session: Session, components: Components, schedule: ChunkSchedule, saved: int) -> None:
    """Send the start event and its details; `saved` frames were made by an earlier run."""
    target = session.target
    schedule = schedule.within(target.size[0] * target.size[1])
    session.watch(
        events.Started(
            input=session.job.source,
            output=str(target.path) if target.path else "-",
            frames=session.frames,
            source_size=session.reader.size,
            target_size=target.size,
            model=session.entry.name,
            device=str(session.device),
            dtype=session.number_type,
            resumed_frames=saved,
        )
    )
    files = ", ".join(str(path) for path in components.paths())
    encoder = f"{target.rule.name}, {target.layout.pix_fmt}, {target.container}"
    for note in (
        Note("checkpoint", f"checkpoint: {files}", {"files": files}, events.DETAIL),
        Note("encoder", f"encoder: {encoder}", {"encoder": target.rule.name}, events.DETAIL),
        compilation_note(session),
        Note(
            "chunk-length",
            f"chunks of {schedule.first}, then {schedule.next} frames",
            {"first": schedule.first, "next": schedule.next},
            events.DETAIL,
        ),
    ):
        session.notify(note)


def compilation_note(session: Session) -> Note:
    """What of the networks is compiled, for --verbose."""
    extent = Extent.NOTHING
    if "compile" in FAMILIES[session.entry.family].capabilities.options:
        extent = compiled_extent(session.job.model.compile, session.device, session.frames)
    if extent is Extent.NOTHING:
        return Note("compiled", "networks are not compiled", {"parts": extent.value}, events.DETAIL)
    folder = str(compiler_cache() or "")
    text = f"compiled are {extent.value}" + (f", saved in {folder}" if folder else "")
    return Note("compiled", text, {"parts": extent.value, "folder": folder}, events.DETAIL)


def report_finished(session: Session, result: RestoreResult, saved: int) -> None:
    """Send the closing event; `saved` of the frames were made by an earlier run."""
    spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in result.stage_seconds.items())
    session.notify(Note("stage-seconds", f"seconds of work: {spent}", result.stage_seconds, events.DETAIL))
    session.watch(
        events.Finished(
            input=session.job.source,
            output=str(result.path) if result.path else "-",
            frames=result.frames,
            scenes=result.scenes,
            seconds=result.seconds,
            resumed_frames=saved,
        )
    )


def stream_items(
    session: Session, restorer: Restorer, fallback: Fallback, segmented: int | None
) -> Iterator[Item | Control]:
    """The stream from where it starts now; with save points where it is written in segments.

    `segmented`: frames in finished segments, None where it is written at once.
    """
    start = fallback.start
    position = StreamPosition(start.scene.number, start.index, start.frame) if start else None
    if start is not None and start.stages:
        yield Resume(start)
    skipped = session.run_part.skipped if session.run_part else 0
    frames = iter_masked_frames(session, skipped + (position.frame if position else 0))
    items = make_chunks(frames, restorer.schedule, restorer.scale, position)
    if segmented is not None:
        within = resumes_within_scenes(session, fallback)
        yield from insert_checkpoints(items, within, start, segmented, session.deadline)
    else:
        yield from items


def resumes_within_scenes(session: Session, fallback: Fallback) -> bool:
    """Whether the model's state can be saved between any two chunks, and be loaded by a run as it is planned.

    States of another number type than was planned would not fit.
    """
    return FAMILIES[session.entry.family].capabilities.resumes_in_scene and fallback.way.dtype is None


@dataclass(frozen=True)
class Sink:
    """Where restored items go: written, reported, and remembered as far as the stream can be taken up again there.

    `saves`: the stream's state is saved before it ends at the deadline.
    """

    session: Session
    writer: Writer | SegmentedWriter
    progress: Progress
    bookmark: Bookmark
    saves: bool

    def take(self, item: InFlight[Frame] | SceneStart | Save) -> float:
        """Write a chunk's frames that are not written yet, or save the stream's state; seconds of writing.

        Raises StoppedError once the deadline is past: after the state was saved, or where it cannot be, after a chunk.
        """
        if isinstance(item, SceneStart):
            self.progress.begin_scene(item)
            self.bookmark.pass_scene(item)
            return 0.0
        if isinstance(item, Save):
            self._save(item)
            return 0.0
        self.progress.begin_chunk(item)
        begin = perf_counter()
        done = self.writer.frames - item.chunk.first_frame  # when the stream was taken up before what is written
        with self.session.trace.span("write", first_frame=self.writer.frames, frames=len(item.restored)):
            self.session.trace.flow(item.chunk.first_frame, "f")
            for frame in item.restored[max(0, done) :]:
                self.writer.write(frame)
        seconds = perf_counter() - begin
        self.bookmark.pass_chunk(item.chunk)
        self.progress.end_chunk()
        if not self.saves and self.session.deadline.passed and self.writer.frames < (self.session.frames or MAX_FRAMES):
            raise self.session.deadline.stop()
        return seconds

    def _save(self, item: Save) -> None:
        writer = self.writer
        assert isinstance(writer, SegmentedWriter)
        if writer.saved < item.state.frame == writer.frames:  # else it was written, or saved, before
            writer.save(item.state, item.last)
            self.bookmark.pass_save(item)
        if item.last:
            raise self.session.deadline.stop()


def drain(executor: ThreadedExecutor[Frame], items: Iterator[Item | Control], sink: Sink) -> None:
    """Have the stages work on a stream, and every item of the result taken."""
    with closing(executor.results(items)) as results:
        try:
            for item in results:
                executor.timings.seconds["write"] += sink.take(item)
        except (KeyboardInterrupt, StoppedError) as reason:
            executor.hurry()
            sink.progress.stop(reason)
            raise
    sink.progress.report()
