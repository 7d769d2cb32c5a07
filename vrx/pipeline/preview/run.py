"""Making a preview: every place restored by a run of its own for each choice, read back, and drawn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter

from vrx import events
from vrx.errors import VrxError, resource_errors
from vrx.events import Note, Watcher
from vrx.pipeline import paths
from vrx.pipeline.existing import Action
from vrx.pipeline.needs import check_memory
from vrx.pipeline.pictures import save, stacked
from vrx.pipeline.plan import Plan, make_plan
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.preview.compose import Clip, Composer, RestoredPlace
from vrx.pipeline.preview.naming import PreviewFiles
from vrx.pipeline.preview.opening import Part, Preview, describe
from vrx.pipeline.preview.progress import PreviewProgress, Work, is_of_results
from vrx.pipeline.preview.stretch import LEAD
from vrx.pipeline.resume.workspace import claim
from vrx.pipeline.run import execute
from vrx.pipeline.screen import HDR
from vrx.pipeline.session import RunPart, Session
from vrx.pipeline.video import make_plain_target
from vrx.previews import Variant
from vrx.scenes.cut_list import read_cuts
from vrx.settings import Job, OutputSettings, format_time


@dataclass(frozen=True)
class PreviewResult:
    """What a preview wrote: the picture, the clip (None without one), and of which places in seconds.

    `frames` were restored for it, some not shown; `skipped` where the files existed and were left alone.
    """

    path: Path
    clip: Path | None
    places: tuple[Fraction, ...]
    frames: int
    seconds: float
    skipped: bool = False


def preview(job: Job, watch: Watcher, pool: ModelPool) -> PreviewResult:
    """Make a preview, unless its files exist and stay.  Raises VrxError; files of its names are then unchanged."""
    with resource_errors(), ExitStack() as stack:
        found = Preview(job, watch, pool, stack)
        if job.output.skip_existing and found.files.exist():
            path = found.files.picture.path
            watch(events.Skipped(input=job.source, output=str(path)))
            return PreviewResult(path, None, (), 0, 0.0, skipped=True)
        open_checked(found)
        check_choices(found, check_run)  # before the first is restored
        return make(found)


def check(job: Job, pool: ModelPool) -> None:
    """Refuse a preview that cannot be made, as far as that is known before any work.  Raises VrxError."""
    with resource_errors(), ExitStack() as stack:
        found = Preview(job, events.ignore, pool, stack)
        if not (job.output.skip_existing and found.files.exist()):
            open_checked(found)
            check_choices(found, check_memory)


def open_checked(found: Preview) -> None:
    """Open a preview's source, and refuse places that are not in it, and files that exist.  Raises VrxError."""
    if found.job.source == "-":  # before all of a pipe is read
        found.files.check(found.job.output.overwrite)
    found.open()
    found.named_places()  # wrong usage comes first
    found.files.check(found.job.output.overwrite)


def check_run(session: Session) -> None:
    """Refuse a run that needs too much memory, or a checkpoint that cannot be had.  Raises VrxError."""
    check_memory(session)
    check_memory(session, session.components())


def check_choices(found: Preview, examine: Callable[[Session], None]) -> None:
    """Open a run of the source with each choice, and examine it.  Raises VrxError, with the name of the choice."""

    def watch(event: events.Event) -> None:
        if isinstance(event, events.Fetching):  # what else there is to say, the runs of the places do
            found.watch(event)

    for number, variant in enumerate(found.variants):
        result = found.folder / f"choice-{number}" / found.files.result
        result.parent.mkdir()
        try:
            with Session(make_job(found, variant, result), watch, found.pool) as session:
                session.open()
                examine(session)
        except VrxError as error:
            choice = f"{variant.name}: " if found.settings.variants else ""
            error.message = choice + error.message.replace(str(result), result.name)
            raise


def make_job(found: Preview, variant: Variant, result: Path) -> Job:
    """A run of the source with a choice, into a temporary file."""
    output = replace(variant.output, path=str(result), audio=False, overwrite=True, skip_existing=False, resume=False)
    return Job(
        source=str(found.source.path),
        model=variant.model,
        restore=variant.restore,
        selection=variant.selection,
        output=output,
    )


def plan(job: Job, watch: Watcher, pool: ModelPool) -> Plan:
    """What `preview` would do, without doing it: by the plan of a run of all with the first choice.

    Raises VrxError.
    """
    with resource_errors(), ExitStack() as stack:
        found = Preview(job, watch, pool, stack)
        found.open()
        parts = found.parts()
        variant = found.variants[0]
        output = replace(variant.output, path=str(found.folder / found.files.result), audio=False, overwrite=True)
        first = replace(job, source=str(found.source.path), model=variant.model, restore=variant.restore, output=output)
        with Session(first, events.ignore, pool) as session:
            session.open()
            session.notes = [note for note in session.notes if not is_of_results(note)]
            complete = make_plan(session)
        frames = sum(part.stretch.frames for row in parts for part in row)
        each = None if not complete.seconds or not complete.frames else complete.seconds / complete.frames
        shown = [] if found.source.single else [f"shows {format_time(row[0].stretch.time)}" for row in parts]
        size = (2, 2)  # sheets have even sides, whatever the source's
        written = make_plain_target(found.files.all[-1].path, OutputSettings(), size, found.source.rate)
        return replace(
            complete,
            source=job.source,
            output=" and ".join(str(file.path) for file in found.files.all),
            encoder=written.rule.name,
            preset=written.rule.preset,
            pix_fmt=written.layout.pix_fmt,
            container=written.container,
            model=", ".join(found.models),
            frames=frames,
            seconds=None if each is None else each * frames,
            notes=(*complete.notes, *shown),
            action=plan_action(found.files, job.output),
        )


