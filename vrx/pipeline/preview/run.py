"""Making a preview: every place restored by a run of its own for each choice, read back, and drawn."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from vrx import events
from vrx.errors import resource_errors
from vrx.events import Note, Watcher
from vrx.pipeline import paths
from vrx.pipeline.existing import Action
from vrx.pipeline.pictures import save, stacked
from vrx.pipeline.plan import Plan, make_plan
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.preview.compose import Clip, Composer, Shown
from vrx.pipeline.preview.naming import PreviewFiles, find_files
from vrx.pipeline.preview.places import Place, choose_places
from vrx.pipeline.preview.progress import PreviewProgress, Work
from vrx.pipeline.preview.source import Source
from vrx.pipeline.preview.stretch import LEAD, Reading, Stretch, find_stretch
from vrx.pipeline.resume.workspace import claim
from vrx.pipeline.run import execute
from vrx.pipeline.screen import HDR
from vrx.pipeline.session import Session, deinterlacing
from vrx.pipeline.stdin import PIPE_NAME, spool_stdin
from vrx.previews import PreviewSettings, Variant
from vrx.scenes.cut_list import read_cuts
from vrx.settings import Job, format_time


@dataclass(frozen=True)
class PreviewResult:
    """What a preview wrote: the picture, the clip (None without one), and of which places in seconds.

    `frames` were restored, those that are not shown too; `skipped` where the files existed and were left alone.
    """

    path: Path
    clip: Path | None
    places: tuple[Fraction, ...]
    frames: int
    seconds: float
    skipped: bool = False


@dataclass(frozen=True)
class Part:
    """What one choice makes of one place; `result` is the file of its run, once that is done."""

    variant: Variant
    stretch: Stretch
    result: Path = Path()


def preview(job: Job, watch: Watcher, pool: ModelPool) -> PreviewResult:
    """Make a preview, unless its files exist and stay.  Raises VrxError; files of its names are then unchanged."""
    with resource_errors(), ExitStack() as stack:
        found = Preview(job, watch, pool, stack)
        if job.output.skip_existing and found.files.exist():
            path = found.files.picture.path
            watch(events.Skipped(input=job.source, output=str(path)))
            return PreviewResult(path, None, (), 0, 0.0, skipped=True)
        found.files.check(job.output.overwrite)
        found.open()
        return found.make()


def check(job: Job, pool: ModelPool) -> None:
    """Refuse a preview that cannot be made, as far as that is known before any work.  Raises VrxError."""
    with resource_errors(), ExitStack() as stack:
        found = Preview(job, events.ignore, pool, stack)
        if not (job.output.skip_existing and found.files.exist()):
            found.files.check(job.output.overwrite)
            found.open()
            found.named_places()


def plan(job: Job, watch: Watcher, pool: ModelPool) -> Plan:
    """What `preview` would do, without doing it.  Raises VrxError."""
    with resource_errors(), ExitStack() as stack:
        return Preview(job, watch, pool, stack).plan()


class Preview:
    """A preview that is being made; `stack` closes what is opened for it.

    `files` are known at once, all else after `open`.  Raises UsageError, OutputError and what selecting a model does.
    """

    def __init__(self, job: Job, watch: Watcher, pool: ModelPool, stack: ExitStack) -> None:
        assert job.preview is not None
        self.settings: PreviewSettings = job.preview
        self.job, self._watch, self._pool, self._stack = job, watch, pool, stack
        self._named = None if job.source == "-" else Path(job.source)
        self.model = pool.select(job.model, job.restore, job.source).entry.name
        self.files: PreviewFiles = find_files(job, self._named, self.model)
        self._own = self._own_variant()
        self.variants = self.settings.variants or (self._own,)
        self._stretches: dict[tuple[Fraction, Reading], Stretch] = {}

    def _own_variant(self) -> Variant:
        """The job's own settings, named after the task and the model."""
        job = self.job
        return Variant(
            name=f"{describe(job)}, {self.model}",
            model=job.model,
            restore=job.restore,
            selection=job.selection,
            output=job.output,
        )

    def open(self) -> None:
        """Open the source.  Raises VrxError."""
        for variant in self.variants:
            self._pool.select(variant.model, variant.restore, self.job.source)
        self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="vrx-")))
        path = spool_stdin(self._folder) if self._named is None else self._named
        self.source = Source.of(self.job, path, PIPE_NAME if self._named is None else str(path))
        if self._named is None:  # it may be a picture
            self.files = replace(self.files, clip=None if self.source.single else self.files.clip)

    def named_places(self) -> list[Place]:
        """The places that the user names, in order of time.  Raises UsageError for one that is not there."""
        for time in self.settings.at:
            self._stretch(time, self._own)
        return [Place(time) for time in sorted(self.settings.at)]

    def _stretch(self, time: Fraction, variant: Variant) -> Stretch:
        """What is restored for a place."""
        reading = Reading(variant.selection, deinterlacing(variant.selection, variant.restore.task))
        if (time, reading) not in self._stretches:
            found = find_stretch(self.source, reading, time, self.settings.length)
            self._stretches[time, reading] = self._stretches[found.time, reading] = found
        return self._stretches[time, reading]

    def places(self) -> list[Place]:
        """All places, chosen where the user names none: where a cut is in one, what comes after it."""
        if self.settings.at:
            return self.named_places()
        found = []
        for place in choose_places(self.source, self.settings.length):
            stretch = self._stretch(place.time, self._own)
            found.append(replace(place, time=stretch.time if stretch.cut is None else stretch.cut))
        if not self.source.single:
            seconds = ", ".join(f"{float(place.time):g}" for place in found)
            text = f"showing {listed(found)}; choose others with --at"
            self._notify(Note("places-chosen", text, {"places": seconds}))
        return found

    def _notify(self, note: Note) -> None:
        self._watch(events.Noted.of(self.job.source, note))

    def plan(self) -> Plan:
        """What will be done, by the plan of a run of all with the first choice."""
        self.open()
        parts = self.parts()
        variant = self.variants[0]
        output = replace(variant.output, path=str(self._folder / self.files.result), overwrite=True)
        job = replace(
            self.job, model=variant.model, restore=variant.restore, output=output, source=str(self.source.path)
        )
        with Session(job, events.ignore, self._pool) as session:
            session.open()
            complete = make_plan(session)
        frames = sum(part.stretch.frames for row in parts for part in row)
        each = None if not complete.seconds or not complete.frames else complete.seconds / complete.frames
        return replace(
            complete,
            source=self.job.source,
            output=" and ".join(str(file.path) for file in self.files.all),
            model=", ".join(self._models()),
            frames=frames,
            seconds=None if each is None else each * frames,
            notes=(*complete.notes, *(f"shows {format_time(row[0].stretch.time)}" for row in parts)),
            action=self._action(),
        )

    def _action(self) -> Action:
        """What becomes of existing files."""
        if not any(file.existing() for file in self.files.all):
            return Action.WRITE
        if self.job.output.overwrite:
            return Action.REPLACE
        return Action.SKIP if self.job.output.skip_existing and self.files.exist() else Action.REFUSE

    def parts(self) -> list[list[Part]]:
        """What is to be restored: for every place what each choice makes of it."""
        return [
            [Part(variant, self._stretch(place.time, variant)) for variant in self.variants] for place in self.places()
        ]

    def make(self) -> PreviewResult:
        """Restore all places, and write the files."""
        begin = perf_counter()
        for destination in self.files.all:
            paths.make_folder(destination)
            self._stack.enter_context(claim(destination.path))
        parts = self.parts()
        self._warn(parts)
        progress = self.progress(parts)
        for number in range(len(self.variants)):  # a model is loaded once, and restores all places
            for place, row in enumerate(parts):
                row[number] = self.restore(row[number], f"{place}-{number}", progress)
        shown = [self._shown(row) for row in parts]
        self._write(Composer(self.source, [variant.name for variant in self.variants], shown[0]), shown)
        seconds = perf_counter() - begin
        times = tuple(each.time for each in shown)
        picture, clip = self.files.picture.path, None if self.files.clip is None else self.files.clip.path
        self._watch(
            events.Previewed(
                input=self.job.source,
                output=str(picture),
                clip=None if clip is None else str(clip),
                places=tuple(map(float, times)),
                frames=progress.frames,
                seconds=seconds,
            )
        )
        return PreviewResult(picture, clip, times, progress.frames, seconds)

    def _warn(self, parts: list[list[Part]]) -> None:
        """Say where a preview cannot be what a run of all gives, and where colors are not the result's."""
        late = sorted({row[0].stretch.time for row in parts if not all(part.stretch.complete for part in row)})
        if late:
            text = (
                f"restored from {LEAD} frames before on, not from where the scene begins: "
                f"{', '.join(map(format_time, late))}; a run of all may differ slightly there"
            )
            self._notify(Note("preview-joins-late", text, {"seconds": ", ".join(f"{float(t):g}" for t in late)}))
        transfer = self.source.info.video.color.transfer
        if transfer in HDR:
            text = f"HDR ({HDR[transfer]}) is shown as on an ordinary screen; the result stays HDR"
            self._notify(Note("preview-of-hdr", text, {"transfer": transfer}))

    def progress(self, parts: list[list[Part]]) -> PreviewProgress:
        """The watcher of all runs."""
        frames = sum(part.stretch.frames for row in parts for part in row)
        work = Work(self.job.source, str(self.files.picture.path), self._models(), frames)
        return PreviewProgress(work, self._watch)

    def _models(self) -> tuple[str, ...]:
        """The names of all models."""
        names = [self._pool.select(v.model, v.restore, self.job.source).entry.name for v in self.variants]
        return tuple(dict.fromkeys(names))

    def restore(self, part: Part, folder: str, progress: PreviewProgress) -> Part:
        """Run a choice at a place; the part with its result."""
        variant, stretch = part.variant, part.stretch
        result = self._folder / folder / self.files.result
        result.parent.mkdir()
        progress.begin(part.stretch.frames, f"at {format_time(stretch.time)}")
        output = replace(
            variant.output, path=str(result), audio=False, overwrite=True, skip_existing=False, resume=False
        )
        job = Job(
            source=str(self.source.path),
            model=variant.model,
            restore=variant.restore,
            selection=variant.selection,
            output=output,
        )
        if not self.source.single:
            with Session(job, progress, self._pool) as session:
                schedule = session.restorer().schedule  # with the last frame its chunk, and what that looks ahead at
            ahead = max(schedule.lookahead(index) + schedule.size(index) for index in (0, 1)) - 1
            selection = replace(
                variant.selection,
                start=stretch.start or None,
                end=self.source.limit,
                frames=part.stretch.frames + ahead,
                scenes=self._cuts(variant.selection.scenes, stretch.number, result.parent),
            )
            job = replace(job, selection=selection)
        with Session(job, progress, self._pool, variant.selection) as session:
            session.open()
            execute(session)
        return replace(part, result=result)

    def _cuts(self, scenes: str, number: int, folder: Path) -> str:
        """Cuts as a run takes them that begins at a frame: in a cut list of its own, where there is one."""
        if scenes in ("auto", "off"):
            return scenes
        path = folder / "cuts.txt"
        path.write_text("".join(f"{cut - number}\n" for cut in sorted(read_cuts(Path(scenes))) if cut > number))
        return str(path)

    def _shown(self, row: list[Part]) -> Shown:
        """A place as it is drawn."""
        title = describe(self.job) if self.settings.variants else ""
        return Shown(tuple(part.stretch for part in row), tuple(part.result for part in row), title)

    def _write(self, composer: Composer, shown: list[Shown]) -> None:
        """Draw all places into the picture, and into the clip where there is one."""
        overwrite = self.job.output.overwrite
        sheets = []
        with ExitStack() as stack:
            clip = None
            if self.files.clip is not None:
                size = composer.sheet.size
                clip = stack.enter_context(Clip(self.files.clip.path, self.source, size, overwrite))
            for each in shown:
                place, best = composer.search(each)
                for number, time, sheet in composer.draw(each, place, None if clip is not None else best):
                    if number == best:
                        sheets.append(sheet)
                    if clip is not None:
                        clip.write(sheet, time - each.time)
                if clip is not None:
                    clip.end_place()
            if clip is not None:
                clip.finish()
        save({self.files.picture.path: stacked(sheets)}, overwrite)


def listed(places: list[Place]) -> str:
    """Places with what they were chosen by: `0:00:12.480 (detail), 0:01:03.000 (motion)`."""
    return ", ".join(f"{format_time(p.time)}{f' ({p.reason})' if p.reason else ''}" for p in places)


def describe(job: Job) -> str:
    """`upscale x4`, or another task."""
    name = paths.tag(job)
    return name if name == job.restore.task else f"{job.restore.task} {name}"
