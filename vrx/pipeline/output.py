"""From a job and its open source to everything that decides how the result is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vrx.errors import OutputError, UsageError
from vrx.events import Level, Note, Notify
from vrx.media import data_loss, encoders, hdr10
from vrx.media.color import output_color
from vrx.media.dpx import read_dpx_metadata
from vrx.media.encoders import EncoderSpec
from vrx.media.ffmpeg import encoder_error, executable, has_option
from vrx.media.file_types import is_pattern, sequence_members
from vrx.media.frame import Color, Kind, Layout
from vrx.media.metadata_tags import TagOptions
from vrx.media.orientation import ORIENTATION_CONTAINERS, UPRIGHT
from vrx.media.picture_metadata import fit_metadata, read_metadata
from vrx.media.pixel_formats import refine_layout
from vrx.media.preflight import check_encoder_settings
from vrx.media.probe import SourceInfo
from vrx.media.read import Reader
from vrx.media.remux import StreamSource, remux, use_source
from vrx.media.target import PIPED_PICTURE, Target
from vrx.pipeline import paths
from vrx.pipeline.fields import choose_fields, preserved_fields
from vrx.pipeline.sizing import result_size, size_note
from vrx.pipeline.transfer import Transfer, container_reason, other_streams
from vrx.settings import LIMIT, Job, OutputSettings, SelectionSettings, Task, too_large

FIELD_DEPTHS = encoders.ENCODERS["libx264"].depths
PLAYED = dict.fromkeys((".mp4", ".m4v", ".mov"), ("libx264", "libx265")) | {".webm": ("libvpx-vp9",)}  # in browsers


def prepare_target(
    job: Job, reader: Reader, destination: paths.Destination | None, folder: Callable[[], Path], notify: Notify
) -> Target:
    """The target of a job at its destination (None: standard output); `notify` gets notes about what it cannot hold.

    `folder` makes one for temporary files, where one is needed.  Raises as `make_target`.
    """
    output = None if destination is None else destination.path
    reason = container_reason(job, reader.info, output)
    if reason:
        notify(Note("container-chosen", f"{job.source}: {reason}", level="warning"))
    target = make_target(job, reader, open_stream_source(job, reader, folder), output, notify)
    if destination is None:
        return target
    number = paths.first_number(Path(job.source), job.selection)
    return replace(target, literal=not destination.sequence, first_number=number)


def make_target(job: Job, reader: Reader, copied: StreamSource, output: Path | None, notify: Notify) -> Target:
    """The target of a job; `notify` gets a note for each thing it cannot hold.

    Raises UsageError for an unknown encoder and for options that do not go together, OutputError for an
    encoder that does not work here.
    """
    info = reader.info
    size = result_size(reader.size, job.restore, reader.orientation, reader.sample_aspect)
    if too_large(*size):
        raise UsageError(f"the result would be {size[0]}x{size[1]}, {LIMIT}", "Choose a smaller size")
    for note in size_note(reader.size, size, job.restore):
        notify(note)
    form = output if output is not None or not is_single_picture(info) else Path(PIPED_PICTURE)
    rule, layout, color = choose_picture_format(job, reader, form, notify)
    warn_of_settings(job.output, rule, notify)
    container = paths.container_of(form)
    selection = job.selection
    times = copied_span(selection.start, selection.end, selection.frames, info.video.rate)
    transfer = make_transfer(job, reader, copied, (container, layout), notify)
    carried = transfer.streams()
    light = hdr10_options(transfer, reader, rule.name)
    fields = choose_fields(job, reader, (rule, layout, size), notify)
    target = Target(
        path=output,
        container=container,
        rule=rule,
        layout=layout,
        color=color,
        size=size,
        time_base=info.video.time_base,
        rate=info.video.rate,
        sample_aspect=Fraction(1) if job.restore.square else reader.sample_aspect,
        orientation=reader.orientation,
        source=None if info.still or info.animated else copied.path,
        source_index=copied.video,
        span=None if copied.is_trimmed else add_offset(times, max(Fraction(0), reader.origin - info.start)),
        offset=reader.origin + times[0] if times else Fraction(0),
        copied_streams=carried,
        delay=copied.delay,
        crf=job.output.crf,
        preset=job.output.preset,
        pix_fmt=job.output.pix_fmt,
        threads=job.model.threads,
        encoder_args=job.output.encoder_args,
        mastering=light.x265,
        hdr10=light.options,
        tags=TagOptions() if info.still else transfer.tags(carried),
        overwrite=job.output.overwrite,
        pictures=pictures(info, selection),
        fields=fields,
    )
    warn_of_metadata(job, target, form, notify)
    if names_encoder_settings(job.output):
        check_encoder_settings(target)  # what vrx itself chooses goes together
    return target


def make_transfer(job: Job, reader: Reader, copied: StreamSource, form: tuple[str, Layout], notify: Notify) -> Transfer:
    """The transfer of other streams into a container and layout, `form`; streams that cannot go along are reported."""
    info, (container, layout) = reader.info, form
    others = [] if info.still or info.animated else [s for s in copied.streams if job.output.audio or s.kind != "audio"]
    transfer = Transfer(
        job=job,
        info=info,
        source=copied.path,
        others=others,
        found=reader.side_data(),
        container=container,
        layout=layout,
        notify=notify,
    )
    unrepaired = [f"{name} is dropped: its clock cannot be repaired" for name in copied.losses]
    transfer.warn([data_loss.loss("stream-loss", text) for text in unrepaired])
    return transfer


def names_encoder_settings(output: OutputSettings) -> bool:
    """Whether the user chose anything of the encoder."""
    plain = (output.crf, output.preset, output.pix_fmt) == (None, None, None)
    return output.codec != "auto" or bool(output.encoder_args) or not plain


def warn_of_settings(output: OutputSettings, rule: EncoderSpec, notify: Notify) -> None:
    """Warn of settings that the encoder of a video does not have."""
    if rule.name in encoders.STILL_ENCODERS.values():
        return
    ours = rule.name in encoders.ENCODERS
    unused = ["--crf"] if output.crf is not None and rule.quality is None else []
    unused += ["--preset"] if output.preset is not None and ours and rule.name not in encoders.PRESETS else []
    for option in unused:
        text = f"{rule.name} has no {option}, which changes nothing; for another encoder use --codec"
        notify(Note("encoder-setting-unused", text, {"encoder": rule.name, "option": option}, "warning"))


def is_single_picture(info: SourceInfo) -> bool:
    """Whether a source is a single picture."""
    return info.still and not is_pattern(info.path)


def pictures(info: SourceInfo, selection: SelectionSettings) -> tuple[Path, ...]:
    """The files of the chosen pictures, in the order of the frames that come of them."""
    if not is_pattern(info.path):
        return (info.path,) if info.still or info.animated else ()
    return tuple(sequence_members(info.path)[paths.first_selected(selection) :])


def warn_of_metadata(job: Job, target: Target, form: Path | None, notify: Notify) -> None:
    """Warn of metadata of the first picture that the result cannot hold."""
    if not target.pictures:
        return
    suffix = form.suffix.lower() if form is not None else paths.FALLBACK_SUFFIX
    found = read_metadata(target.pictures[0])
    _, lost = fit_metadata(found, suffix, target.size, target.layout.kind is Kind.GRAY)
    header = read_dpx_metadata(target.pictures[0]) if suffix != ".dpx" else None
    lost += ["time code and film data of the DPX header"] if header is not None and header.industry else []
    if lost:
        text = f"{job.source}: {suffix[1:]} cannot hold its {', '.join(lost)}"
        notify(data_loss.loss("metadata-loss", text, container=suffix[1:]))


def apply_orientation(reader: Reader, output: Path | None, notify: Notify) -> None:
    """Turn the pixels where the result's container has no orientation tag that all players obey."""
    if paths.container_of(output) not in ORIENTATION_CONTAINERS:
        reader.make_upright()
    if reader.applied_orientation != UPRIGHT:
        turn = reader.applied_orientation
        text = f"tagged as {turn}: the pixels are turned instead of tagging the result"
        notify(Note("orientation-applied", text, {"rotation": turn.rotation, "mirrored": turn.mirrored}))


