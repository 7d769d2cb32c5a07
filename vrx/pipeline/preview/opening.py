"""A preview that is to be made: its files, its source, its places, and what is to be restored of them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vrx import events
from vrx.events import Note, Watcher
from vrx.pipeline import paths
from vrx.pipeline.fields import deinterlacing
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.preview.naming import PreviewFiles, find_files
from vrx.pipeline.preview.places import Place, choose_places, masked_times
from vrx.pipeline.preview.source import Source
from vrx.pipeline.preview.stretch import Reading, Stretch, find_stretch
from vrx.pipeline.session import resolve_crop
from vrx.pipeline.stdin import PIPE_NAME, spool_stdin
from vrx.previews import PreviewSettings, Variant
from vrx.settings import Job, format_time
from vrx.temporary import temporary_folder


@dataclass(frozen=True)
class Part:
    """What one choice makes of one place; `result` is the file of its run, once that is done."""

    variant: Variant
    stretch: Stretch
    result: Path = Path()


class Preview:
    """A preview that is to be made; `stack` closes what is opened for it.

    `files`, `variants` and their `models` are known at once, `source` and `folder`, for temporary files, after `open`.
    Raises UsageError, OutputError and what selecting a model does.
    """

    def __init__(self, job: Job, watch: Watcher, pool: ModelPool, stack: ExitStack) -> None:
        assert job.preview is not None
        self.settings: PreviewSettings = job.preview
        self.job, self.watch, self.pool, self.stack = job, watch, pool, stack
        self._named = None if job.source == "-" else Path(job.source)
        model = pool.select(job.model, job.restore, (job.source,)).entry.name
        self.files: PreviewFiles = find_files(job, self._named, model)
        self._own = Variant.of(f"{describe(job)}, {model}", job)
        self.variants = self.settings.variants or (self._own,)
        names = [pool.select(v.model, v.restore, (job.source,)).entry.name for v in self.variants]
        self.models = tuple(dict.fromkeys(names))
        self._stretches: dict[tuple[Fraction, Reading], Stretch] = {}

    def open(self) -> None:
        """Open the source.  Raises VrxError."""
        self.folder = self.stack.enter_context(temporary_folder())
        path = spool_stdin(self.folder) if self._named is None else self._named
        crop = resolve_crop(self.job.selection, path).crop
        self.job = replace(self.job, selection=replace(self.job.selection, crop=crop))
        self.variants = tuple(replace(v, selection=replace(v.selection, crop=crop)) for v in self.variants)
        self._own = replace(self._own, selection=self.job.selection)
        self.source = Source.of(self.job, path, PIPE_NAME if self._named is None else str(path))
        if self._named is None and self.source.single:
            self.files = replace(self.files, clip=None)

    def named_places(self) -> list[Place]:
        """The places that the user names, in order of time.  Raises UsageError for one that is not there."""
        for time in self.settings.at:
            self.stretch(time, self._own)
        return [Place(time) for time in sorted(self.settings.at)]

    def stretch(self, time: Fraction, variant: Variant) -> Stretch:
        """What is restored for a place."""
        reading = Reading(variant.selection, deinterlacing(variant.selection, variant.restore.task))
        if (time, reading) not in self._stretches:
            found = find_stretch(self.source, reading, time, self.settings.length)
            self._stretches[time, reading] = self._stretches[found.time, reading] = found
        return self._stretches[time, reading]

    def places(self) -> list[Place]:
        """All places, chosen where the user names none: without a cut in them, if that can be."""
        if self.settings.at:
            return self.named_places()
        found = choose_places(self.source, self.settings.length, masked_times(self.job.restore))
        for number, place in enumerate(found):
            begin = found[number - 1].time + (self.settings.length or 0) if number else self.source.begin
            end = found[number + 1].time if number + 1 < len(found) else self.source.end
            found[number] = replace(place, time=self.avoid_cut(place.time, begin, end))
        if not self.source.single:
            seconds = ", ".join(f"{float(place.time):g}" for place in found)
            text = f"showing {listed(found)}; choose others with --at"
            self.notify(Note("places-chosen", text, {"places": seconds}))
        return found

    def avoid_cut(self, time: Fraction, begin: Fraction, end: Fraction | None) -> Fraction:
        """When a place is to begin, so that there is no cut in it: before the cut, as it was chosen by what is there.

        After the cut where that scene is too short; the time as it is where neither lies in `begin` to `end`.
        """
        stretch, length = self.stretch(time, self._own), self.settings.length or Fraction(0)
        if stretch.cut is None:
            return stretch.time
        before = stretch.cut - length
        if before >= max(begin, stretch.scene):
            return before
        return stretch.cut if end is None or stretch.cut + length <= end else stretch.time

    def notify(self, note: Note) -> None:
        """Send a note about the source."""
        self.watch(events.Noted.of(self.job.source, note))

    def parts(self) -> list[list[Part]]:
        """What is to be restored: for every place what each choice makes of it."""
        return [
            [Part(variant, self.stretch(place.time, variant)) for variant in self.variants] for place in self.places()
        ]


def listed(places: list[Place]) -> str:
    """Places with what they were chosen by: `0:00:12.480 (detail), 0:01:03.000 (motion)`."""
    return ", ".join(f"{format_time(p.time)}{f' ({p.reason})' if p.reason else ''}" for p in places)


def describe(job: Job) -> str:
    """`upscale x4`, or another task."""
    name = paths.tag(job)
    return name if name == job.restore.task else f"{job.restore.task} {name}"
