"""`vrx deblur`: remove blur."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from vrx.cli import batch
from vrx.cli import options as o
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task


def deblur(
    inputs: o.Inputs = None,
    sigma: Annotated[str, typer.Option("--sigma", help="Blur in pixels (standard deviation), or auto.")] = "auto",
    model: o.Model = "auto",
    prompt: o.Prompt = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    strength: o.Strength = "auto",
    blend: o.Blend = 1.0,
    start: o.Start = None,
    end: o.End = None,
    frames: o.Frames = None,
    scenes: o.Scenes = "auto",
    scene_threshold: o.SceneThreshold = None,
    output: o.Output = None,
    codec: o.Codec = "auto",
    crf: o.Crf = None,
    preset: o.Preset = None,
    pix_fmt: o.PixFmt = None,
    encoder_args: o.EncoderArgs = None,
    no_audio: o.NoAudio = False,
    overwrite: o.Overwrite = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    progress: o.Progress = "auto",
) -> None:
    """Remove blur from videos."""
    job = partial(
        Job,
        model=ModelSettings(name=model, prompt=prompt, device=device, dtype=dtype, seed=seed, offline=offline),
        restore=RestoreSettings(
            task=Task.DEBLUR,
            sigma=o.number(sigma, "--sigma"),
            strength=o.number(strength, "--strength"),
            blend=blend,
        ),
        selection=SelectionSettings(
            start=o.moment(start),
            end=o.moment(end),
            frames=frames,
            scenes=scenes,
            scene_threshold=scene_threshold,
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
        ),
    )
    options = batch.RunOptions(dry_run=dry_run, json=json, quiet=quiet, progress=progress)
    batch.run(inputs, lambda source: job(source=source), options)
