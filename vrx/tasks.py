"""The three tasks over files, and previews of them, one call each: the same as on the command line, byte by byte."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from vrx.errors import ExistsError, UsageError, choice_of
from vrx.events import Watcher, ignore
from vrx.geometry import Box, choose_size, parse_box, parse_crop, parse_mask
from vrx.previews import PreviewSettings, Variant, combine
from vrx.rates import to_rate
from vrx.settings import (
    ColorFix,
    Compile,
    Decoder,
    Deinterlacing,
    Dtype,
    Job,
    Look,
    ModelSettings,
    OutputSettings,
    Prefer,
    Quality,
    RestoreSettings,
    SelectionSettings,
    Task,
    to_seconds,
)

if TYPE_CHECKING:
    from vrx.pipeline.preview.run import PreviewResult
    from vrx.pipeline.run import RestoreResult

PathLike = str | os.PathLike[str]
Seconds = float | Fraction | str
TIMES = ("start", "end")
DAMAGE = ("strength", "denoise", "grain", "blend")


class Options(TypedDict, total=False):
    """What every task takes besides, by the names that the command line has.

    `model` is a name of the catalogue, "auto" or the path of a checkpoint; `device` auto, cpu, cuda, cuda:N, mps, or
    several GPUs that share the work: all, or cuda:N,cuda:N; `dtype` auto, bf16, fp16, fp32, int8 or fp8; `prefer` auto,
    speed or quality, where `model` is auto; `prompt` for models that take one. `threads` of the processor are one a
    core unless given. `strength` 0 (clean) to 1 is how degraded the source is, estimated unless given; `denoise` 0 to 1
    how much of the noise found goes, None for what is plain, to deblur or enlarge by 2; `grain` 0 to 1 of it that is
    given back, drawn anew; `blend` the restored share. `start` and `end` are seconds, a number or text such as
    "1:20.5"; `scenes` "auto", "off" or the path of a cut list; `fps` of numbered pictures a number or text such as
    "24000/1001", 24 unless given; `crop` "auto" or "W:H:X:Y". `overwrite` replaces an existing result, `skip_existing`
    leaves it. `on_event` is called with each event: see `vrx.events`.
    """

    model: PathLike
    device: str
    dtype: Dtype
    prefer: Prefer
    prompt: str | None
    seed: int
    offline: bool
    decoder: Decoder
    color_fix: ColorFix
    tile: str
    steps: int | None
    guidance: float | None
    threads: int | None
    compile: Compile
    strength: float | None
    denoise: float | None
    grain: float
    blend: float
    start: Seconds | None
    end: Seconds | None
    frames: int | None
    scenes: PathLike
    scene_threshold: float | None
    deinterlace: Deinterlacing
    stream: int | None
    fps: Seconds | None
    crop: str | None
    codec: str
    crf: int | None
    preset: str | None
    pix_fmt: str | None
    encoder_args: tuple[str, ...]
    audio: bool
    overwrite: bool
    skip_existing: bool
    resume: bool
    on_event: Watcher


class TaskOptions(TypedDict, total=False):
    """What the tasks take each for itself."""

    scale: float | None
    size: tuple[int | None, int | None] | None
    square: bool
    look: Look
    quality: Quality
    sigma: float | None
    mask: PathLike | None
    boxes: Sequence[str | Box]
    dilate: int | None


class PreviewOptions(Options, TaskOptions, total=False):
    """What a preview takes: the options of all tasks, and those of its own task."""


OWN_OPTIONS = {  # of TaskOptions
    Task.UPSCALE: ("scale", "size", "square", "look", "quality"),
    Task.DEBLUR: ("sigma",),
    Task.INPAINT: ("mask", "boxes", "dilate"),
}


def upscale(
    input: PathLike,
    output: PathLike | None = None,
    *,
    scale: float | None = None,
    size: tuple[int | None, int | None] | None = None,
    square: bool = False,
    look: Look = "faithful",
    quality: Quality = "auto",
    **options: Unpack[Options],
) -> RestoreResult:
    """Enlarge a video, a picture or a numbered sequence (`f_%05d.png`) by `scale`: 4 unless given.

    Or to a `size`, width and height in pixels, one of them None: the largest of the same shape that fits.  `square`:
    pixels become square where those of the video are not; the side that has too few of them grows.

    `look`: "faithful", closest to what was filmed, or "sharp", with crisper edges.  `quality`: "fast", "best", or
    "auto", the best where it shows.
    `output` is a file or a folder; without it the result is written beside the input, as `in.x4.mp4`.  `options`, as
    on the command line and explained by `vrx.tasks.Options`: model, device, dtype, prefer, prompt, seed, offline,
    decoder, color_fix, tile, steps, guidance, threads, compile, strength, denoise, grain, blend, start, end, frames,
    scenes, scene_threshold, deinterlace, stream, fps, crop, codec, crf, preset, pix_fmt, encoder_args, audio,
    overwrite, skip_existing, resume, on_event.

    Raises VrxError; an existing file under the result's name is then unchanged.

    >>> import vrx
    >>> vrx.upscale("in.mp4", "out.mp4", scale=2).frames
    4
    """
    own: TaskOptions = {"scale": scale, "size": size, "square": square, "look": look, "quality": quality}
    return run(input, output, task_settings(Task.UPSCALE, own, options), options)


def deblur(
    input: PathLike, output: PathLike | None = None, *, sigma: float | None = None, **options: Unpack[Options]
) -> RestoreResult:
    """Remove blur of `sigma` pixels, estimated for each scene unless given; the rest is as in `upscale`.

    >>> import vrx
    >>> vrx.deblur("in.mp4", "sharp.mp4", sigma=1.5, end=0.1).frames
    3
    """
    return run(input, output, task_settings(Task.DEBLUR, {"sigma": sigma}, options), options)


def inpaint(
    input: PathLike,
    output: PathLike | None = None,
    *,
    mask: PathLike | None = None,
    boxes: Sequence[str | Box] = (),
    dilate: int | None = None,
    **options: Unpack[Options],
) -> RestoreResult:
    """Fill what `mask` marks white: a picture, a video or a folder of pictures; the rest is as in `upscale`.

    `boxes` are filled as well, such as "10,20,200,50" or "5%,80%,90%,15%@0:10-0:20"; all are grown by `dilate` pixels,
    by 2 unless it is given where colors are stored at half size, and not for masks of `vrx mask` and single pixels.

    >>> import vrx
    >>> vrx.inpaint("in.mp4", "filled.mkv", mask="m.png", dilate=2).path.name
    'filled.mkv'
    """
    own: TaskOptions = {"mask": mask, "boxes": boxes, "dilate": dilate}
    return run(input, output, task_settings(Task.INPAINT, own, options), options)


def preview(
    input: PathLike,
    output: PathLike | None = None,
    *,
    task: str = "upscale",
    at: Sequence[Seconds] = (),
    length: Seconds | None = 1,
    vary: Mapping[str, Sequence[Any]] | None = None,
    **options: Unpack[PreviewOptions],
) -> PreviewResult:
    """Show places of a video as a task restores them, beside the source, in a picture and a clip.

    The files are named after the result that a run would write: `in.x4.preview.png` and `in.x4.preview.mp4`.  `at`
    are the places in seconds or text such as "1:20.5", chosen by detail, motion and scene unless given; `length` of
    each, up to 10 seconds, None for one frame and no clip.  `vary` shows several values of options beside each
    other: `{"strength": [0.3, 0.6, 1]}`.  `options` are those of the `task`: upscale, deblur or inpaint.

    Raises VrxError; existing files are then unchanged.

    >>> import vrx
    >>> vrx.preview("in.mp4", scale=2, at=[0.1], length=None, vary={"strength": [0, 1]}).path.name
    'in.x2.preview.png'
    """
    from vrx.cluster.start import make_batch

    check_task(task)
    times = tuple(time for moment in at if (time := to_seconds(moment)) is not None)
    job = preview_job(input, output, Task(task), options)
    variants = []
    for name, chosen in combine({option.replace("_", "-"): list(values) for option, values in (vary or {}).items()}):
        changed: Any = dict(options) | {option.replace("-", "_"): value for option, value in chosen.items()}
        other = preview_job(input, output, Task(task), changed)
        variants.append(Variant.of(name, other))
    shown = PreviewSettings(at=times, length=to_seconds(length), variants=tuple(variants))
    with python_hints():
        return make_batch([replace(job, preview=shown)], options.get("on_event", ignore), None).preview(0)


def check_task(task: object) -> None:
    """Refuse what is not a task.  Raises UsageError."""
    if task not in set(Task):
        raise UsageError(f"the task is {task!r}", f"Choose {choice_of(Task)}")


def preview_job(input: PathLike, output: PathLike | None, task: Task, options: PreviewOptions) -> Job:
    """The job that a preview is of.  Raises UsageError for options of another task."""
    own: Any = {name: value for name, value in options.items() if name in TaskOptions.__annotations__}
    shared: Any = {name: value for name, value in options.items() if name not in own}
    for name in own:
        if name not in OWN_OPTIONS[task]:
            raise UsageError(f"{name} is not an option of {task}", f"Known: {', '.join(OWN_OPTIONS[task])}")
    return make_job(input, output, task_settings(task, own, shared), shared)


def task_settings(task: Task, own: TaskOptions, options: Options) -> RestoreSettings:
    """The settings of a task, from its own options and those that all share.  Raises UsageError."""
    values: dict[str, Any] = {name: value for name, value in options.items() if name in DAMAGE} | dict(own)
    if task is Task.UPSCALE:
        values["scale"], values["size"] = choose_size(own.get("scale"), *(own.get("size") or (None, None)))
    elif task is Task.INPAINT:
        mask, boxes = own.get("mask"), own.get("boxes", ())
        if mask is not None:
            values["mask"], values["mask_time"] = parse_mask(mask)
        values["boxes"] = tuple(parse_box(box) if isinstance(box, str) else box for box in boxes)
    return RestoreSettings(task=task, **values)


def run(input: PathLike, output: PathLike | None, restore: RestoreSettings, options: Options) -> RestoreResult:
    """Execute a task.  Raises VrxError."""
    from vrx.cluster.start import make_batch

    job = make_job(input, output, restore, options)
    with python_hints():
        return make_batch([job], options.get("on_event", ignore), None).restore(0)


@contextmanager
def python_hints() -> Iterator[None]:
    """Hints of the command line about an existing result in the words of Python."""
    try:
        yield
    except ExistsError as error:
        hint = "Replace it with overwrite=True, or leave it with skip_existing=True"
        raise ExistsError(error.message, hint) from None


def make_job(input: PathLike, output: PathLike | None, restore: RestoreSettings, options: Options) -> Job:
    """The job of a call.  Raises UsageError for options that do not exist or make no sense."""
    unknown = sorted(set(options) - Options.__annotations__.keys())
    if unknown:
        raise UsageError(f"unknown option {unknown[0]!r}", f"Known: {', '.join(sorted(Options.__annotations__))}")
    values: dict[str, Any] = dict(options)
    for name in TIMES:
        values[name] = to_seconds(values.get(name))
    values["fps"] = to_rate(values.get("fps"))
    values["crop"] = parse_crop(values.get("crop"))
    values["scenes"] = os.fspath(values.get("scenes", "auto"))
    values["path"] = None if output is None else os.fspath(output)
    model = {"name": os.fspath(values.get("model", "auto")), **select_fields(ModelSettings, values)}
    return Job(
        source=os.fspath(input),
        model=ModelSettings(**model),
        restore=restore,
        selection=SelectionSettings(**select_fields(SelectionSettings, values)),
        output=OutputSettings(**select_fields(OutputSettings, values)),
    )


def select_fields(settings: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Those of some values that settings have."""
    return {field.name: values[field.name] for field in fields(settings) if field.name in values}
