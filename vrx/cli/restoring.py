"""What the three restoring commands share: their options, and running a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from vrx.cli import batch
from vrx.cli import options as o
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings


@dataclass(frozen=True, kw_only=True)
class Shared:
    """The shared options as settings."""

    model: ModelSettings
    selection: SelectionSettings
    output: OutputSettings
    run: batch.RunOptions


def shared(
    model: o.Model = "auto",
    prompt: o.Prompt = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    decoder: o.Decoder = "auto",
    color_fix: o.ColorFix = "auto",
    tile: o.Tile = "auto",
    offline: o.Offline = False,
    start: o.Start = None,
    end: o.End = None,
    frames: o.Frames = None,
    scenes: o.Scenes = "auto",
    scene_threshold: o.SceneThreshold = None,
    deinterlace: o.Deinterlace = "auto",
    stream: o.Stream = None,
    output: o.Output = None,
    codec: o.Codec = "auto",
    crf: o.Crf = None,
    preset: o.Preset = None,
    pix_fmt: o.PixFmt = None,
    encoder_args: o.EncoderArgs = None,
    no_audio: o.NoAudio = False,
    overwrite: o.Overwrite = False,
    skip_existing: o.SkipExisting = False,
    recursive: o.Recursive = False,
    resume: o.Resume = True,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    progress: o.Progress = "auto",
) -> Shared:
    """Options to settings; its parameters are the options."""
    return Shared(
        model=ModelSettings(
            name=model,
            prompt=prompt,
            device=device,
            dtype=dtype,
            seed=seed,
            offline=offline,
            decoder=decoder,
            color_fix=color_fix,
            tile=tile,
        ),
        selection=SelectionSettings(
            start=o.moment(start),
            end=o.moment(end),
            frames=frames,
            scenes=scenes,
            scene_threshold=scene_threshold,
            deinterlace=deinterlace,
            stream=stream,
        ),
        output=OutputSettings(
            path=output,
            codec=codec,
            crf=crf,
            preset=preset,
            pix_fmt=pix_fmt,
            encoder_args=o.words(encoder_args),
            audio=not no_audio,
            overwrite=overwrite,
            skip_existing=skip_existing,
            resume=resume,
        ),
        run=batch.RunOptions(
            dry_run=dry_run, json=json, quiet=quiet, verbose=verbose, progress=progress, recursive=recursive
        ),
    )


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A function's parameters with their annotations as values, not as text."""
    hints = get_type_hints(function, include_extras=True)
    found = inspect.signature(function).parameters.values()
    return [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in found]


def inputs_only(inputs: o.Inputs = None, more: o.MoreInputs = None) -> None:
    """Holds the argument that all commands share, and its other spelling."""


def restoring(settings: Callable[..., RestoreSettings]) -> Callable[..., None]:
    """A command from a function that turns its own options into settings: the shared ones are added."""
    own, common = parameters(settings), parameters(shared)

    def command(**values: Any) -> None:
        restore = settings(**{p.name: values[p.name] for p in own})
        rest = shared(**{p.name: values[p.name] for p in common})
        words = [*(values["inputs"] or []), *(values["more"] or [])]
        job = Job(source="-", model=rest.model, restore=restore, selection=rest.selection, output=rest.output)
        batch.run(words, job, rest.run)

    everything = [*parameters(inputs_only), *own, *common]
    command.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in everything}
    command.__name__, command.__doc__ = settings.__name__, settings.__doc__
    return command
