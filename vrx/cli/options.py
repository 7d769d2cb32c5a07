"""The options that several commands have, declared once, in the panels of the help.

Others of them: `selection_options` and `run_options`.
"""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from vrx.cli.completion import (
    SPEEDS,
    complete_codecs,
    complete_devices,
    complete_models,
    complete_presets,
    complete_words,
)
from vrx.settings import ColorFix, Compile, Decoder, Dtype, Look, Prefer, Quality

DEGRADATION, MODEL, OUTPUT = "Degradation", "Model", "Output"
FLAG = " "  # the column of values is empty for flags


def choices(values: object) -> str:
    """The values of a Literal as a metavar."""
    return "|".join(map(str, get_args(values)))


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="Videos, pictures, numbered pictures (f_%05d.png), folders, quoted globs, or - for standard input.",
    ),
]
MoreInputs = Annotated[list[str] | None, typer.Option("-i", hidden=True)]  # as ffmpeg names its inputs

UpscaleBy = Annotated[
    float | None,
    typer.Option(
        "-s", "--scale", metavar="FACTOR", show_default="4", help="Enlarge by this: 2, 3, 4, or between; 1: same size."
    ),
]
Width = Annotated[
    int | None, typer.Option(metavar="PIXELS", show_default=False, help="Enlarge to this width, in the same shape.")
]
Height = Annotated[
    int | None, typer.Option(metavar="PIXELS", show_default=False, help="Enlarge to this height, in the same shape.")
]
FitInside = Annotated[
    str | None,
    typer.Option("--size", metavar="WxH", show_default=False, help="Enlarge to what fits into this, in its shape."),
]
Square = Annotated[
    bool,
    typer.Option(
        "--square",
        metavar=FLAG,
        help="Square pixels where the video's are not (DV, DVD, HDV): the side that has too few of them grows.",
    ),
]
Sigma = Annotated[
    str,
    typer.Option(
        "--sigma",
        metavar="auto|PIXELS",
        autocompletion=complete_words("auto"),
        help="Standard deviation of the blur, 0.3 to 8 pixels; auto estimates it for every scene.",
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--mask",
        metavar="PATH[@START-END]",
        show_default=False,
        help="Picture, video or folder; white areas are filled, for a part of the time too. A folder holds a picture a "
        "frame, or for several inputs masks named after them: clip.mask.mkv or clip.png for clip.mp4.",
    ),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="X,Y,W,H[@START-END]",
        show_default=False,
        help="Fill a box as well, in pixels or percent, for a part of the time; may be repeated.",
    ),
]
Dilate = Annotated[
    str,
    typer.Option(
        "--dilate",
        metavar="auto|PIXELS",
        autocompletion=complete_words("auto"),
        help="Grow the mask by this much. auto: 2 where colors are stored at half size (4:2:0, 4:2:2), as they reach "
        "beyond what is masked; 0 for a mask of vrx mask and for single pixels.",
    ),
]

PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset-name",
        metavar="NAME",
        help="Options for a kind of material: film, vhs, web, anime, phone, or your own (vrx presets); none for none. "
        "Options typed as well replace its own.",
        rich_help_panel=DEGRADATION,
        autocompletion=complete_presets,
    ),
]
Strength = Annotated[
    str,
    typer.Option(
        metavar="auto|0..1",
        autocompletion=complete_words("auto"),
        help="For blocks, ringing and smeared detail of encoders: how bad they are taken to be, from 0 (clean: all "
        "detail stays, damage too) to 1 (smoothed most); auto estimates each scene. To deblur: how noisy the source is "
        "taken to be, higher undoes less.",
        rich_help_panel=DEGRADATION,
    ),
]
Denoise = Annotated[
    str,
    typer.Option(
        metavar="auto|off|0..1",
        autocompletion=complete_words("auto", "off"),
        help="For noise of sensors and tape, and film grain: how much goes, along the motion, before anything else; "
        "auto: noise that is plain to see, where it helps to (deblurring, enlarging by 2). Blocks and ringing are for "
        "--strength.",
        rich_help_panel=DEGRADATION,
    ),
]
Grain = Annotated[
    str,
    typer.Option(
        metavar="keep|remove|0..1",
        autocompletion=complete_words("keep", "remove"),
        help="For film: how much of the grain that --denoise takes out is given back, drawn anew at the result's size; "
        "keep: all. Film without grain looks like plastic; with it files are larger.",
        rich_help_panel=DEGRADATION,
    ),
]
LookChoice = Annotated[
    Look,
    typer.Option(
        "--look",
        metavar=choices(Look),
        help="faithful is closest to what was filmed; sharp has crisper edges.",
    ),
]
QualityChoice = Annotated[
    Quality,
    typer.Option(
        "--quality",
        metavar=choices(Quality),
        help="Of the embedded model: fast takes a quarter to a half less time, with a smaller network; best looks at "
        "later frames everywhere, auto where they help. That of the file is --crf.",
    ),
]
Blend = Annotated[
    float,
    typer.Option(
        metavar="0..1",
        help="For results that look overdone, whatever the damage: 1 is the full restoration, 0 the plainly resized "
        "source, 0.5 the mean of both.",
        rich_help_panel=DEGRADATION,
    ),
]

