"""`vrx upscale`, `vrx restore`, `vrx deblur` and `vrx inpaint`, and previews of them."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

import typer

from vrx.batches import BatchSettings
from vrx.cli import batch, parsing
from vrx.cli import options as o
from vrx.cli import run_options as r
from vrx.cli import selection_options as s
from vrx.cli.defaults import LINE, TYPED
from vrx.cli.preview import At, Length, Preview, Vary, parse_choices, parse_length
from vrx.errors import UsageError
from vrx.geometry import parse_box, parse_crop, parse_mask
from vrx.previews import PreviewSettings, Variant
from vrx.rates import to_rate
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task, parse_time

DEFAULT_LENGTH = "1"  # second of each place of a preview


@dataclass(frozen=True, kw_only=True)
class SharedOptions:
    """The options that all restoring commands share: each field is one."""

    more: o.MoreInputs = None
    preset_name: o.PresetName = None
    model: o.Model = "auto"
    prompt: o.Prompt = None
    seed: o.Seed = 0
    device: o.Device = "auto"
    dtype: o.NumberType = "auto"
    prefer: o.PreferChoice = "auto"
    decoder: o.DecoderChoice = "auto"
    color_fix: o.ColorFixChoice = "auto"
    tile: o.Tile = "auto"
    compile: o.CompileChoice = "auto"
    steps: o.Steps = None
    guidance: o.Guidance = None
    offline: o.Offline = False
    start: s.Start = None
    end: s.End = None
    frames: s.Frames = None
    scenes: s.Scenes = "auto"
    scene_threshold: s.SceneThreshold = None
    deinterlace: s.Deinterlace = "auto"
    stream: s.VideoStream = None
    sequence: s.Sequence = False
    fps: s.Fps = None
    crop: s.Crop = None
    output: o.Output = None
    codec: o.Codec = "auto"
    crf: o.Crf = None
    preset: o.Preset = None
    pix_fmt: o.PixFmt = None
    encoder_args: o.EncoderArgs = None
    no_audio: o.NoAudio = False
    overwrite: o.Overwrite = False
    skip_existing: o.SkipExisting = False
    recursive: o.Recursive = False
    preview: Preview = False
    at: At = None
    length: Length = DEFAULT_LENGTH
    vary: Vary = None
    threads: r.Threads = None
    jobs: r.Jobs = 1
    ray: r.Ray = None
    ship: r.Ship = False
    until: r.Until = None
    on_done: r.OnDone = None
    resume: r.Resume = True
    dry_run: r.DryRun = False
    json: r.Json = False
    quiet: r.Quiet = False
    verbose: r.Verbose = False
    log: r.Log = None
    html: r.Html = None
    trace: r.Trace = None
    progress: r.Progress = "auto"

    def job(self, task: RestoreSettings) -> Job:
        """The job of every input, still without its source.  Raises UsageError."""
        return Job(
            source="-",
            model=ModelSettings(
                name=self.model,
                prompt=self.prompt,
                device=self.device,
                dtype=self.dtype,
                prefer=self.prefer,
                seed=self.seed,
                offline=self.offline,
                decoder=self.decoder,
                color_fix=self.color_fix,
                tile=self.tile,
                steps=self.steps,
                guidance=self.guidance,
                threads=self.threads,
                compile=self.compile,
            ),
            restore=task,
            selection=SelectionSettings(
                start=parsing.parse_moment(self.start),
                end=parsing.parse_moment(self.end),
                frames=self.frames,
                scenes=self.scenes,
                scene_threshold=self.scene_threshold,
                deinterlace=self.deinterlace,
                stream=self.stream,
                fps=to_rate(self.fps),
                crop=parse_crop(self.crop),
            ),
            output=OutputSettings(
                path=self.output,
                codec=self.codec,
                crf=self.crf,
                preset=self.preset,
                pix_fmt=self.pix_fmt,
                encoder_args=parsing.split_words(self.encoder_args),
                audio=not self.no_audio,
                overwrite=self.overwrite,
                skip_existing=self.skip_existing,
                resume=self.resume,
            ),
        )

    def preview_settings(self, variants: tuple[Variant, ...]) -> PreviewSettings | None:
        """What a preview shows; None for a run of all.  Raises UsageError."""
        settings = PreviewSettings(
            at=tuple(map(parse_time, self.at or ())), length=parse_length(self.length), variants=variants
        )
        if self.preview and self.trace is not None:
            raise UsageError("--trace is for runs, not for previews", "Remove it")
        if self.preview:
            return settings
        named = {"--at": self.at, "--vary": self.vary, "--length": self.length != DEFAULT_LENGTH}
        for option, value in named.items():
            if value:
                raise UsageError(f"{option} is for previews", "Add --preview, or remove it")
        return None

    def run(self, line: Sequence[str]) -> batch.RunOptions:
        """How the command runs that was typed as a line.  Raises UsageError."""
        if self.ship and self.ray is None:
            raise UsageError("--ship is for runs on a cluster", "Add --ray ADDRESS, or remove it")
        return batch.RunOptions(
            page=None if self.html is None else batch.Page(self.html, shlex.join(line)),
            written=tuple(path for path in (self.log, self.trace, self.html) if path is not None),
            dry_run=self.dry_run,
            json=self.json,
            quiet=self.quiet,
            verbose=self.verbose,
            progress=self.progress,
            recursive=self.recursive,
            sequence=self.sequence,
            batch=BatchSettings(
                deadline=parsing.parse_clock(self.until),
                on_done=self.on_done,
                jobs=self.jobs,
                ray=self.ray,
                ship=self.ship,
                trace=self.trace,
            ),
        )


def restoring(command: Callable[..., RestoreSettings]) -> Callable[..., None]:
    """A command for typer that restores, from a function that makes the settings of its task of its own options."""
    return expand(command, frozenset())


def previewing(command: Callable[..., RestoreSettings]) -> Callable[..., None]:
    """The same as a command that makes previews only."""
    return expand(command, frozenset({"preview"}))


def expand(command: Callable[..., RestoreSettings], given: frozenset[str]) -> Callable[..., None]:
    """A command for typer with the options of `command` and the fields of SharedOptions, switches `given` set.

    typer reads a command's options from its signature, so the new command is given one (PEP 362).
    """
    own = parameters(command)
    common = parameters(SharedOptions)

    def job(values: dict[str, Any]) -> Job:
        task = command(**{p.name: values[p.name] for p in own})
        return SharedOptions(**{p.name: values[p.name] for p in common}).job(task)

    @functools.wraps(command)
    def expanded(context: typer.Context, inputs: list[str] | None, **options: Any) -> None:
        values = options | dict.fromkeys(given, True)
        shared = SharedOptions(**{p.name: values[p.name] for p in common})
        choices = parse_choices(context, shared.vary or [])
        variants = tuple(Variant.of(name, job(values | chosen)) for name, chosen in choices)
        template = replace(job(values), preview=shared.preview_settings(variants))
        how = replace(shared.run(context.meta[LINE]), needs_rate="fps" in context.meta[TYPED])
        batch.run([*(inputs or []), *(shared.more or [])], template, how)

    place = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    sources = inspect.Parameter("inputs", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=o.Inputs)
    visible = [place, sources, *own, *(p for p in common if p.name not in given)]
    expanded.__signature__ = inspect.Signature(visible)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in visible}
    return expanded


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A function's or a dataclass's parameters, with their annotations as values rather than as text."""
    hints = get_type_hints(function, include_extras=True)
    found = inspect.signature(function).parameters.values()
    return [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in found]


