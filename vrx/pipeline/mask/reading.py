"""How far a video is read that is read twice: to find what does not belong to it, and to write the mask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vrx.events import Watcher
from vrx.media.frame import Frame
from vrx.media.read import Reader
from vrx.pipeline.compare.progress import ProgressReport

TIMES = 2


class Reading:
    """Passes on a video's frames, and reports how much of it is done: a frame that was read once counts half."""

    def __init__(self, source: Path, watch: Watcher) -> None:
        self._source, self._watch = source, watch
        self._report: ProgressReport | None = None
        self._done = 0

    def frames(self, reader: Reader) -> Iterator[Frame]:
        """The frames of an open video."""
        if self._report is None:
            count = reader.info.estimated_frames
            self._report = ProgressReport(str(self._source), count, self._watch)
        for frame in reader.frames():
            self._done += 1
            self._report.report(-(-self._done // TIMES))
            yield frame
