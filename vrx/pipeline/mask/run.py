"""Looking through a video for what does not belong to it, and writing a mask of that: two passes, forward.

Memory does not grow with the length: a few pictures, and of each overlay its edges.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vrx.errors import InputError, OutputError, UsageError
from vrx.events import Note, Watcher, ignore
from vrx.media.file_types import is_pattern, sequence_stem
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.media.masks import FOUND_TITLE
from vrx.media.read import Reader, Span
from vrx.media.signals import defer_signals
from vrx.media.write import Writer
from vrx.pipeline import paths, pictures
from vrx.pipeline.addresses import refuse_address_to_write
from vrx.pipeline.clashes import refuse_clashes
from vrx.pipeline.inputs import to_path
from vrx.pipeline.mask.finds import FINDABLE, Find, MaskResult
from vrx.pipeline.mask.outliers import OutlierFinder, Spots
from vrx.pipeline.mask.overlay import Overlay
from vrx.pipeline.mask.overlays import OverlayFinder
from vrx.pipeline.mask.picture import MaskPicture
from vrx.pipeline.mask.pixels import DeadPixelFinder
from vrx.pipeline.mask.reading import Reading
from vrx.pipeline.mask.samples import Area, Luma, Sampler
from vrx.pipeline.mask.standing import Standing, StandingFinder, StandingMask
from vrx.pipeline.mask.tally import SpotTally
from vrx.pipeline.mask.tints import to_tints
from vrx.pipeline.resume.workspace import claim
from vrx.pipeline.video import make_plain_target
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task, check_number

SUFFIX = ".mkv"  # FFV1, as a mask's edges must stay as they are
BESIDE = 2  # frames before and after those that show an overlay, in which it may fade in or out
GRAY = Layout(Kind.GRAY, 8)
NEAR_OVERLAY = 15  # pixels around an overlay, in which dots are parts of it, not dead pixels
MOST_GROWTH = 64  # pixels
LEAST_SIDE = 16  # pixels of a picture


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """What is looked for (`finds.FINDABLE`), and by how many pixels finds are grown (0 to 64).

    `write_empty`: a mask is written where nothing was found, too.  `stream`: the number of the video stream, None for
    the one that players choose.  `overwrite`: files that exist are replaced.  `fps` of numbered pictures, None for 24.
    Raises UsageError.
    """

    kinds: frozenset[str] = frozenset(FINDABLE)
    grow: int = 1
    write_empty: bool = False
    stream: int | None = None
    overwrite: bool = False
    fps: Fraction | None = None

    def __post_init__(self) -> None:
        check_number("grow", self.grow, int)
        if not 0 <= self.grow <= MOST_GROWTH:
            raise UsageError(f"--grow {self.grow} is out of range", f"Use 0 to {MOST_GROWTH} pixels")


@dataclass
class Finds:
    """What the first pass found: overlays, upright lines among them, dead pixels [H, W], whether there is dust or
    scratches that come and go, scratches that stay while the picture moves, whether the scene is so `still` that what
    stays cannot be told from it, and how many overlays were told by their look alone.
    """

    overlays: list[Overlay]
    pixels: Area
    pixel_count: int
    dust: bool
    scratches: bool
    standing: list[Standing]
    frames: int
    still: bool
    by_look: int

    @property
    def spots(self) -> bool:
        """Whether frames are to be looked through for spots."""
        return self.dust or self.scratches

    def __bool__(self) -> bool:
        return bool(self.overlays or self.pixel_count or self.spots or self.standing)


def make_mask(name: str | Path, target: Path | None, settings: MaskSettings, watch: Watcher = ignore) -> MaskResult:
    """Find what does not belong to a video, and write a mask of it, beside the video unless `target` names a file.

    `watch` gets `progress`, of both times that the video is read.  Raises UsageError, InputError and OutputError.
    """
    if str(name) == "-":
        raise UsageError("a mask needs a file, as it is read twice", "Save standard input to a file first")
    source = to_path(name)
    notes: list[Note] = []
    stem = sequence_stem(source) if is_pattern(source) else source.stem
    path = target or source.with_name(f"{stem}.mask{SUFFIX}")
    check(source, path, settings)
    progress = Reading(source, watch)
    found = look_through(source, settings, notes, progress)
    if found.still and settings.kinds & {"overlays", "pixels"}:
        text = (
            f"{source}: the picture hardly moves: what is shown all the time looks like a part of the scene. "
            "Mark it yourself: draw a picture for vrx inpaint --mask, or give it --box X,Y,W,H"
        )
        notes.append(Note("still-picture", text, {}, "warning"))
    if found.by_look:
        text = (
            f"{source}: the picture hardly moves, so logos near its corners were found by their look alone, and may be "
            "lettering of the scene. Check the picture of the mask before you fill"
        )
        notes.append(Note("found-by-look", text, {"count": found.by_look}, "warning"))
    if not found and not settings.write_empty:
        return MaskResult((), found.frames, None, None, tuple(notes))
    record, picture = write_mask(source, path, found, settings, progress)
    shown = None
    if picture is not None:
        (shown,) = pictures.save({path.with_suffix(".png"): picture}, settings.overwrite)
    return MaskResult(tuple(record.finds()), found.frames, path, shown, tuple(notes))


def check(source: Path, path: Path, settings: MaskSettings) -> None:
    """Refuse names that cannot be written to, before work.  Raises UsageError and OutputError."""
    refuse_address_to_write(str(path))
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"cannot write a mask as {path.name}", f"Use a name that ends in {SUFFIX}: it is lossless")
    output = OutputSettings(path=str(path), overwrite=settings.overwrite)
    restore = RestoreSettings(task=Task.DEBLUR)  # any: what is read and written is looked at, not what is done
    job = Job(source=str(source), model=ModelSettings(), restore=restore, selection=SelectionSettings(), output=output)
    files = [paths.Destination(path), paths.Destination(path.with_suffix(".png"))]
    for destination in files:
        refuse_clashes([(job, destination)])
        paths.check_folder(destination)
        paths.check_kind(destination)
        if destination.existing() and not settings.overwrite:
            raise OutputError(f"{destination.path} exists", "Replace it with -y, or name another file with -o")


def open_video(source: Path, settings: MaskSettings, notes: list[Note]) -> Reader:
    """The video, upright.  Raises InputError."""
    reader = Reader(source, Span(stream=settings.stream, fps=settings.fps), notes.append)
    if reader.info.still and not is_pattern(source):
        reader.__exit__()
        raise InputError(
            f"cannot make a mask of {source}: it is a picture",
            "Draw it, or use --box: only a video shows what stays and what moves",
        )
    reader.make_upright()
    if min(reader.size) < LEAST_SIDE:
        reader.__exit__()
        width, height = reader.size
        raise InputError(
            f"cannot make a mask of {source}: {width}x{height} pixels are too few to find anything in",
            f"Use a video of at least {LEAST_SIDE}x{LEAST_SIDE}",
        )
    return reader


def to_luma(frame: Frame) -> Luma:
    """Luma of 8 bits, as stored."""
    planes, depth = frame.planes, frame.layout.depth
    if frame.layout.kind is Kind.RGB:
        red, green, blue = (plane.astype(np.uint32) for plane in planes[:3])
        return ((2 * red + 5 * green + blue) >> (depth - 5)).astype(np.uint8)
    return (planes[0] >> (depth - 8)).astype(np.uint8)


def look_through(source: Path, settings: MaskSettings, notes: list[Note], progress: Reading) -> Finds:
    """The first pass."""
    with open_video(source, settings, notes) as reader:
        kinds = settings.kinds
        overlays, pixels = OverlayFinder(reader.size), DeadPixelFinder(reader.size)
        tally, sampler, standing = SpotTally(reader.size), Sampler(), StandingFinder(reader.size)
        for frame, luma, spots in spots_of(reader, bool(kinds & {"dust", "scratches"}), progress):
            time = frame.time - reader.origin
            tally.add(spots.centers, spots.lines)
            if "scratches" in kinds:
                standing.add(luma)
            if sampler.is_next(time):
                overlays.add(luma, time, to_tints(frame, reader.size))
                pixels.add(luma)
        found, lines = overlays.finish(), standing.finish()
        covered = np.zeros(reader.size[::-1], bool)
        for line in lines:
            covered[:, int(line.left) : int(line.right) + 1] = True
        for overlay in found:
            place(overlay, covered)
        covered = cv2.dilate(covered.astype(np.uint8), np.ones((2 * NEAR_OVERLAY + 1,) * 2, np.uint8)) > 0
        dead, count = (
            pixels.finish(covered, overlays.persistence.usual) if "pixels" in kinds else (np.zeros_like(covered), 0)
        )
        wanted = [x for x in found if ("scratches" if x.upright else "overlays") in kinds]
        dust, scratches = "dust" in kinds and tally.has_dust, "scratches" in kinds and tally.has_scratches
        by_look = sum(any(x is other for other in overlays.by_look) for x in wanted)
        still = overlays.is_still and not by_look
        return Finds(wanted, dead, count, dust, scratches, lines, tally.frames, still, by_look)


def spots_of(reader: Reader, wanted: bool, progress: Reading) -> Iterator[tuple[Frame, Luma, Spots]]:
    """Every frame with its luma and its spots: one frame late, and none in the first and the last one."""
    finder, window = OutlierFinder(reader.size), deque[tuple[Frame, Luma]](maxlen=3)
    for frame in progress.frames(reader):
        window.append((frame, to_luma(frame)))
        if len(window) == 1:
            continue
        middle = window[-2]
        whole = wanted and len(window) == 3
        yield *middle, finder.find(*(luma for _, luma in window)) if whole else Spots.none(middle[1].shape)
    yield *window[-1], Spots.none(window[-1][1].shape)


def place(overlay: Overlay, mask: Area) -> None:
    """Mark an overlay in a mask."""
    height, width = overlay.area.shape
    mask[overlay.top : overlay.top + height, overlay.left : overlay.left + width] |= overlay.area


@dataclass
class Shown:
    """When something was masked, where, and how often."""

    start: Fraction
    end: Fraction
    frames: int = 0
    count: int = 0
    box: tuple[int, int, int, int] | None = None

    def add(self, time: Fraction, count: int, box: tuple[int, int, int, int]) -> None:
        """One more frame; a box is left, top, right and bottom."""
        self.start, self.end = min(self.start, time), max(self.end, time)
        self.frames, self.count = self.frames + 1, self.count + count
        old = self.box or box
        self.box = min(old[0], box[0]), min(old[1], box[1]), max(old[2], box[2]), max(old[3], box[3])


@dataclass
class Record:
    """What the second pass masked."""

    shown: dict[tuple[str, int], Shown] = field(default_factory=dict)

    def add(self, key: tuple[str, int], time: Fraction, area: Area, count: int) -> None:
        """A frame with `count` of a kind, or of overlay number `key[1]` of it, in an area [H, W]."""
        rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
        if not rows.size:
            return
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        self.shown.setdefault(key, Shown(time, time)).add(time, count, box)

    def finds(self) -> Iterator[Find]:
        """In the order of time."""
        for (kind, _), shown in sorted(self.shown.items(), key=lambda item: (item[1].start, item[0])):
            left, top, right, bottom = shown.box or (0, 0, 0, 0)
            box = (left, top, right - left, bottom - top)
            single = kind in ("overlay", "timecode", "line", "scratch")
            yield Find(kind, box, shown.start, shown.end, shown.frames, 1 if single else shown.count)


@dataclass
class Pending:
    """A frame whose mask waits for the frames after it."""

    number: int
    frame: Frame
    luma: Luma
    spots: Spots
    shown: frozenset[int]


def write_mask(
    source: Path, path: Path, found: Finds, settings: MaskSettings, progress: Reading
) -> tuple[Record, NDArray[np.uint8] | None]:
    """The second pass: the mask as a video with the frames and times of the source, and a picture of it."""
    record, picture = Record(), MaskPicture(found.frames)
    with ExitStack() as stack:
        reader = stack.enter_context(open_video(source, settings, []))
        base = make_plain_target(
            path, OutputSettings(path=str(path), codec="ffv1"), reader.size, reader.info.video.rate
        )
        target = replace(
            base,
            layout=GRAY,
            color=Color(full_range=True),
            time_base=reader.info.video.time_base,
            sample_aspect=reader.sample_aspect,
            offset=reader.origin,
            encoder_args=("-metadata:s:0", f"title={FOUND_TITLE}"),
            overwrite=settings.overwrite,
        )
        stack.enter_context(claim(path))
        with defer_signals():
            writer = stack.enter_context(Writer(target))
        standing = StandingMask(reader.size, found.standing)
        for item, shown in settle(frames_with_overlays(reader, found, progress)):
            time = item.frame.time - reader.origin
            mask = draw(item, shown, found, record, time)
            for number, area in standing.draw(item.luma, item.number).items():
                mask |= area
                record.add(("scratch", number), time, area, 1)
            if settings.grow and mask.any():
                kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * settings.grow + 1,) * 2)
                mask = cv2.dilate(mask.astype(np.uint8), kernel) > 0
            planes = (mask.astype(np.uint8) * 255,)
            writer.write(Frame(planes, GRAY, target.color, item.frame.pts, item.frame.time_base))
            picture.add(item.number, f"{float(time):.2f} s", item.frame, mask)
        writer.finish(reader.end_time)
    return record, picture.draw_all()


def frames_with_overlays(reader: Reader, found: Finds, progress: Reading) -> Iterator[Pending]:
    """Every frame with the numbers of the overlays that it shows."""
    for number, (frame, luma, spots) in enumerate(spots_of(reader, found.spots, progress)):
        time = frame.time - reader.origin
        there = (
            n for n, x in enumerate(found.overlays) if x.is_certain(time) or (x.may_be_shown(time) and x.is_shown(luma))
        )
        yield Pending(number, frame, luma, spots, frozenset(there))


def settle(frames: Iterator[Pending]) -> Iterator[tuple[Pending, frozenset[int]]]:
    """Every frame with the overlays that it or one of BESIDE frames around it shows."""
    window = deque[Pending]()
    before = deque[frozenset[int]](maxlen=BESIDE)

    def take() -> tuple[Pending, frozenset[int]]:
        item = window.popleft()
        near = frozenset().union(item.shown, *before, *(other.shown for other in list(window)[:BESIDE]))
        before.append(item.shown)
        return item, near

    for frame in frames:
        window.append(frame)
        if len(window) > BESIDE:
            yield take()
    while window:
        yield take()


def draw(item: Pending, shown: frozenset[int], found: Finds, record: Record, time: Fraction) -> Area:
    """The mask of a frame, before it is grown; what is masked is recorded."""
    mask = found.pixels.copy()
    if found.pixel_count:
        record.add(("dead pixels", 0), time, mask, 0)
        record.shown["dead pixels", 0].count = found.pixel_count
    for number in sorted(shown):
        overlay = found.overlays[number]
        alone = np.zeros_like(mask)
        place(overlay, alone)
        mask |= alone
        record.add(
            ("line" if overlay.upright else "timecode" if overlay.changes else "overlay", number), time, alone, 1
        )
    if found.dust:
        mask |= item.spots.dust
        record.add(("dust", 0), time, item.spots.dust, len(item.spots.centers))
    if found.scratches:
        mask |= item.spots.scratches
        record.add(("scratches", 0), time, item.spots.scratches, item.spots.lines)
    return mask
