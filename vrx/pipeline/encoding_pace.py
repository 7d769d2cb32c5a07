"""Whether the encoder of the result keeps up with a GPU, and what does where a processor's cores do not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vrx.events import Note
from vrx.media import encoders
from vrx.media.ffmpeg import encoder_error, executable
from vrx.media.frame import Kind
from vrx.media.target import Target

# pixels a second that one core encodes by preset, the usual one first: CPU seconds of 48 frames of 1920x1080 (a
# natural clip, AMD EPYC, Zen 4) at the usual quality
SPEEDS: dict[str, dict[str, float]] = {
    "libx264": {"medium": 17e6, "fast": 27e6, "faster": 34e6, "veryfast": 58e6},
    "libx265": {"fast": 12e6, "faster": 16e6, "superfast": 22e6, "ultrafast": 33e6},
}
HARDWARE = {"libx264": "h264_nvenc", "libx265": "hevc_nvenc"}  # what an NVIDIA GPU's own encoder is called
HARDWARE_CONTAINERS = {"mp4", "mov", "matroska"}


@dataclass(frozen=True)
class Pace:
    """How fast the network is at most, in pixels of the result a second, and on how many cores files are encoded."""

    pixels: float
    cores: int


def keep_pace(target: Target, pace: Pace) -> tuple[Target, Note | None]:
    """The target with an encoder that keeps up, and a note where it is another one, or works faster, than usual.

    The usual encoder while the cores suffice; then the GPU's own, where it holds the layout and works, tried by a
    frame of the result's size; then the slowest preset that keeps up, or the fastest there is.
    """
    speeds = SPEEDS.get(target.rule.name, {})
    usual, needed = next(iter(speeds), ""), pace.pixels / pace.cores
    if not usual or speeds[usual] >= needed:
        return target, None
    why = f"{pace.cores} cores do not keep up with the GPU in {target.rule.name} {usual}"
    hardware = hardware_encoder(target)
    if hardware is not None:
        facts = {"encoder": hardware.name, "preset": None}
        return replace(target, rule=hardware), Note("encoder-chosen", f"{why}: {hardware.name} is used", facts)
    preset = next((name for name, speed in speeds.items() if speed >= needed), list(speeds)[-1])
    facts = {"encoder": target.rule.name, "preset": preset}
    text = f"{why}: its preset {preset} is used, for larger files; to choose: --preset"
    return replace(target, preset=preset), Note("encoder-chosen", text, facts)


def hardware_encoder(target: Target) -> encoders.EncoderSpec | None:
    """The GPU's encoder for a target; None where it would lose anything, or does not work here."""
    rule = encoders.find_encoder(HARDWARE[target.rule.name])
    layout = target.layout
    held = layout.kind is Kind.YUV and encoders.chroma_name(layout) in rule.chroma and layout.depth in rule.depths
    if not held or layout.alpha or target.mastering or target.hdr10 or target.container not in HARDWARE_CONTAINERS:
        return None
    if target.fields is not None and rule.interlaced is None:
        return None
    works = not encoder_error(executable(), rule.name, layout.pix_fmt, target.size)
    return rule if works else None