def upscale(
    *,
    scale: o.UpscaleBy = None,
    width: o.Width = None,
    height: o.Height = None,
    size: o.FitInside = None,
    square: o.Square = False,
    look: o.LookChoice = "faithful",
    quality: o.QualityChoice = "auto",
    strength: o.Strength = "auto",
    denoise: o.Denoise = "auto",
    grain: o.Grain = "remove",
    blend: o.Blend = 1.0,
) -> RestoreSettings:
    """Restore and enlarge videos and pictures."""
    network, wanted = parsing.parse_sizes(scale, width, height, size)
    return RestoreSettings(
        task=Task.UPSCALE,
        scale=network,
        size=wanted,
        square=square,
        strength=parsing.parse_number(strength, "--strength"),
        look=look,
        quality=quality,
        denoise=parsing.parse_denoise(denoise),
        grain=parsing.parse_grain(grain),
        blend=blend,
    )


def same_size(
    *,
    look: o.LookChoice = "faithful",
    strength: o.Strength = "auto",
    denoise: o.Denoise = "auto",
    grain: o.Grain = "remove",
    blend: o.Blend = 1.0,
) -> RestoreSettings:
    """Restore videos and pictures at the size they have: vrx upscale -s 1."""
    return upscale(scale=1, look=look, strength=strength, denoise=denoise, grain=grain, blend=blend)


def deblur(
    *,
    sigma: o.Sigma = "auto",
    strength: o.Strength = "auto",
    denoise: o.Denoise = "auto",
    grain: o.Grain = "remove",
    blend: o.Blend = 1.0,
) -> RestoreSettings:
    """Remove blur from videos and pictures."""
    return RestoreSettings(
        task=Task.DEBLUR,
        sigma=parsing.parse_number(sigma, "--sigma"),
        strength=parsing.parse_number(strength, "--strength"),
        denoise=parsing.parse_denoise(denoise),
        grain=parsing.parse_grain(grain),
        blend=blend,
    )


def inpaint(
    *,
    mask: o.Mask = None,
    box: o.Boxes = None,
    dilate: o.Dilate = "auto",
    strength: o.Strength = "auto",
    denoise: o.Denoise = "auto",
    grain: o.Grain = "remove",
    blend: o.Blend = 1.0,
) -> RestoreSettings:
    """Fill masked areas of videos and pictures."""
    path, stretch = (None, None) if mask is None else parse_mask(mask)
    return RestoreSettings(
        task=Task.INPAINT,
        mask=path,
        mask_time=stretch,
        boxes=tuple(map(parse_box, box or ())),
        dilate=parsing.parse_pixels(dilate, "--dilate"),
        strength=parsing.parse_number(strength, "--strength"),
        denoise=parsing.parse_denoise(denoise),
        grain=parsing.parse_grain(grain),
        blend=blend,
    )
