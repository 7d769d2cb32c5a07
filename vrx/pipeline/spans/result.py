"""A result made of spans: its spans handed out as they are found, taken back in any order, joined and published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import torch

from vrx import events
from vrx.events import Note, Watcher
from vrx.media.segments import Segment, join_segments
from vrx.networks.quantized import WeightFormat
from vrx.pipeline.existing import Existing, open_unless_done
from vrx.pipeline.paths import make_folder
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.resume import published
from vrx.pipeline.resume.fingerprint import encoder_mark, fingerprint, hash_samples
from vrx.pipeline.resume.journal import Fingerprint
from vrx.pipeline.resume.writer import SEGMENT_FRAMES, can_segment
from vrx.pipeline.run import RestoreResult, execute, report_existing
from vrx.pipeline.session import Session
from vrx.pipeline.source import find_boundaries
from vrx.pipeline.spans.journal import Found, SpanJournal
from vrx.pipeline.spans.part import SpanWork
from vrx.pipeline.spans.restore import restore_span
from vrx.pipeline.spans.span import Span, group_spans
from vrx.settings import Dtype, Job, ModelSettings


@dataclass(frozen=True, kw_only=True)
class Means:
    """What restores the spans: a model by its name, the `checkpoint` it has (in words that can be compared), a device
    and a number type.  All of it is the same wherever spans are restored.

    `network_type`: what networks compute in, which is `dtype` unless that is a format of weights in 8 bits.
    """

    model: str
    checkpoint: str
    device: str
    dtype: Dtype
    network_type: Dtype

    @property
    def number_type(self) -> str:
        """All of it, in words that can be compared."""
        same = self.network_type == self.dtype
        return self.dtype if same else f"{self.network_type}, weights in {self.dtype}"

    def settings(self, model: ModelSettings) -> ModelSettings:
        """The settings that name these means, and leave nothing to choose.

        But for 8 bits that a processor takes by itself: it takes them again, where the checkpoint has what they need.
        """
        name = self.model if model.name == "auto" else model.name
        dtype = model.dtype if (self.device, self.dtype) == ("cpu", "int8") else self.dtype
        return replace(model, name=name, prefer="auto", device=self.device, dtype=dtype)


def span_marks(session: Session, means: Means) -> Fingerprint:
    """Everything that decides what the spans of an open session become."""
    where = (torch.device(means.device), torch.float32)
    marks = fingerprint(session.job, means.model, [], where)
    own = {"the number type": means.number_type, "the checkpoint": means.checkpoint, "the spans": str(SEGMENT_FRAMES)}
    return marks | own | encoder_mark(session)


def divisible(session: Session, least: int) -> bool:
    """Whether the result of an open session can be made of spans: it is long enough and can be joined."""
    long = session.frames is None or session.frames > least
    return long and session.job.source != "-" and can_segment(session.target)


class SpannedResult:
    """One result.  A context manager, which has the result locked.

    `saved` frames were restored by an earlier run.  Raises OutputError where another process is writing it.
    """

    def __init__(self, session: Session, means: Means) -> None:
        assert session.output is not None
        self.session, self._begin = session, perf_counter()
        self._stack = ExitStack()
        if session.destination is not None:
            make_folder(session.destination)
        self.journal = self._stack.enter_context(SpanJournal(session.output, span_marks(session, means)))
        published.forget(session.output)  # it is of another result
        self.saved = self.journal.frames
        self._job = replace(session.job, model=means.settings(session.job.model))
        self.done = self.saved
        self._report_resuming(session.output)

    def __enter__(self) -> SpannedResult:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _report_resuming(self, path: Path) -> None:
        if self.journal.differs:
            differs = ", ".join(self.journal.differs)
            text = f"{path}: cannot resume (changed: {differs}); starting over"
            self.session.notify(Note("starting-over", text, {"changed": differs}, "warning"))
        elif self.saved:
            text = f"{path}: resuming after {self.saved} frames of an earlier run"
            self.session.notify(Note("resuming", text, {"frames": self.saved}))

    @property
    def folder(self) -> Path:
        """Where segments are to be."""
        return self.journal.folder

    @property
    def found(self) -> Found | None:
        """All spans, once they are known."""
        return self.journal.found

    def works(self, check: Callable[[], object] = lambda: None) -> Iterator[SpanWork]:
        """The spans that are left to restore, as they are found: all frames of the source are read for it, once.

        `check` is called for each frame, and may raise.  Raises InputError.
        """
        if self.journal.found is None:
            yield from self._find(check)
        else:
            yield from (self._work(span) for span in self.journal.found.spans if not self.journal.has(span))

    def _find(self, check: Callable[[], object]) -> Iterator[SpanWork]:
        spans: list[Span] = []
        self.session.skim()
        frames = (item for item in find_boundaries(self.session) if check() is None)
        for span in group_spans(frames, self.session.reader.origin, SEGMENT_FRAMES):
            spans.append(span)
            if not self.journal.has(span):
                yield self._work(span)
        self.journal.keep(Found(tuple(spans), self.session.reader.end_time))
        self.session.close_source()

    def _work(self, span: Span) -> SpanWork:
        return SpanWork(job=self._job, target=replace(self.session.target, source=None, copied_streams=()), span=span)

    def accept(self, span: Span, segment: Segment) -> None:
        """Record the segment of a span, a file in `folder`; of a span that is finished, it is removed."""
        if self.journal.has(span):
            segment.path.unlink(missing_ok=True)
            return
        self.journal.add(span, segment)
        self.done += segment.frames

    @property
    def complete(self) -> bool:
        """Whether all spans are known and finished."""
        found = self.journal.found
        return found is not None and all(map(self.journal.has, found.spans))

    def finish(self) -> RestoreResult:
        """Join the segments, add the source's other streams, and publish the result.  Raises OutputError."""
        session, found = self.session, self.journal.found
        assert found is not None
        result = session.output
        assert result is not None

        def record(finished: Path) -> None:
            published.record(result, finished, self.journal.fingerprint, (found.frames, found.scenes))

        join_segments(self.journal.segments(found.spans), session.target, found.end, record)
        self.journal.remove()
        published.forget(result)
        return RestoreResult(result, found.frames, found.scenes, perf_counter() - self._begin)