def add_offset(
    times: tuple[Fraction, Fraction | None] | None, first: Fraction
) -> tuple[Fraction, Fraction | None] | None:
    """Times after the first picture as times after the file's start; `first` seconds of sound may lie between."""
    if times is None:
        return None
    return times[0] + first, None if times[1] is None else times[1] + first


def usual_encoder(job: Job, reader: Reader, suffix: str, size: tuple[int, int], fields: bool) -> str:
    """The encoder of a result that none is named for: that of the source's kind, editing or lossless, or what plays.

    `fields`: it has some, which the encoder has to tag.
    """
    usual, codec = encoders.default_encoder(reader.layout, suffix), reader.info.video.codec
    if suffix == ".mov" and codec in encoders.MEZZANINES:
        kept = encoders.MEZZANINES[codec]
        if fields and encoders.ENCODERS[kept].interlaced is None:
            kept = "prores_ks"
        return kept if encoders.fits(encoders.ENCODERS[kept], size) else usual
    if job.output.crf is None and job.output.preset is None:
        layout = reader.layout if reader.transparent else replace(reader.layout, alpha=False)
        lossless = encoders.lossless_encoder(codec, layout, suffix, size)
        if lossless is not None:
            return lossless if not fields or encoders.ENCODERS[lossless].interlaced is not None else "ffv1"
        if suffix == ".mov" and layout.kind is Kind.RGB and layout.depth > 8:
            return "prores_ks"  # programs that edit open no RGB in HEVC
    if fields and usual == "libx265" and reader.layout.depth in FIELD_DEPTHS:
        return "libx264"  # HEVC does without fields
    return usual


