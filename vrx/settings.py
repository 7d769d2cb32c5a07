"""Frozen settings of a job, checked where they are made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from vrx.errors import UsageError, choice_of

if TYPE_CHECKING:
    from vrx.geometry import Box, Crop, TargetSize, TimeRange
    from vrx.previews import PreviewSettings

Dtype = Literal["auto", "bf16", "fp16", "fp32", "int8", "fp8"]  # the last two: of weights, all else as with auto
Prefer = Literal["auto", "speed", "quality"]
Decoder = Literal["auto", "full", "tiny"]
ColorFix = Literal["auto", "none", "adain", "wavelet"]
Deinterlacing = Literal["auto", "on", "off", "double", "film"]
Look = Literal["faithful", "sharp"]
Quality = Literal["auto", "fast", "best"]
Scale = Literal[1, 2, 3, 4]
Compile = Literal["auto", "on", "off"]

Word = TypeVar("Word")

CLOCK = re.compile(r"^(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)$")
SECONDS = re.compile(r"^(\d+(?:\.\d+)?)(s|ms)?$")
DEVICE = re.compile(r"auto|all|cpu|mps|cuda(:\d+)?|cuda:\d+(,cuda:\d+)+")
MAX_FRAMES = 2**31 - 1  # as many as ffmpeg counts
MAX_SECONDS = 10**9  # of a time in a video, over thirty years
MAX_THRESHOLD = 255  # the largest content score
MAX_GUIDANCE = 100  # times the difference of two prompts; useful are up to about ten
MIN_TILE = 256  # pixels a side
MAX_THREADS = 1024
MAX_PIXELS = (1 << 31) // 8  # of one frame with a margin of 128 a side: FFmpeg reads and writes none larger
LIMIT = "larger than 16255x16255, or as many pixels in another shape, which is the limit"


def parse_time(text: str) -> Fraction:
    """`HH:MM:SS.mmm`, `MM:SS`, `12.5`, `10s` or `1500ms` as seconds.

    Raises UsageError for anything else.
    """
    text = text.strip()
    match = CLOCK.match(text)
    if match:
        hours, minutes, seconds = match.groups()
        return Fraction(int(hours or 0) * 3600 + int(minutes) * 60) + Fraction(seconds)
    match = SECONDS.match(text)
    if match:
        value = Fraction(match.group(1))
        return value / 1000 if match.group(2) == "ms" else value
    raise UsageError(f"invalid time {text!r}", "Write seconds (12.5) or HH:MM:SS.mmm")


def format_time(seconds: Fraction) -> str:
    """A time as H:MM:SS.mmm, which `parse_time` reads."""
    total = round(seconds * 1000)
    minutes, rest = divmod(total, 60_000)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def to_seconds(time: float | Fraction | str | None) -> Fraction | None:
    """A time as seconds: a number, or text as `parse_time` reads it.  Raises UsageError."""
    if time is None or isinstance(time, Fraction):
        return time
    if isinstance(time, str):
        return parse_time(time)
    if isinstance(time, bool) or not isinstance(time, Real) or not isfinite(time):
        raise UsageError(f"invalid time {time!r}", "Give seconds (12.5), or text such as HH:MM:SS.mmm")
    return Fraction(float(time)).limit_denominator(1_000_000)


def too_large(width: int, height: int) -> bool:
    """Whether FFmpeg refuses a picture of that size (av_image_check_size2 in libavutil)."""
    return (width + 128) * (height + 128) >= MAX_PIXELS


def check_choice(option: str, value: object, choices: object) -> None:
    """Refuse a value outside a closed set, a Literal.  Raises UsageError."""
    known = get_args(choices)
    if not isinstance(value, str | Integral) or value not in known:
        raise UsageError(f"{option} is {value!r}", f"Choose {choice_of(known)}")


def check_number(option: str, value: object, kind: type = Real) -> None:
    """Refuse anything but a number, or None; `kind` Integral: a whole one.  Raises UsageError."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
        raise UsageError(f"--{option} is {value!r}", f"Give a {'whole ' if kind is Integral else ''}number")


def check_threshold(value: float | None) -> None:
    """Refuse a cut threshold that finds a cut everywhere or nowhere.  Raises UsageError."""
    check_number("scene-threshold", value)
    if value is not None and not 0 < value <= MAX_THRESHOLD:
        raise UsageError(f"--scene-threshold {value:g} is out of range", f"Use more than 0, up to {MAX_THRESHOLD}")


