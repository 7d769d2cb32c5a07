"""VMAF, which ffmpeg measures from the files, beside the other figures: where it cannot be had, why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vrx.events import Watcher
from vrx.media import ffmpeg
from vrx.pipeline.compare.progress import ProgressReport
from vrx.pipeline.compare.results import FrameTable, Video
from vrx.pipeline.screen import HDR

NAME = "vmaf"
LEAST_FRAMES = 2


def add_vmaf(videos: Sequence[Video], frames: FrameTable, watch: Watcher) -> str:
    """Fill in VMAF of all videos but the first; `watch` gets how far that is.

    Returns why some or all of it is missing, empty if none is.
    """
    reasons = []
    for number, video in enumerate(videos[1:], start=1):
        reason = obstacle(videos[0], video, len(frames))
        if not reason:
            pair = ((Path(videos[0].path), videos[0].stream), (Path(video.path), video.stream))
            try:
                progress = ProgressReport(f"VMAF of {video.path}", len(frames), watch)
                scores = ffmpeg.vmaf(*pair, videos[0].placement.size, progress.report)
                if len(scores) == len(frames):
                    frames.fill(number, NAME, scores)
                else:
                    reason = f"ffmpeg saw {len(scores)} frames of {len(frames)}"
            except ffmpeg.FilterError as error:
                reason = str(error)
        if reason:
            reasons.append(reason)
    return "; ".join(dict.fromkeys(reasons))


def obstacle(first: Video, video: Video, frames: int) -> str:
    """Why ffmpeg cannot measure two files as they are, empty where it can."""
    if {first.transfer, video.transfer} & set(HDR):
        return "its model is for SDR, and this is HDR"
    if video.placement != first.placement:
        return "the pictures are moved or of another part"
    if video.delay or first.left_over or video.left_over:
        return "the videos do not have the same frames"
    return "a single picture" if frames < LEAST_FRAMES else ""
