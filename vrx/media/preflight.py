"""Preflight check: one small frame encoded with the settings of a result, before any work."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np

from vrx.errors import OutputError, UsageError
from vrx.media.encoders import CONTAINER_CODECS, PRESETS, SHORT_NAMES, advise_codec
from vrx.media.ffmpeg import executable
from vrx.media.frame import Frame, Kind
from vrx.media.target import Target
from vrx.media.write import Writer
from vrx.temporary import spare_folder

MAX_SIDE = 512  # pixels; a larger side is reduced, with the same remainder modulo 4


def check_encoder_settings(target: Target) -> None:
    """Encode and decode one frame with the target's encoder, options and container.

    Raises UsageError with ffmpeg's message where they do not work together, OutputError where there is no
    ffmpeg.  Skipped where there is no temporary folder.
    """
    executable()  # a missing ffmpeg is not a matter of the options
    with spare_folder() as folder:
        if folder is not None:
            encode_test_frame(target, folder)


def encode_test_frame(target: Target, folder: Path) -> None:
    """Encode and decode a black frame in a folder.  Raises UsageError."""
    suffix = target.path.suffix if target.path is not None else ""
    width, height = (side if side <= MAX_SIDE else MAX_SIDE + side % 4 for side in target.size)
    path = folder / f"test{suffix}"
    alone = replace(target, source=None, span=None, offset=Fraction(0), copied_streams=(), pictures=())
    small = replace(alone, path=path, size=(width, height))
    try:
        with Writer(small) as writer:
            writer.write(black_frame(small))
            writer.finish()
        check_readable(path)
    except OutputError as error:
        if "No space left" in error.message:  # for the test file; the result may be on another disk
            return
        if target.preset is not None and "preset" in error.message and target.rule.name in PRESETS:
            known = PRESETS[target.rule.name]
            text = f"--preset {target.preset} is not known to {target.rule.name}"
            raise UsageError(text, f"Use one of: {known}") from error
        name = "standard output" if target.path is None else str(target.path)
        reason = (
            error.message.removeprefix(f"cannot write {path}: ")
            .removeprefix(f"{path}: ")
            .removesuffix("; output discarded")
        )
        hint = "Try another container, or remove the options"
        if target.rule.name not in (SHORT_NAMES[codec] for codec in CONTAINER_CODECS.get(target.container, ())):
            hint = f"{advise_codec(target.container, target.size)}, or another container"
        raise UsageError(f"{name} cannot be written with these options: {reason}", hint) from error


def check_readable(path: Path) -> None:
    """Decode the file: some combinations of encoder and container cannot be read back.

    Raises OutputError.
    """
    try:
        with av.open(f"file:{path}") as box:
            read = next(box.decode(video=0), None) is not None
    except (av.error.FFmpegError, IndexError, ValueError):
        read = False
    if not read:
        raise OutputError(f"cannot write {path}: the encoded file cannot be decoded")


def black_frame(target: Target) -> Frame:
    """A frame of zeros in the target's layout."""
    layout, (width, height) = target.layout, target.size
    kind = np.uint8 if layout.depth == 8 else np.dtype("<u2")
    count = {Kind.GRAY: 0, Kind.RGB: 2, Kind.YUV: 2}[layout.kind]
    columns, rows = layout.chroma_size(width, height) if layout.kind is Kind.YUV else (width, height)
    planes = [np.zeros((height, width), kind), *(np.zeros((rows, columns), kind) for _ in range(count))]
    if layout.alpha:
        planes.append(np.zeros((height, width), kind))
    return Frame(tuple(planes), layout, target.color, 0, target.time_base)
