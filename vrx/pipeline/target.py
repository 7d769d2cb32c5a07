"""From a job and its open source to everything that decides how the result is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vrx.errors import OutputError
from vrx.media import encoders, losses, mastering
from vrx.media.color import written
from vrx.media.companions import Companions, repaired, unchanged
from vrx.media.encoders import EncoderRule
from vrx.media.ffmpeg import can_encode, executable, has_option
from vrx.media.frame import Color, Kind, Layout, Note
from vrx.media.probe import SourceInfo
from vrx.media.read import Reader
from vrx.media.rehearsal import rehearse
from vrx.media.stills import is_pattern, sequence_members
from vrx.media.tags import Tags
from vrx.media.write import Target
from vrx.pipeline import plan as planning
from vrx.pipeline.transfer import Transfer, other_streams
from vrx.settings import Job, SelectionSettings


def make_target(job: Job, reader: Reader, copied: Companions, output: Path | None, note: Note) -> Target:
    """The target of a job; `note` hears in one line each what it cannot hold.

    Raises UsageError for an unknown encoder and for options that do not go together, OutputError for an
    encoder that does not work here.
    """
    info, scale = reader.info, job.restore.scale
    size = (reader.size[0] * scale, reader.size[1] * scale)
    rule, layout, color = picture(job, reader, output, note)
    container = planning.container_of(output)
    selection = job.selection
    times = planning.span_of(selection.start, selection.end, selection.frames, info.video.rate)
    transfer = Transfer(
        job=job,
        info=info,
        source=copied.path,
        others=[] if info.still else [s for s in copied.streams if job.output.audio or s.kind != "audio"],
        found=reader.side_data(),
        container=container,
        layout=layout,
        note=note,
    )
    transfer.tell([f"{stream} is left out: its clock cannot be repaired" for stream in copied.lost])
    carried = transfer.streams()
    light = hdr10(transfer, reader, rule.name)
    target = Target(
        path=output,
        container=container,
        rule=rule,
        layout=layout,
        color=color,
        size=size,
        time_base=info.video.time_base,
        rate=info.video.rate,
        sample_aspect=info.video.sample_aspect,
        rotation=0 if info.still else reader.rotation,
        source=None if info.still else copied.path,
        source_index=copied.video,
        span=None if copied.cut else on_clock(times, max(Fraction(0), reader.origin - info.start)),
        offset=reader.origin + times[0] if times else Fraction(0),
        carried=carried,
        delay=copied.delay,
        crf=job.output.crf,
        preset=job.output.preset,
        pix_fmt=job.output.pix_fmt,
        encoder_args=job.output.encoder_args,
        mastering=light.x265,
        hdr10=light.options,
        tags=Tags() if info.still else transfer.tags(carried),
        overwrite=job.output.overwrite,
    )
    asked = job.output
    if asked.codec != "auto" or asked.encoder_args or (asked.crf, asked.preset, asked.pix_fmt) != (None, None, None):
        rehearse(target)  # what vrx itself chooses goes together
    return target


def on_clock(
    times: tuple[Fraction, Fraction | None] | None, first: Fraction
) -> tuple[Fraction, Fraction | None] | None:
    """Times after the first picture as times after the file's start; `first` seconds of sound may lie between."""
    if times is None:
        return None
    return times[0] + first, None if times[1] is None else times[1] + first


def picture(job: Job, reader: Reader, output: Path | None, note: Note) -> tuple[EncoderRule, Layout, Color]:
    """Encoder, layout and colour of the result."""
    scale = job.restore.scale
    size = (reader.size[0] * scale, reader.size[1] * scale)
    suffix = output.suffix.lower() if output is not None else planning.FALLBACK_SUFFIX
    name = planning.choose_encoder(job.output, output, encoders.automatic(reader.layout, suffix))
    rule = encoders.rule_for(name)
    if name not in encoders.RULES:
        trouble = can_encode(executable(), name, "yuv420p")
        if trouble:
            raise OutputError(f"the encoder {name} does not work here: {trouble}", "See: vrx doctor")
    layout, lost = encoders.output_layout(reader.layout, rule, size)
    if lost:
        note(f"{job.source}: {lost}")
    color = written(reader.color, (reader.size, size), (reader.layout, layout))
    if reader.layout.kind is layout.kind is Kind.YUV and color.matrix != reader.color.matrix:
        note(f"{job.source}: untagged colour is taken for {color.matrix} and tagged so")
    return rule, layout, color


@dataclass(frozen=True)
class Light:
    """How HDR10's mastering display and light level are said: to ffmpeg, or to x265 alone."""

    options: tuple[str, ...] = ()
    x265: tuple[str, ...] = ()


def hdr10(transfer: Transfer, reader: Reader, encoder: str) -> Light:
    """The words for an encoder; what cannot be said to it, or held by the container, is told."""
    light = mastering.parse(reader.mastering)
    options = bool(light) and has_option(executable(), mastering.OPTION)
    raw = "MASTERING_DISPLAY_METADATA" in reader.mastering
    transfer.tell(losses.mastering_lines(raw, light, (encoder, transfer.container), options))
    transfer.tell(losses.side_data_lines(transfer.found, transfer.container))
    if options:
        return Light(options=mastering.input_options(light))
    return Light(x265=mastering.x265_parameters(light) if encoder == "libx265" else ())


def companions_of(job: Job, reader: Reader, folder: Callable[[], Path]) -> Companions:
    """Where the other streams are copied from; `folder` makes one for temporary files where one is needed."""
    selection, timeline = job.selection, reader.timeline
    times = planning.span_of(selection.start, selection.end, selection.frames, reader.info.video.rate)
    if timeline is None or (times is None and timeline.plain):
        return unchanged(reader.info, reader.zero)
    if times is not None:
        times = on_clock(times, reader.origin)
    wanted = replace(reader.info, streams=tuple(other_streams(reader.info, job.output.audio)))
    return repaired(wanted, timeline, reader.zero, times, folder())


def expected_frames(info: SourceInfo, selection: SelectionSettings) -> int | None:
    """How many frames will come, as far as the header tells."""
    if info.still:
        return len(sequence_members(info.path)) if is_pattern(info.path) else 1
    total = info.estimated_frames
    if selection.start is None and selection.end is None:
        return min(total, selection.frames) if total and selection.frames else total
    begin = selection.start or Fraction(0)
    seconds = info.video.duration or info.duration
    end = min(filter(None, (selection.end, seconds)), default=None)
    if end is None:
        return selection.frames
    count = max(0, round((end - begin) * info.video.rate))
    return min(count, selection.frames) if selection.frames else count