def encoder_remark(job: Job, reader: Reader, name: str, suffix: str) -> Iterator[tuple[str, Level]]:
    """What is said, and how loudly, of an encoder that was chosen for a lossless source, or for deep RGB."""
    codec, known = reader.info.video.codec, encoders.LOSSLESS
    if codec in known and name in known:
        what = f"{known[codec]} {'stays' if name == codec else 'becomes'} {known[name]}"
        yield f"{what}, lossless; for a smaller file: --codec {'prores' if suffix == '.mov' else 'h264'}", "info"
    elif name in encoders.STILL_ENCODERS.values():  # how well pictures keep colors is said elsewhere
        return
    elif codec in known and job.output.crf is None and job.output.preset is None:
        yield f"{known[codec]} is lossless, and {name} is not; to keep it so: -o NAME.mkv", "warning"
    elif name == "prores_ks" and reader.layout.kind is Kind.RGB and not reader.layout.alpha:
        yield f"RGB of {reader.layout.depth} bits becomes ProRes 4444; for a smaller file: --codec hevc", "info"


def choose_picture_format(
    job: Job, reader: Reader, output: Path | None, notify: Notify
) -> tuple[EncoderSpec, Layout, Color]:
    """Encoder, layout and color of the result."""
    size = result_size(reader.size, job.restore, reader.orientation, reader.sample_aspect)
    suffix = output.suffix.lower() if output is not None else paths.FALLBACK_SUFFIX
    fields = preserved_fields(job, reader, size) is not None
    usual, plain = (usual_encoder(job, reader, suffix, size, tagged) for tagged in (fields, False))
    name = choose_encoder(job.output, output, usual)
    rule = encoders.find_encoder(name)
    if name == usual != plain and job.output.codec == "auto":
        text = f"{job.source}: source is interlaced: encoded by {usual}, as {plain} cannot tag fields"
        notify(Note("encoder", text, {"encoder": usual}))
    if name == usual and job.output.codec == "auto":
        for text, level in encoder_remark(job, reader, name, suffix):
            notify(Note("encoder", f"{job.source}: {text}", {"encoder": name}, level))
    if name not in encoders.ENCODERS:
        trouble = encoder_error(executable(), name, "yuv420p")
        if trouble:
            raise OutputError(f"the encoder {name} does not work on this machine: {trouble}", "See: vrx doctor")
    source = restored_layout(job, reader, rule)
    if replaces_animation(job, reader, rule, suffix) and source.kind is Kind.RGB:
        text = f"{job.source}: written as yuv420p, which browsers and phones play; --pix-fmt yuv444p keeps finer color"
        notify(Note("pixel-format-chosen", text, {"pix_fmt": "yuv420p"}, "warning"))
        source = Layout(Kind.YUV, source.depth, 1, 1, alpha=source.alpha)
    layout, lost = encoders.choose_layout(source, rule, size, paths.container_of(output))
    if source.kind is Kind.RGB and layout.kind is Kind.YUV and rule.name in PLAYED.get(suffix, ()):
        even = not (size[0] % 2 or size[1] % 2)  # others have no 4:2:0
        lost += ", which few players show; --pix-fmt yuv420p is for all of them" if even else ""
    if lost and job.output.pix_fmt is None:
        notify(data_loss.loss("pixel-format-loss", f"{job.source}: {lost}", pix_fmt=layout.pix_fmt))
    color = output_color(reader.color, (reader.size, size), (reader.layout, layout))
    if reader.layout.kind is layout.kind is Kind.YUV and color.matrix != reader.color.matrix:
        text = f"{job.source}: untagged color matrix, taken for {color.matrix} as players do, and tagged so"
        notify(Note("untagged-color", text, {"matrix": color.matrix}, "warning"))
    return rule, layout, color


