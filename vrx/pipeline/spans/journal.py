"""Journal of spans: which spans of a result are finished, whichever came first, and all spans once they are known.

In the same hidden folder as the journal of a run that resumes, under the same lock and with the same rules: a file is
replaced in one step, nothing is trusted without its hash, and work with another fingerprint is never continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vrx.media.segments import Segment
from vrx.pipeline.resume.journal import (
    DAMAGE,
    Fingerprint,
    SavedWork,
    check_file,
    describe_segment,
    parse_count,
    parse_seconds,
    read_content,
)
from vrx.pipeline.resume.workspace import JOURNAL, disk_errors
from vrx.pipeline.spans.span import Span

SPANS = "spans.json"


@dataclass(frozen=True)
class Found:
    """All spans of a source: what the pass over its frames found.

    `end` is when the last frame stops being shown, None where the container does not store that.
    """

    spans: tuple[Span, ...]
    end: Fraction | None

    @property
    def frames(self) -> int:
        """Frames of all spans."""
        return sum(span.frames for span in self.spans)

    @property
    def scenes(self) -> int:
        """Scenes of all spans."""
        return sum(1 + len(span.hard) for span in self.spans)


class SpanJournal(SavedWork):
    """The saved spans of one result; `found` is None until all spans are known."""

    FORMAT = "spans 1"

    def __init__(self, result: Path, fingerprint: Fingerprint) -> None:
        self.found: Found | None = None
        self._records: dict[int, dict[str, Any]] = {}
        self._segments: dict[int, Segment] = {}
        super().__init__(result, fingerprint)

    @property
    def frames(self) -> int:
        """Frames in finished spans."""
        return sum(segment.frames for segment in self._segments.values())

    def has(self, span: Span) -> bool:
        """Whether a span is finished."""
        segment = self._segments.get(span.number)
        return segment is not None and (segment.frames, segment.begin) == (span.frames, span.begin)

    def add(self, span: Span, segment: Segment) -> None:
        """Record the segment of a finished span, a file in the journal's folder.  Raises OutputError."""
        with disk_errors(self.folder):
            record = describe_segment(segment)
            self._records[span.number], self._segments[span.number] = record, segment
            self._write(JOURNAL, {"spans": [[n, r] for n, r in self._records.items()]})

    def keep(self, found: Found) -> None:
        """Record all spans of the source, so that a later run need not find them again.  Raises OutputError."""
        self.found = found
        content = {
            "end": None if found.end is None else str(found.end),
            "spans": [span.as_dict() for span in found.spans],
        }
        with disk_errors(self.folder):
            self._write(SPANS, content)

    def segments(self, spans: Sequence[Span]) -> list[Segment]:
        """The segments of finished spans, in their order."""
        assert all(map(self.has, spans))
        return [self._segments[span.number] for span in spans]

    def remove(self) -> None:
        """Delete the journal's folder."""
        self._records, self._segments = {}, {}
        self._workspace.remove()

    def _load(self) -> None:
        if self._workspace.has_segments():
            try:
                content = read_content(self.folder / JOURNAL)
                self.differs = self._differences(content)
                if not self.differs:
                    self._records = dict(content["spans"])
                    self._segments = {number: self._parse(number, part) for number, part in self._records.items()}
            except DAMAGE:
                self.differs = ("damaged files",)
                self._records, self._segments = {}, {}
        try:
            content = read_content(self.folder / SPANS)
            if not self._differences(content):
                end = content["end"]
                spans = tuple(map(Span.of, content["spans"]))
                self.found = Found(spans, None if end is None else parse_seconds(end))
        except DAMAGE:
            pass  # they are found again
        kept = {segment.path.name for segment in self._segments.values()}
        self._workspace.clear(keep={*kept, *([JOURNAL] if kept else []), *([SPANS] if self.found else [])})

    def _parse(self, number: int, part: dict[str, Any]) -> Segment:
        """A recorded segment whose file is the one that was written.  Raises one of DAMAGE."""
        name = part["name"]
        if Path(name).name != name or not name.startswith(f"{parse_count(number, 0):06d}-"):
            raise ValueError("a segment of another span")
        check_file(self.folder / name, part)
        return Segment(self.folder / name, parse_count(part["frames"], 1), parse_seconds(part["begin"]))
