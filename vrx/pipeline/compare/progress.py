"""How far a comparison is, for its watcher."""

from __future__ import annotations

from time import monotonic

from vrx import events
from vrx.events import Watcher

REPORT_SECONDS = 0.1  # between two reports


class ProgressReport:
    """Says how many frames are done, a few times a second; `source` is what they are of."""

    def __init__(self, source: str, frames: int | None, watch: Watcher) -> None:
        self._source, self._frames, self._watch = source, frames, watch
        self._began = self._latest = monotonic()

    def report(self, done: int, scene: int = 1) -> None:
        """So many frames are done, in the scene of this number."""
        now = monotonic()
        if now - self._latest < REPORT_SECONDS:
            return
        self._latest = now
        fps = done / (now - self._began)
        frames = self._frames if done <= (self._frames or 0) else None  # headers may be wrong
        self._watch(events.Advanced(input=self._source, done=done, frames=frames, scene=scene, fps=fps, queues={}))
