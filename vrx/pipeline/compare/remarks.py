"""Notes about how videos were brought together, what was left out, and what figures of them mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vrx.events import Fact, Note
from vrx.pipeline.compare.placing import Region
from vrx.pipeline.compare.results import Video
from vrx.pipeline.screen import HDR

OTHER_SHAPE = 0.05  # relative difference of two shapes; those of one tape's pixels, 16:15 and 12:11, are 0.02 apart


def remarks(videos: Sequence[Video], region: Region) -> list[Note]:
    """What was done to bring the videos together, what their figures mean, and what was left out."""
    first = videos[0]
    placed = [note for video in videos for note in placing(video, first, region)]
    ranges = [note for video in videos[1:] for note in dynamic_ranges(video, first)]
    left = [
        Note(
            "frames-left-over",
            f"{video.path}: {video.left_over} {'frame has' if video.left_over == 1 else 'frames have'} no counterpart",
            {"path": video.path, "frames": video.left_over},
        )
        for video in videos
        if video.left_over
    ]
    return [*placed, *{note.text: note for note in ranges}.values(), *left]


def placing(video: Video, first: Video, region: Region) -> Iterator[Note]:
    """How a video was brought to the first one's time, size and place."""
    facts: dict[str, Fact] = {"path": video.path}
    placement = video.placement
    if video.delay:
        early = "early" if video.delay > 0 else "late"
        text = f"{video.path}: its pictures come {abs(video.delay)} frames {early}; compared with those they match"
        yield Note("delay-found", text, {**facts, "frames": video.delay})
    if placement.size != first.placement.size:
        yield Note("compared-part", f"{video.path}: a part of the picture; {describe(region)} are compared", facts)
    elif placement.left or placement.top:
        text = f"{video.path}: moved by {placement.left}, {placement.top} pixels to lie on {first.path}"
        yield Note("shift-found", text, facts)
    if video.size != placement.size:
        width, height = placement.size
        yield Note("compared-resized", f"{video.path}: resized to {width}x{height} for the comparison", facts)
    other_shape = abs(video.shape / first.shape - 1) > OTHER_SHAPE
    if other_shape and video.size != first.size and placement.size == first.placement.size:
        sizes = [f"{each.path} ({each.size[0]}x{each.size[1]})" for each in (first, video)]
        text = f"{' and '.join(sizes)} have pictures of different shapes, and one is stretched: figures mean little"
        yield Note("compared-stretched", text, facts, "warning")


def dynamic_ranges(video: Video, first: Video) -> Iterator[Note]:
    """What figures of HDR mean."""
    if video.transfer == first.transfer and video.transfer in HDR:
        text = f"HDR ({HDR[video.transfer]}): figures are of the coded values, not of light"
        yield Note("hdr-compared", text, {"transfer": video.transfer})
    elif video.transfer != first.transfer and {video.transfer, first.transfer} & set(HDR):
        kinds = f"{video.path} is {dynamic_range(video)}, {first.path} {dynamic_range(first)}"
        text = f"{kinds}: their values mean different light, which figures between them ignore"
        yield Note("transfers-differ", text, {"path": video.path}, "warning")


def describe(region: Region) -> str:
    """A region in words."""
    return f"columns {region.left} to {region.right - 1}, rows {region.top} to {region.bottom - 1}"


def dynamic_range(video: Video) -> str:
    """A video's kind of transfer function in words."""
    return f"HDR ({HDR[video.transfer]})" if video.transfer in HDR else "SDR"
