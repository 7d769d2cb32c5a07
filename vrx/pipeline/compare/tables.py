"""A comparison as rows of tables, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vrx.models.embedded.damage import describe
from vrx.pipeline.compare.measuring import FRAME_FIGURES, MEASURES, Figures
from vrx.pipeline.compare.results import Comparison

SCENE_FIGURES = ("psnr", "ssim", "warp")

Rows = tuple[tuple[str, ...], list[tuple[Any, ...]]]  # the header, and rows of as many cells


def cell(name: str, figures: Figures) -> str:
    """A figure as text; a dash where there is none."""
    value = getattr(figures, name)
    return "-" if value is None else f"{value:.{MEASURES[name].digits}f}"


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
        """Every figure that some video has, or should: its name, the videos' means, the unit or why it is missing."""
        means = self.found.overall
        rows = []
        for name, measure in MEASURES.items():
            lacking = f"not measured: {self.found.missing[name]}" if name in self.found.missing else ""
            if lacking or any(getattr(figures, name) is not None for figures in means):
                rows.append((name, *(cell(name, figures) for figures in means), lacking or measure.unit))
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

    def damage(self, scene: int) -> dict[str, str]:
        """What was found in a scene, counted from 0, in words, by the names of the videos."""
        found = self.found.damage[scene] if scene < len(self.found.damage) else ()
        return {name: describe(damage) or "clean" for name, damage in zip(self.names, found, strict=False)}

    def damages(self) -> Rows:
        """What was found in every scene, counted from 1, in words."""
        rows = [(scene + 1, *self.damage(scene).values()) for scene in range(len(self.found.damage))]
        return ("scene", *self.names), rows

    def frames(self) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
        """A row for every frame and video, for CSV: numbers, empty where there is none."""
        return ("frame", "seconds", "scene", "video", *FRAME_FIGURES), self._frame_rows()

    def _frame_rows(self) -> Iterator[tuple[Any, ...]]:
        for frame in self.found.frames:
            for name, figures in zip(self.names, frame.figures, strict=True):
                values = ("" if v is None else v for v in (getattr(figures, figure) for figure in FRAME_FIGURES))
                yield (frame.number, float(frame.time), frame.scene + 1, name, *values)

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
            yield {"type": "scene", "scene": scene, **by_name(means, self.names), "damage": self.damage(scene - 1)}
        overall = by_name(found.overall, self.names)
        yield {"type": "overall", "frames": len(found.frames), **overall, "missing": dict(found.missing)}
