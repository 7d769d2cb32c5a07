"""Compare two videos, alone or each with the one it should be."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import torch

from vrx import events
from vrx.errors import InputError, UsageError
from vrx.events import Note, Watcher
from vrx.media.color import COEFFICIENTS, resolve_color
from vrx.media.deinterlace import Deinterlace
from vrx.media.file_types import check_numbered, is_pattern
from vrx.media.frame import Kind
from vrx.media.read import Reader, Span
from vrx.metrics.fidelity import LumaScale
from vrx.pipeline.addresses import refuse_address
from vrx.pipeline.compare.pairing import Follower, Leader, Opening, find_delay
from vrx.pipeline.compare.perceptual import Perceptuals
from vrx.pipeline.compare.progress import ProgressReport
from vrx.pipeline.compare.remarks import remarks
from vrx.pipeline.compare.results import Comparison, Video
from vrx.pipeline.compare.vmaf import NAME, add_vmaf
from vrx.pipeline.compare.walk import Walk, WalkSettings
from vrx.pipeline.devices import limit_threads
from vrx.pipeline.inputs import STDIN

RGB_WEIGHTS = COEFFICIENTS["smpte170m"]  # of luma, for pictures that are stored as RGB: as papers have it


@dataclass(frozen=True)
class Reading:
    """What of a video is compared, and how its frames are made whole."""

    span: Span = field(default_factory=Span)
    deinterlace: Deinterlace = Deinterlace.OFF

    def changes(self, reader: Reader) -> bool:
        """Whether other frames come of an open video than are stored in it."""
        whole = self.deinterlace is Deinterlace.AUTO and not reader.interlaced
        made = self.deinterlace is not Deinterlace.OFF and not whole
        return made or replace(self.span, stream=None, fps=None) != Span()


def compare(
    paths: Sequence[Path],
    referenced: bool,
    perceptual: Perceptuals | None = None,
    watch: Watcher = events.ignore,
    readings: Sequence[Reading] = (),
) -> Comparison:
    """Compare videos or pictures; the first is the truth if `referenced`, else the first of two.

    `readings`: one for each where they are not read from end to end as they are stored.
    Memory does not grow with the length, but for a few hundred bytes of figures a frame.  Raises InputError for what
    cannot be read or shows nothing in common.
    """
    notes: list[Note] = []
    perceptual = perceptual or Perceptuals()
    with ExitStack() as stack:
        pool = enter_pool(stack, len(paths))
        readings = readings or [Reading()] * len(paths)
        delays = find_delays(paths, readings)
        readers = [stack.enter_context(open_upright(*pair, notes)) for pair in zip(paths, readings, strict=True)]
        first, *others = readers
        leader = Leader(first)
        followers = [
            Follower(reader, Fraction(delay) / first.info.video.rate)
            for reader, delay in zip(others, delays[1:], strict=True)
        ]
        transfers = tuple(reader.color.transfer for reader in readers)
        walk = Walk(WalkSettings(luma_scale(first), transfers, referenced, perceptual.ready), pool.map)
        total = readings[0].span.frames if readings[0].changes(first) else first.info.estimated_frames
        progress = ProgressReport(str(paths[0]), total, watch)
        for item in leader.pairs(followers):
            walk.add(item)
            progress.report(item.number + 1, walk.scene + 1)
        if not walk.frames:
            raise InputError(f"{paths[0]} and {paths[-1]} have no frames at the same times", "See: vrx info")
        spare = [leader.left_over, *(follower.left_over for follower in followers)]
        sizes = [reader.size for reader in readers]
        aspects = [reader.sample_aspect for reader in readers]
        streams = [reader.info.video.index for reader in readers]
        altered = any(map(Reading.changes, readings, readers))
    found = zip(map(str, paths), streams, sizes, delays, walk.placements, spare, transfers, aspects, strict=True)
    videos = tuple(Video(*values) for values in found)
    obstacles = {measure.name: measure.obstacle(walk.region.size) for measure in perceptual.ready}
    missing = {**perceptual.missing, **{name: reason for name, reason in obstacles.items() if reason}}
    reason = "a part, or frames made of fields" if altered else add_vmaf(videos, walk.frames, watch)
    if reason:
        missing[NAME] = reason
    return Comparison(
        videos,
        referenced,
        walk.region,
        walk.frames,
        (*notes, *remarks(videos, walk.region)),
        missing,
        walk.shots(),
        walk.profile.result(),
        walk.damage.result(),
        walk.excerpt.result(),
    )


def read_at(paths: Sequence[Path], fps: Fraction | None) -> list[Reading]:
    """How videos are read of which some are numbered pictures of a rate.  Raises UsageError where none are."""
    numbered = [is_pattern(path) for path in paths]
    if fps is not None and not any(numbered):
        check_numbered(str(paths[0]), paths[0])
    return [Reading(Span(fps=fps)) if pattern else Reading() for pattern in numbered]


def enter_pool(stack: ExitStack, videos: int) -> ThreadPoolExecutor:
    """A thread for each video, which share the processor: several threads within small operations wait most of it."""
    stack.enter_context(limit_threads(max(1, torch.get_num_threads() // videos)))
    return stack.enter_context(ThreadPoolExecutor(videos, "vrx compare"))


def check_sources(sources: Sequence[str]) -> None:
    """Refuse what cannot be read twice, as finding delays needs it.  Raises UsageError and InputError."""
    for source in sources:
        if source == STDIN:
            raise UsageError("standard input cannot be compared", "Save it to a file first")
        refuse_address(source)


def open_upright(path: Path, reading: Reading, notes: list[Note]) -> Reader:
    """A video whose pictures come as they are shown."""
    reader = Reader(path, reading.span, notes.append, None, reading.deinterlace)
    reader.make_upright()
    return reader


def find_delays(paths: Sequence[Path], readings: Sequence[Reading]) -> list[int]:
    """By how many frames each video's content comes early (above 0) or late; the first has none."""
    openings = []
    for path, reading in zip(paths, readings, strict=True):
        with open_upright(path, reading, []) as reader:
            openings.append(Opening.read(reader))
    return [0, *(find_delay(openings[0], other) for other in openings[1:])]


def luma_scale(reader: Reader) -> LumaScale:
    """The luma that a video has; all others are measured by the same.  Of RGB it is what papers have: BT.601 video."""
    layout = reader.layout
    color = resolve_color(reader.color, layout, reader.size)
    weights = COEFFICIENTS.get(str(color.matrix), RGB_WEIGHTS)
    if layout.kind is Kind.RGB:
        return LumaScale(weights)
    highest = layout.peak / (1 << (layout.depth - 8))  # 255, and a little more of deeper samples
    return LumaScale(weights, 0.0, highest, highest) if color.full_range else LumaScale(weights, peak=highest)