def name_dtype(dtype: torch.dtype, quantized: WeightFormat | None = None) -> Dtype:
    """A number type as the settings name it; `quantized` is the format of weights in 8 bits."""
    names: dict[torch.dtype, Dtype] = {torch.bfloat16: "bf16", torch.float16: "fp16"}
    return quantized or names.get(dtype, "fp32")


def local_means(session: Session) -> Means:
    """What this process restores the spans of an open session with."""
    files = "; ".join(f"{path.name} {hash_samples(path)}" for path in session.components().paths())
    return Means(
        model=session.entry.name,
        checkpoint=files,
        device=session.device.type,
        dtype=name_dtype(session.dtype, session.quantized),
        network_type=name_dtype(session.dtype),
    )


def restore_in_spans(
    job: Job, watch: Watcher = events.ignore, order: Callable[[Iterable[SpanWork]], Iterable[SpanWork]] = iter
) -> RestoreResult:
    """Restore a job span by span in this process, in any `order`: the same bytes as its spans restored elsewhere.

    A short result, and one that cannot be joined, is restored at once.

    Raises VrxError.
    """
    pool = ModelPool()
    with Session(job, watch, pool) as session:
        existing = open_unless_done(session)
        if isinstance(existing, Existing):
            return report_existing(session, existing)
        if not divisible(session, SEGMENT_FRAMES):
            return execute(session)
        with SpannedResult(session, local_means(session)) as result:
            for work in order(result.works()):
                result.accept(work.span, restore_span(work, result.folder, pool, watch))
            return result.finish()