class Task(StrEnum):
    """The restoring tasks: names of commands, and part of the names of results."""

    UPSCALE = "upscale"
    DEBLUR = "deblur"
    INPAINT = "inpaint"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which model runs, where, and in which type.

    `device`: auto, cpu, mps, cuda, cuda:N; all GPUs of this machine, or cuda:N,cuda:N for some of them, share the work.
    `steps` and `guidance` of a diffusion model: None for as much as it prefers.  `threads` of the processor that
    networks, decoder and encoder each use; None for one a core.  `compile` parts of networks: auto as much as pays.
    """

    name: str = "auto"
    prompt: str | None = None
    device: str = "auto"
    dtype: Dtype = "auto"
    prefer: Prefer = "auto"
    seed: int = 0
    offline: bool = False
    decoder: Decoder = "auto"
    color_fix: ColorFix = "auto"
    tile: str = "auto"
    steps: int | None = None
    guidance: float | None = None
    threads: int | None = None
    compile: Compile = "auto"

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("--model is empty", "Use auto, the name of a model, or the path of a checkpoint")
        if not (isinstance(self.device, str) and DEVICE.fullmatch(self.device)):
            raise UsageError(
                f"--device is {self.device!r}",
                "Choose auto, cpu, cuda, cuda:N, cuda:N,cuda:N (several GPUs), all or mps",
            )
        check_choice("--decoder", self.decoder, Decoder)
        check_choice("--color-fix", self.color_fix, ColorFix)
        check_choice("--dtype", self.dtype, Dtype)
        check_choice("--prefer", self.prefer, Prefer)
        if self.prefer != "auto" and self.name != "auto":
            raise UsageError(f"--prefer and --model {self.name} are mutually exclusive", "Remove one of them")
        check_choice("--compile", self.compile, Compile)
        if not isinstance(self.tile, str):
            raise UsageError(f"--tile is {self.tile!r}", f"Give a text: 'auto', 'off', or pixels, such as '{MIN_TILE}'")
        if self.tile not in ("auto", "off") and not (self.tile.isdecimal() and int(self.tile) >= MIN_TILE):
            raise UsageError(f"--tile is {self.tile!r}", f"Use auto, off, or {MIN_TILE} pixels or more")
        check_number("steps", self.steps, Integral)
        check_number("seed", self.seed, Integral)
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps {self.steps} is out of range", "Use 1 or more")
        check_number("guidance", self.guidance)
        if self.guidance is not None and not 0 <= self.guidance <= MAX_GUIDANCE:
            raise UsageError(f"--guidance {self.guidance:g} is out of range", f"Use 0 to {MAX_GUIDANCE}")
        check_number("threads", self.threads, Integral)
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise UsageError(f"--threads {self.threads} is out of range", f"Use 1 to {MAX_THREADS}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed {self.seed} is out of range", "Use 0 to 2^63 - 1")


@dataclass(frozen=True, kw_only=True)
class RestoreSettings:
    """The task and its options.

    `scale` 1 to 4 of the network, the result's `size` where it is another, and whether its pixels become `square`
    where those of the source are not (upscale); `sigma` of the blur in pixels, None to estimate it (deblur); `mask`
    a path and `mask_time` when it holds, `boxes` parts that are masked as well, and `dilate` pixels to grow them
    by, None for as many as the source's color needs (inpaint); `strength` 0..1 of the degradation of the source,
    None to estimate it; `denoise` 0..1 of the noise found that is taken out, None for what is plain, to deblur or
    enlarge by 2; `grain` 0..1 of it that the result gets back, drawn anew; `blend` 0..1 is the share of the
    restored picture in the result; `look` faithful, closest to what was filmed, or sharp, with crisper edges, and
    `quality` fast, best, or auto, the best where it shows (upscale).
    """

    task: Task
    scale: int = 1
    sigma: float | None = None
    mask: Path | None = None
    mask_time: TimeRange | None = None
    boxes: tuple[Box, ...] = ()
    dilate: int | None = None
    size: TargetSize | None = None
    square: bool = False
    strength: float | None = None
    denoise: float | None = None
    grain: float = 0.0
    blend: float = 1.0
    look: Look = "faithful"
    quality: Quality = "auto"

    def __post_init__(self) -> None:
        check_choice("--look", self.look, Look)
        check_choice("--quality", self.quality, Quality)
        if self.task is Task.UPSCALE:
            check_choice("--scale", self.scale, Scale)
        elif self.scale != 1 or self.size is not None or self.square:
            raise UsageError(
                f"{self.task} does not change the size", f"Remove --{'square' if self.square else 'scale'}"
            )
        elif self.look != "faithful":
            raise UsageError(f"--look {self.look} is for upscale only", "Remove --look")
        elif self.quality != "auto":
            raise UsageError(f"--quality {self.quality} is for upscale only", "Remove --quality")
        if self.task is Task.INPAINT and self.mask is None and not self.boxes:
            hint = "Add --mask PATH: white areas are filled; or --box X,Y,WIDTH,HEIGHT"
            raise UsageError("inpaint needs a mask", hint)
        check_number("sigma", self.sigma)
        check_number("dilate", self.dilate, Integral)
        if self.sigma is not None and not 0.3 <= self.sigma <= 8:
            raise UsageError(f"--sigma {self.sigma:g} is out of range", "Use 0.3 to 8 pixels, or auto")
        if self.dilate is not None and not 0 <= self.dilate <= 256:
            raise UsageError(f"--dilate {self.dilate} is out of range", "Use 0 to 256 pixels, or auto")
        for name, value in (
            ("strength", self.strength),
            ("denoise", self.denoise),
            ("grain", self.grain),
            ("blend", self.blend),
        ):
            check_number(name, value)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"--{name} {value:g} is out of range", "Use 0 to 1")

    @property
    def keeps_known(self) -> bool:
        """Whether pixels outside of a mask stay exactly what they were."""
        return self.task is Task.INPAINT and not self.denoise


@dataclass(frozen=True, kw_only=True)
class SelectionSettings:
    """Which part of the source is restored: times in seconds from its start, scene cuts, and deinterlacing.

    `stream` is the index of the video stream in the file, None for the one that players show.  `fps` is how many
    numbered pictures are shown in a second, None for 24.  `crop` is what of the displayed picture is restored, auto:
    all but black borders.
    """

    start: Fraction | None = None
    end: Fraction | None = None
    frames: int | None = None
    scenes: str = "auto"
    scene_threshold: float | None = None
    deinterlace: Deinterlacing = "auto"
    stream: int | None = None
    fps: Fraction | None = None
    crop: Crop | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        for name, time in (("start", self.start), ("end", self.end)):
            if time is not None and not 0 <= time <= MAX_SECONDS:
                raise UsageError(f"--{name} {float(time):g} is out of range", f"Use 0 to {MAX_SECONDS} seconds")
        if self.end is not None and self.end <= (self.start or 0):
            after = "--start" if self.start else "the beginning"
            raise UsageError(f"--end is not after {after}", "No frames would be left to restore")
        check_number("frames", self.frames, Integral)
        check_number("stream", self.stream, Integral)
        if self.frames is not None and not 1 <= self.frames <= MAX_FRAMES:
            raise UsageError(f"--frames {self.frames} is out of range", f"Use 1 to {MAX_FRAMES}")
        if not self.scenes:
            raise UsageError("--scenes is empty", "Use auto, off, or a file with cuts")
        check_threshold(self.scene_threshold)
        if self.stream is not None and self.stream < 0:
            raise UsageError(f"--stream {self.stream} is out of range", "List the streams with: vrx info")
        check_choice("--deinterlace", self.deinterlace, Deinterlacing)


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """How the result is written: `overwrite` replaces an existing one, `skip_existing` leaves it and does nothing.

    `resume` saves finished parts of a long result, so that an interrupted run can be resumed.
    """

    path: str | None = None
    codec: str = "auto"
    crf: int | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    encoder_args: tuple[str, ...] = ()
    audio: bool = True
    overwrite: bool = False
    skip_existing: bool = False
    resume: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.encoder_args, str):
            raise UsageError("encoder_args is one text", 'Give a tuple of words, such as ("-g", "25")')
        if self.path == "":
            raise UsageError("-o is empty", "Name a file or a folder; a shell variable may be unset")
        if self.overwrite and self.skip_existing:
            raise UsageError("--overwrite (-y) and --skip-existing (-n) are mutually exclusive", "Remove one of them")
        check_number("crf", self.crf, Integral)
        if self.crf is not None and not 0 <= self.crf <= 63:
            raise UsageError(f"--crf {self.crf} is out of range", "Use 0 (best) to 63")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One restoring run over one input, or a `preview` of it; `stem` is what its result is named after."""

    source: str
    model: ModelSettings
    restore: RestoreSettings
    selection: SelectionSettings
    output: OutputSettings
    preview: PreviewSettings | None = None
    stem: str | None = None