Model = Annotated[
    str,
    typer.Option(
        metavar="auto|NAME|PATH",
        help="A model (vrx models list), or a checkpoint; auto takes the best that runs here.",
        rich_help_panel=MODEL,
        autocompletion=complete_models,
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "-p",
        "--prompt",
        metavar="TEXT",
        help="What the picture shows, for models that take a prompt (vrx models list).",
        rich_help_panel=MODEL,
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Random seed (large models only).", rich_help_panel=MODEL)]
Device = Annotated[
    str,
    typer.Option(
        "-d",
        "--device",
        metavar="auto|cpu|cuda[:N]|all|mps",
        help="Where the model runs; auto takes a GPU if there is one. all, or cuda:0,cuda:1: GPUs that share the work.",
        rich_help_panel=MODEL,
        autocompletion=complete_devices,
    ),
]
OneDevice = Annotated[
    str,
    typer.Option(
        "-d",
        "--device",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where the model runs; auto takes a GPU if there is one.",
        rich_help_panel=MODEL,
        autocompletion=complete_words("auto", "cpu", "cuda", "cuda:0", "mps"),
    ),
]
NumberType = Annotated[
    Dtype,
    typer.Option(
        "--dtype",
        metavar=choices(Dtype),
        help="Number type of the networks; auto takes the fastest. int8 and fp8 hold weights in 8 bits: half the "
        "memory, a small loss. fp8 (GPUs from Ada and Hopper on) also computes in 8 bits, as does int8 on a processor, "
        "where the embedded model upscales; auto takes that where it is faster.",
        rich_help_panel=MODEL,
    ),
]
PreferChoice = Annotated[
    Prefer,
    typer.Option(
        "--prefer", metavar=choices(Prefer), help="What --model auto looks for in large models.", rich_help_panel=MODEL
    ),
]
Offline = Annotated[bool, typer.Option("--offline", metavar=FLAG, help="Never use the network.", rich_help_panel=MODEL)]
DecoderChoice = Annotated[
    Decoder,
    typer.Option(
        "--decoder", metavar=choices(Decoder), help="Decoder of large models: tiny is faster.", rich_help_panel=MODEL
    ),
]
ColorFixChoice = Annotated[
    ColorFix,
    typer.Option(
        "--color-fix",
        metavar=choices(ColorFix),
        help="Match output colors to the source (FlashVSR).",
        rich_help_panel=MODEL,
    ),
]
Tile = Annotated[
    str,
    typer.Option(
        metavar="auto|off|PIXELS",
        autocompletion=complete_words("auto", "off"),
        help="Work in tiles of PIXELS to save memory (large models).",
        rich_help_panel=MODEL,
    ),
]
CompileChoice = Annotated[
    Compile,
    typer.Option(
        "--compile",
        metavar=choices(Compile),
        help="Compile parts of large models: seconds to a minute before the first frame, for faster ones after it; "
        "auto: on a GPU, as much as the video's length pays for.",
        rich_help_panel=MODEL,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Denoising steps per frame, for models that take several.",
        show_default="as the model was trained",
        rich_help_panel=MODEL,
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="How far the result follows the prompt, away from the negative one (SATB-VR).",
        show_default="as the model was published",
        rich_help_panel=MODEL,
    ),
]

Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        help="File, folder (a missing DIR/ is created), template with {stem} {task} {model} {ext}, or - for "
        "standard output.",
        show_default="beside the input",
        rich_help_panel=OUTPUT,
    ),
]
Codec = Annotated[
    str,
    typer.Option(
        metavar="CODEC",
        help="h264, hevc, av1, vp9, prores, dnxhr, ffv1, or a hardware encoder by ffmpeg's name; auto chooses by the "
        "container and the source: ProRes and DNxHR stay that in MOV, and lossless codecs where they fit.",
        rich_help_panel=OUTPUT,
        autocompletion=complete_codecs,
    ),
]
Crf = Annotated[
    int | None,
    typer.Option(
        metavar="0..63",
        help="Quality of the encoder, lower is better.",
        show_default="17 for h264, 18 for hevc, 22 for av1 and vp9",
        rich_help_panel=OUTPUT,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Speed preset of the encoder.",
        autocompletion=complete_words(*SPEEDS),
        show_default="medium for h264, fast for hevc, 7 for av1",
        rich_help_panel=OUTPUT,
    ),
]
PixFmt = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Pixel format, by ffmpeg's name.",
        show_default="as the source",
        rich_help_panel=OUTPUT,
    ),
]
EncoderArgs = Annotated[
    str | None,
    typer.Option(metavar="ARGS", help="More ffmpeg output options, in one string.", rich_help_panel=OUTPUT),
]
NoAudio = Annotated[bool, typer.Option("--no-audio", metavar=FLAG, help="Drop the audio.", rich_help_panel=OUTPUT)]
Overwrite = Annotated[
    bool, typer.Option("-y", "--overwrite", metavar=FLAG, help="Replace existing results.", rich_help_panel=OUTPUT)
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "-n", "--skip-existing", metavar=FLAG, help="Skip inputs whose result exists.", rich_help_panel=OUTPUT
    ),
]
Recursive = Annotated[
    bool,
    typer.Option(
        "-r",
        "--recursive",
        metavar=FLAG,
        help="Include subfolders; -o DIR/ keeps their layout.",
        rich_help_panel=OUTPUT,
    ),
]

NUMBERED = "Numbered pictures of folders, globs and lists are the frames of one video, not pictures of their own."
AsSequence = Annotated[bool, typer.Option("--sequence", metavar=FLAG, help=NUMBERED)]
StreamNumber = Annotated[
    int | None,
    typer.Option(
        "--stream", metavar="N", help="Video stream, by its number in vrx info.", show_default="as players choose"
    ),
]
PICTURE_RATE = "Frames per second of numbered pictures: 25, 23.976, 24000/1001."  # for every command that has --fps
PictureRate = Annotated[
    str | None,
    typer.Option(
        "--fps",
        metavar="RATE",
        help=PICTURE_RATE,
        show_default="24",
    ),
]
Sensitivity = Annotated[
    float | None,
    typer.Option(metavar="0..255", help="Sensitivity of the cut detection; lower finds more cuts.", show_default="27"),
]
AsJson = Annotated[bool, typer.Option("--json", metavar=FLAG, help="JSON on standard output, one object per line.")]
