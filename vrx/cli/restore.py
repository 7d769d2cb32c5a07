"""`vrx upscale`, `vrx deblur` and `vrx inpaint`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from vrx.cli import batch, parsing
from vrx.cli import options as o
from vrx.cli import run_options as r
from vrx.geometry import parse_box
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task


@dataclass(frozen=True, kw_only=True)
class SharedOptions:
    """The options that all restoring commands share: each field is one."""

    more: o.MoreInputs = None
    model: o.Model = "auto"
    prompt: o.Prompt = None
    seed: o.Seed = 0
    device: o.Device = "auto"
    dtype: o.NumberType = "auto"
    decoder: o.DecoderChoice = "auto"
    color_fix: o.ColorFixChoice = "auto"
    tile: o.Tile = "auto"
    steps: o.Steps = None
    guidance: o.Guidance = None
    offline: o.Offline = False
    start: o.Start = None
    end: o.End = None
    frames: o.Frames = None
    scenes: o.Scenes = "auto"
    scene_threshold: o.SceneThreshold = None
    deinterlace: o.Deinterlace = "auto"
    stream: o.VideoStream = None
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
    threads: r.Threads = None
    resume: r.Resume = True
    dry_run: r.DryRun = False
    json: r.Json = False
    quiet: r.Quiet = False
    verbose: r.Verbose = False
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
                seed=self.seed,
                offline=self.offline,
                decoder=self.decoder,
                color_fix=self.color_fix,
                tile=self.tile,
                steps=self.steps,
                guidance=self.guidance,
                threads=self.threads,
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

    def run(self) -> batch.RunOptions:
        """How the command runs.  Raises UsageError."""
        return batch.RunOptions(
            dry_run=self.dry_run,
            json=self.json,
            quiet=self.quiet,
            verbose=self.verbose,
            progress=self.progress,
            recursive=self.recursive,
        )


def with_shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer, in which the parameter `shared` is replaced by the fields of SharedOptions.

    typer reads a command's options from its signature, so the new command is given one (PEP 362).
    """
    own = parameters(command)
    common = parameters(SharedOptions)

    @functools.wraps(command)
    def expanded(**values: Any) -> None:
        shared = SharedOptions(**{p.name: values.pop(p.name) for p in common})
        command(**values, shared=shared)

    visible = [p for p in own if p.name != "shared"] + common
    expanded.__signature__ = inspect.Signature(visible)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in visible}
    return expanded


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A function's or a dataclass's parameters, with their annotations as values rather than as text."""
    hints = get_type_hints(function, include_extras=True)
    found = inspect.signature(function).parameters.values()
    return [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in found]


@with_shared_options
def upscale(
    inputs: o.Inputs = None,
    *,
    scale: o.UpscaleBy = None,
    width: o.Width = None,
    height: o.Height = None,
    size: o.FitInside = None,
    look: o.LookChoice = "faithful",
    strength: o.Strength = "auto",
    denoise: o.Denoise = "auto",
    grain: o.Grain = "remove",
    blend: o.Blend = 1.0,
    shared: SharedOptions,
) -> None:
    """Restore and enlarge videos and pictures."""
    network, wanted = parsing.parse_sizes(scale, width, height, size)
    task = RestoreSettings(
        task=Task.UPSCALE,
        scale=network,
        size=wanted,
        strength=parsing.parse_number(strength, "--strength"),
        look=look,
        denoise=parsing.parse_denoise(denoise),
        grain=parsing.parse_grain(grain),
        blend=blend,
    )
    restore(inputs, task, shared)


@with_shared_options
def deblur(
    inputs: o.Inputs = None,
    *,
    sigma: o.Sigma = "auto",
    strength: o.Strength = "auto",
    denoise: o.Denoise = "auto",
    grain: o.Grain = "remove",
    blend: o.Blend = 1.0,
    shared: SharedOptions,
) -> None:
    """Remove blur from videos and pictures."""
    task = RestoreSettings(
        task=Task.DEBLUR,
        sigma=parsing.parse_number(sigma, "--sigma"),
        strength=parsing.parse_number(strength, "--strength"),
        denoise=parsing.parse_denoise(denoise),
        grain=parsing.parse_grain(grain),
        blend=blend,
    )
    restore(inputs, task, shared)


@with_shared_options
def inpaint(
    inputs: o.Inputs = None,
    *,
    mask: o.Mask = None,
    box: o.Boxes = None,
    dilate: o.Dilate = 0,
    strength: o.Strength = "auto",
    denoise: o.Denoise = "auto",
    grain: o.Grain = "remove",
    blend: o.Blend = 1.0,
    shared: SharedOptions,
) -> None:
    """Fill masked areas of videos and pictures."""
    task = RestoreSettings(
        task=Task.INPAINT,
        mask=mask,
        boxes=tuple(map(parse_box, box or ())),
        dilate=dilate,
        strength=parsing.parse_number(strength, "--strength"),
        denoise=parsing.parse_denoise(denoise),
        grain=parsing.parse_grain(grain),
        blend=blend,
    )
    restore(inputs, task, shared)


def restore(inputs: list[str] | None, task: RestoreSettings, shared: SharedOptions) -> None:
    """Run a task over the inputs of a command."""
    batch.run([*(inputs or []), *(shared.more or [])], shared.job(task), shared.run())
