"""Executing an open job: read, restore, write, publish."""

from __future__ import annotations

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
from vrx.models.base import Restorer, SceneStart
from vrx.models.components import Components
from vrx.models.registry import FAMILIES
from vrx.pipeline.chunking import Item, StreamPosition, make_chunks
from vrx.pipeline.convert import FrameConverter, OutputFormat
from vrx.pipeline.devices import limit_threads
from vrx.pipeline.executor import Control, InFlight, Resume, ThreadedExecutor
from vrx.pipeline.existing import Existing, clean_up, open_unless_done
from vrx.pipeline.paths import make_folder
from vrx.pipeline.plan import check_memory
from vrx.pipeline.progress import Progress
from vrx.pipeline.resume.journal import Journal
from vrx.pipeline.resume.opening import open_journal
from vrx.pipeline.resume.writer import SegmentedWriter, insert_checkpoints
from vrx.pipeline.session import Session
from vrx.pipeline.source import iter_masked_frames
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
    if session.destination is not None:
        make_folder(session.destination)
    journal = open_journal(stack, session, components.paths())
    restorer = session.restorer()
    torch.manual_seed(session.job.model.seed)
    announce(session, components, restorer, journal.resume_point.frames if journal else 0)
    executor = ThreadedExecutor(restorer, FrameConverter(session.device, output_format(session)))
    with defer_signals():
        writer = SegmentedWriter(session.target, journal) if journal else Writer(session.target)
        stack.enter_context(writer)
    progress = Progress(session, executor, writer, begin)
    drain(executor, stream_items(session, restorer, journal), writer, progress, session)
    scenes, end = progress.scene + 1, session.reader.end_time
    if isinstance(writer, SegmentedWriter):
        writer.finish(scenes, end)
    else:
        writer.finish(end)
    seconds, stages = perf_counter() - begin, dict(executor.timings.seconds)
    return RestoreResult(session.target.path, writer.frames, scenes, seconds, stages), writer.resumed_frames


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


def announce(session: Session, components: Components, restorer: Restorer, saved: int) -> None:
    """Send the start event and its details; `saved` frames were made by an earlier run."""
    target = session.target
    schedule = restorer.schedule.within(target.size[0] * target.size[1])
    session.watch(
        events.Started(
            input=session.job.source,
            output=str(target.path) if target.path else "-",
            frames=session.frames,
            source_size=session.reader.size,
            target_size=target.size,
            model=session.entry.name,
            device=str(session.device),
            dtype=str(session.dtype).removeprefix("torch."),
            resumed_frames=saved,
        )
    )
    files = ", ".join(str(path) for path in components.paths())
    encoder = f"{target.rule.name}, {target.layout.pix_fmt}, {target.container}"
    for note in (
        Note("checkpoint", f"checkpoint: {files}", {"files": files}, events.DETAIL),
        Note("encoder", f"encoder: {encoder}", {"encoder": target.rule.name}, events.DETAIL),
        Note(
            "chunk-length",
            f"chunks of {schedule.first}, then {schedule.next} frames",
            {"first": schedule.first, "next": schedule.next},
            events.DETAIL,
        ),
    ):
        session.notify(note)


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


def stream_items(session: Session, restorer: Restorer, journal: Journal | None) -> Iterator[Item | Control]:
    """The stream from its beginning, or from where an earlier run's segments end."""
    state = journal.resume_point.state if journal else None
    position = StreamPosition(state.scene.number, state.index, state.frame) if state else None
    if state is not None and state.stages:
        yield Resume(state)
    frames = iter_masked_frames(session, position.frame if position else 0)
    items = make_chunks(frames, restorer.schedule, restorer.scale, position)
    if journal is None:
        yield from items
    else:
        yield from insert_checkpoints(items, resumes_within_scenes(session), state, session.deadline)


def resumes_within_scenes(session: Session) -> bool:
    """Whether the model's state can be saved between any two chunks."""
    return FAMILIES[session.entry.family].capabilities.resumes_in_scene


def drain(
    executor: ThreadedExecutor[Frame],
    items: Iterator[Item | Control],
    writer: Writer | SegmentedWriter,
    progress: Progress,
    session: Session,
) -> None:
    """Write the restored chunks, and save the stream's state at each save point.

    Raises StoppedError once the deadline is past: after the state was saved, or where it cannot be, after a chunk.
    """
    saves = isinstance(writer, SegmentedWriter) and resumes_within_scenes(session)
    with closing(executor.results(items)) as results:
        try:
            for item in results:
                if isinstance(item, SceneStart):
                    progress.begin_scene(item)
                elif isinstance(item, InFlight):
                    progress.begin_chunk(item)
                    write_chunk(executor, item, writer)
                    progress.end_chunk()
                    if not saves and session.deadline.passed and writer.frames < (session.frames or MAX_FRAMES):
                        raise session.deadline.stop()
                else:
                    assert isinstance(writer, SegmentedWriter)
                    writer.save(item.state)
                    if item.last:
                        raise session.deadline.stop()
        except (KeyboardInterrupt, StoppedError) as reason:
            executor.hurry()
            progress.stop(reason)
            raise
    progress.report()


def write_chunk(executor: ThreadedExecutor[Frame], work: InFlight[Frame], writer: Writer | SegmentedWriter) -> None:
    """Write a chunk's frames."""
    start = perf_counter()
    for frame in work.restored:
        writer.write(frame)
    executor.timings.seconds["write"] += perf_counter() - start
