"""A comparison as rows of tables, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vrx.pipeline.compare.measuring import UNITS, Figures
from vrx.pipeline.compare.results import Comparison

DIGITS = {"ssim": 4, "warp": 3, "tof": 3, "warp_ratio": 2, "flicker": 2, "noise": 1, "sharpness": 2, "vmaf": 1}
USUAL_DIGITS = 2
SCENE_FIGURES = ("psnr", "ssim", "warp")

Rows = tuple[tuple[str, ...], list[tuple[Any, ...]]]  # the header, and rows of as many cells


def cell(name: str, figures: Figures) -> str:
    """A figure as text; a dash where there is none."""
    value = getattr(figures, name)
    return "-" if value is None else f"{value:.{DIGITS.get(name, USUAL_DIGITS)}f}"


def by_name(figures: Sequence[Figures], names: Sequence[str]) -> dict[str, Any]:
    """Figures by the names of the videos, those that there are."""
    known = ({k: v for k, v in asdict(f).items() if v is not None} for f in figures)
    return dict(zip(names, known, strict=True))


@dataclass(frozen=True)
class Report:
    """A comparison under names of its videos."""

    found: Comparison
    names: tuple[str, ...]

    def overall(self) -> Rows:
        """Every figure that some video has: its name, the videos' means, the unit."""
        means = self.found.overall
        known = [name for name in UNITS if any(getattr(figures, name) is not None for figures in means)]
        rows = [(name, *(cell(name, figures) for figures in means), UNITS[name]) for name in known]
        return ("figure", *self.names, "unit"), rows

    def scenes(self) -> Rows:
        """Some figures of every scene, counted from 1."""
        known = [
            (name, number)
            for name in SCENE_FIGURES
            for number in range(len(self.names))
            if getattr(self.found.overall[number], name) is not None
        ]
        header = ("scene", "from frame", *(f"{name} {self.names[number]}" for name, number in known))
        starts = {frame.scene: frame.number for frame in reversed(self.found.frames)}
        rows = [
            (scene + 1, starts.get(scene, "-"), *(cell(name, figures[number]) for name, number in known))
            for scene, figures in enumerate(self.found.scenes)
        ]
        return header, rows

    def frames(self) -> Rows:
        """A row for every frame and video, for CSV: numbers, empty where there is none."""
        rows: list[tuple[Any, ...]] = []
        for frame in self.found.frames:
            for name, figures in zip(self.names, frame.figures, strict=True):
                values = ("" if v is None else v for v in (getattr(figures, figure) for figure in UNITS))
                rows.append((frame.number, float(frame.time), frame.scene + 1, name, *values))
        return ("frame", "seconds", "scene", "video", *UNITS), rows

    def json(self) -> Iterator[dict[str, Any]]:
        """The videos, then every frame, then every scene, then the means over all frames."""
        found = self.found
        for name, video in zip(self.names, found.videos, strict=True):
            yield {
                "type": "video",
                "name": name,
                "path": video.path,
                "size": video.size,
                "compared_size": video.placement.size,
                "left": video.placement.left,
                "top": video.placement.top,
                "delay": video.delay,
                "frames_left_over": video.left_over,
            }
        for frame in found.frames:
            figures = by_name(frame.figures, self.names)
            yield {"type": "frame", "frame": frame.number, "time": frame.time, "scene": frame.scene + 1, **figures}
        for scene, means in enumerate(found.scenes, start=1):
            yield {"type": "scene", "scene": scene, **by_name(means, self.names)}
        yield {"type": "overall", "frames": len(found.frames), **by_name(found.overall, self.names)}
