"""Events of a preview, from those of the runs that it is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

from vrx import events
from vrx.events import Event, Note, Watcher

OF_RESULTS = (  # ends of codes
    *("-loss", "encoder", "encoder-chosen", "container-chosen", "pixel-format-chosen"),
    *("setting-unused", "stage-seconds", "mask-alignment"),
)


def is_of_results(note: Note | events.Noted) -> bool:
    """Whether a note is about how a result is written, which a preview is not."""
    return note.code.endswith(OF_RESULTS)


@dataclass(frozen=True)
class Work:
    """What is restored: the input's name, the picture's path, and frames of all places and choices together."""

    input: str
    output: str
    models: tuple[str, ...]
    frames: int


class PreviewProgress:
    """A watcher of runs, one after the other, that passes on the events of one preview.

    Each run begins with `begin`.  `frames` of these that were restored so far.
    """

    def __init__(self, work: Work, watch: Watcher) -> None:
        self._work, self._watch = work, watch
        self._since = perf_counter()
        self._started = False
        self._texts: set[str] = set()
        self._before = self._counted = 0
        self._place = ""
        self.frames = 0

    def begin(self, frames: int, place: str) -> None:
        """A run begins, of which that many frames count, for a place."""
        self._before += self._counted
        self._counted, self._place = frames, place

    def __call__(self, event: Event) -> None:
        match event:
            case events.Started() if not self._started:
                self._started = True
                models = ", ".join(self._work.models)
                self._send(replace(event, output=self._work.output, model=models, frames=self._work.frames))
            case events.Advanced():
                done = self._before + min(event.done, self._counted)
                fps = done / max(1e-9, perf_counter() - self._since)
                self._send(replace(event, done=done, frames=self._work.frames, fps=fps))
            case events.Noted():
                self._pass_on(event)
            case events.Finished():
                self.frames += min(event.frames, self._counted)
            case events.Stopped():
                done = self._before + min(event.done, self._counted)
                self._send(replace(event, done=done, frames=self._work.frames))
            case events.Fetching():
                self._send(event)

    def _pass_on(self, note: events.Noted) -> None:
        """Pass on a note about the source or its restoration, the same once; what results lack is not about these."""
        text, facts = note.text, dict(note.facts)
        if "scene" in facts:  # its number is that of the place's run
            text = f"{self._place}: " + text.removeprefix(f"scene {facts['scene']}: ")
            facts["scene"] = None
        if not is_of_results(note) and text not in self._texts:
            self._texts.add(text)
            self._send(replace(note, text=text, facts=facts))

    def _send(self, event: Event) -> None:
        self._watch(replace(event, input=self._work.input))