def plan_action(files: PreviewFiles, output: OutputSettings) -> Action:
    """What becomes of existing files."""
    if not any(file.existing() for file in files.all):
        return Action.WRITE
    if output.overwrite:
        return Action.REPLACE
    return Action.SKIP if output.skip_existing and files.exist() else Action.REFUSE


def make(found: Preview) -> PreviewResult:
    """Restore all places of an open preview, and write its files.  Raises VrxError."""
    begin = perf_counter()
    for destination in found.files.all:
        paths.make_folder(destination)
        found.stack.enter_context(claim(destination.path))
    parts = found.parts()
    warn(found, parts)
    progress = make_progress(found, parts)
    for number in range(len(found.variants)):  # a model is loaded once, and restores all places
        for place, row in enumerate(parts):
            row[number] = restore(found, row[number], f"{place}-{number}", progress)
    shown = [to_show(found, row) for row in parts]
    write(found, Composer(found.source, [variant.name for variant in found.variants], shown[0]), shown)
    seconds = perf_counter() - begin
    times = tuple(each.time for each in shown)
    picture, clip = found.files.picture.path, None if found.files.clip is None else found.files.clip.path
    found.watch(
        events.Previewed(
            input=found.job.source,
            output=str(picture),
            clip=None if clip is None else str(clip),
            places=tuple(map(float, times)),
            frames=progress.frames,
            seconds=seconds,
        )
    )
    return PreviewResult(picture, clip, times, progress.frames, seconds)


def make_progress(found: Preview, parts: list[list[Part]]) -> PreviewProgress:
    """The watcher of all runs."""
    frames = sum(part.stretch.frames for row in parts for part in row)
    work = Work(found.job.source, str(found.files.picture.path), found.models, frames)
    return PreviewProgress(work, found.watch)


def warn(found: Preview, parts: list[list[Part]]) -> None:
    """Say where a preview cannot be what a run of all gives, and where colors are not the result's."""
    late = sorted({row[0].stretch.time for row in parts if not all(part.stretch.complete for part in row)})
    if late:
        text = (
            f"{', '.join(map(format_time, late))}: restored from {LEAD} frames before on, not from the scene's start; "
            "the complete run may differ slightly there"
        )
        found.notify(Note("preview-joins-late", text, {"seconds": ", ".join(f"{float(t):g}" for t in late)}))
    transfer = found.source.info.video.color.transfer
    if transfer in HDR:
        text = f"HDR ({HDR[transfer]}) is shown as on an ordinary screen; the result stays HDR"
        found.notify(Note("preview-of-hdr", text, {"transfer": transfer}))


def restore(found: Preview, part: Part, folder: str, progress: PreviewProgress) -> Part:
    """Run a choice at a place; the part with its result."""
    variant, stretch = part.variant, part.stretch
    result = found.folder / folder / found.files.result
    result.parent.mkdir()
    progress.begin(stretch.frames, f"at {format_time(stretch.time)}")
    job = make_job(found, variant, result)
    if not found.source.single:
        with Session(job, events.ignore, found.pool) as session:
            session.open()
            restorer, (width, height) = session.restorer(), session.reader.size
        schedule = restorer.schedule.within(width * height * restorer.scale**2)
        # with the last frame its chunk, and what that looks ahead at
        ahead = max(schedule.lookahead(index) + schedule.size(index) for index in (0, 1)) - 1
        selection = replace(
            variant.selection,
            start=stretch.begin or None,
            end=found.source.limit,
            frames=stretch.skipped + stretch.frames + ahead,
            scenes=shift_cuts(variant.selection.scenes, stretch.number, result.parent),
        )
        job = replace(job, selection=selection)
    run_part = RunPart(variant.selection, stretch.skipped, stretch.start)
    with Session(job, progress, found.pool, run_part) as session:
        session.open()
        execute(session)
    return replace(part, result=result)


def shift_cuts(scenes: str, number: int, folder: Path) -> str:
    """Cuts as a run takes them that begins at a frame: in a cut list of its own, where there is one."""
    if scenes in ("auto", "off"):
        return scenes
    path = folder / "cuts.txt"
    path.write_text("".join(f"{cut - number}\n" for cut in sorted(read_cuts(Path(scenes))) if cut > number))
    return str(path)


def to_show(found: Preview, row: list[Part]) -> RestoredPlace:
    """A place as it is drawn."""
    title = describe(found.job) if found.settings.variants else ""
    return RestoredPlace(tuple(part.stretch for part in row), tuple(part.result for part in row), title)


def write(found: Preview, composer: Composer, shown: list[RestoredPlace]) -> None:
    """Draw all places into the picture, and into the clip where there is one."""
    overwrite = found.job.output.overwrite
    sheets = []
    with ExitStack() as stack:
        clip = None
        if found.files.clip is not None:
            size = composer.sheet.size
            clip = stack.enter_context(Clip(found.files.clip.path, found.source, size, overwrite))
        for each in shown:
            place, best = composer.search(each)
            drawn = 0 if found.settings.at else best  # what the user named is shown, whatever differs more
            for number, time, sheet in composer.draw(each, place, None if clip is not None else drawn):
                if number == drawn:
                    sheets.append(sheet)
                if clip is not None:
                    clip.write(sheet, time - each.time)
            if clip is not None:
                clip.end_place()
        if clip is not None:
            clip.finish()
    save({found.files.picture.path: stacked(sheets)}, overwrite)