def restored_layout(job: Job, reader: Reader, rule: EncoderSpec) -> Layout:
    """The layout of the source, without an alpha that shows nothing and is not wanted.

    When upscaling, with the depth and chroma that were asked for, where they are finer: other tasks leave samples as
    they are.
    """
    layout = reader.layout if reader.transparent or rule.alpha else replace(reader.layout, alpha=False)
    if job.output.pix_fmt is None or job.restore.task is not Task.UPSCALE:
        return layout
    return refine_layout(layout, job.output.pix_fmt)


@dataclass(frozen=True)
class Hdr10Options:
    """Options for HDR10's mastering display and light level: of ffmpeg, or of x265 alone."""

    options: tuple[str, ...] = ()
    x265: tuple[str, ...] = ()


def hdr10_options(transfer: Transfer, reader: Reader, encoder: str) -> Hdr10Options:
    """The options for an encoder; what it or the container cannot carry is reported."""
    light = hdr10.parse_hdr10(reader.mastering)
    options = bool(light) and has_option(executable(), hdr10.OPTION)
    raw = "MASTERING_DISPLAY_METADATA" in reader.mastering
    transfer.warn(data_loss.hdr10_notes(raw, light, (encoder, transfer.container), options))
    transfer.warn(data_loss.side_data_notes(transfer.found, transfer.container))
    if options:
        return Hdr10Options(options=hdr10.ffmpeg_options(light))
    return Hdr10Options(x265=hdr10.x265_parameters(light) if encoder == "libx265" else ())


def replaces_animation(job: Job, reader: Reader, rule: EncoderSpec, suffix: str) -> bool:
    """Whether a result takes the place of a GIF or another moving picture on pages: few players there take 4:4:4."""
    return (
        reader.info.is_animation_format and suffix in PLAYED and rule.name in PLAYED[suffix] and not job.output.pix_fmt
    )


def open_stream_source(job: Job, reader: Reader, folder: Callable[[], Path]) -> StreamSource:
    """Where the other streams are copied from; `folder` makes one for temporary files where one is needed."""
    selection, timeline = job.selection, reader.timeline
    times = copied_span(selection.start, selection.end, selection.frames, reader.info.video.rate)
    if timeline is None or (times is None and timeline.is_continuous):
        return use_source(reader.info, reader.zero)
    if times is not None:
        times = add_offset(times, reader.origin)
    wanted = replace(reader.info, streams=tuple(other_streams(reader.info, job.output.audio)))
    return remux(wanted, timeline, reader.zero, times, folder())


def expected_frames(info: SourceInfo, selection: SelectionSettings) -> int | None:
    """How many frames will come, by the header; None where unknown."""
    if info.still:
        return info.video.frames or 1
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


def choose_encoder(settings: OutputSettings, path: Path | None, automatic_name: str) -> str:
    """The encoder's ffmpeg name.  Raises UsageError for one that is unknown."""
    if path is not None and path.suffix.lower() in encoders.STILL_ENCODERS:
        if settings.codec not in ("auto", encoders.STILL_ENCODERS[path.suffix.lower()]):
            raise UsageError(f"--codec {settings.codec} cannot encode pictures", "Remove --codec")
        return automatic_name
    if settings.codec == "auto":
        return automatic_name
    name = encoders.find_encoder(settings.codec).name
    if name in encoders.STILL_ENCODERS.values():
        raise UsageError(f"{settings.codec} is not a video codec", f"Choose one of {', '.join(encoders.SHORT_NAMES)}")
    return name


def copied_span(
    start: Fraction | None, end: Fraction | None, frames: int | None, rate: Fraction
) -> tuple[Fraction, Fraction | None] | None:
    """Seconds of the source that the other streams are cut to; None where nothing is left out."""
    if start is None and end is None and frames is None:
        return None
    begin = start or Fraction(0)
    limit = end
    if frames is not None and rate:
        by_count = begin + frames / rate
        limit = by_count if limit is None else min(limit, by_count)
    return begin, limit
