"""Figures over time as lines of SVG, with the numbers that a script shows beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from vrx.pipeline.compare.measuring import FRAME_FIGURES, MEASURES
from vrx.pipeline.compare.page.markup import Markup, element, joined
from vrx.pipeline.compare.results import FrameTable
from vrx.pipeline.compare.tables import Report, cell

COLUMNS = 600  # points of a line, at most: frames share one where there are more
WIDTH, HEIGHT = 600.0, 120.0  # of a plot, in its own units; a page stretches it
MARGIN = 0.06  # of the height, above the largest and below the smallest value
MOST_MARKS = 60  # cuts that are drawn
DIGITS = 4  # significant, of the numbers for the script

Line = list[float | None]


@dataclass(frozen=True)
class Series:
    """One figure of one video: means, smallest and largest value of every column; NaN where there is none."""

    means: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def known(self) -> bool:
        """Whether there is any value."""
        return bool(np.isfinite(self.means).any())


@dataclass(frozen=True)
class Timeline:
    """Frames in columns: of each the number and the time of its first frame; `per_column` frames each."""

    frames: FrameTable
    per_column: int

    @classmethod
    def of(cls, frames: FrameTable) -> Timeline:
        """All frames."""
        return cls(frames, math.ceil(len(frames) / COLUMNS))

    @property
    def starts(self) -> range:
        """Places of the first frames of the columns."""
        return range(0, len(self.frames), self.per_column)

    def series(self, video: int, name: str) -> Series:
        """A figure of a video."""
        values = np.frombuffer(self.frames.column(video, name), np.float64)
        padded = np.full(len(self.starts) * self.per_column, np.nan)
        padded[: len(values)] = values
        rows = padded.reshape(-1, self.per_column)
        known = np.isfinite(rows)
        counts = known.sum(1)
        sums = np.where(known, rows, 0).sum(1)
        means = np.divide(sums, counts, out=np.full(len(rows), np.nan), where=counts > 0)
        low, high = np.where(known, rows, np.inf).min(1), np.where(known, rows, -np.inf).max(1)
        return Series(means, np.where(counts > 0, low, np.nan), np.where(counts > 0, high, np.nan))

    def cuts(self) -> list[int]:
        """Columns in which scenes begin, the first left out."""
        scenes = [self.frames[place].scene for place in self.starts]
        return [column for column in range(1, len(scenes)) if scenes[column] != scenes[column - 1]]

    def x(self, column: float) -> float:
        """Where a column is in a plot."""
        return column / max(1, len(self.starts) - 1) * WIDTH


def plots(report: Report, frames: FrameTable) -> tuple[Markup, dict[str, object]]:
    """A plot for every figure that changes over time, and what the script needs to know of them."""
    timeline = Timeline.of(frames)
    drawn, lines = [], {}
    for name in FRAME_FIGURES:
        series = {v: timeline.series(v, name) for v in range(len(report.names))}
        series = {video: part for video, part in series.items() if part.known}
        if series:
            drawn.append(plot(name, series, timeline, report))
            lines[name] = {str(video): rounded(part.means) for video, part in series.items()}
    firsts = [frames[place] for place in timeline.starts]
    data: dict[str, object] = {
        "numbers": [frame.number for frame in firsts],
        "times": [round(float(frame.time), 3) for frame in firsts],
        "lines": lines,
    }
    return element("div", *drawn, class_="plots"), data


def plot(name: str, series: dict[int, Series], timeline: Timeline, report: Report) -> Markup:
    """One figure of all videos that have it, under its title, with a readout for each."""
    measure, names = MEASURES[name], report.names
    means = {video: cell(name, report.found.overall[video]) for video in series}
    low = min(float(np.nanmin(part.low)) for part in series.values())
    high = max(float(np.nanmax(part.high)) for part in series.values())
    readouts = [
        element("span", names[v], " ", element("output", mean, data_video=v), class_=f"key v{v}")
        for v, mean in means.items()
    ]
    words = ", ".join(f"{names[v]} {mean}" for v, mean in means.items())
    label = f"{measure.title} over time. Means: {words}. From {low:.{measure.digits}f} to {high:.{measure.digits}f}."
    drawing = element(
        "svg",
        *(element("line", x1=x, x2=x, y1=0, y2=HEIGHT, class_="cut") for x in marks(timeline)),
        *(shape for video, part in series.items() for shape in shapes(part, video, timeline, (low, high))),
        element("line", x1=0, x2=0, y1=0, y2=HEIGHT, class_="cursor"),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )
    ends = joined(*(element("span", f"{v:.{measure.digits}f}", class_=c) for v, c in ((high, "high"), (low, "low"))))
    better = {1: "more is better", -1: "less is better", 0: ""}[measure.better]
    title = element("strong", measure.title, title=measure.meaning)
    unit = element("small", ", ".join(filter(None, (measure.unit, better))))
    caption = element("figcaption", title, " ", unit, element("span", *readouts, class_="keys"))
    return element("figure", caption, element("div", drawing, ends, class_="plot"), data_figure=name)


def marks(timeline: Timeline) -> list[float]:
    """Where cuts are drawn; none where they would cover everything."""
    cuts = timeline.cuts()
    return [round(timeline.x(column - 0.5), 1) for column in cuts] if len(cuts) <= MOST_MARKS else []


def shapes(series: Series, video: int, timeline: Timeline, ends: tuple[float, float]) -> list[Markup]:
    """The line of the means; behind it, where frames share columns, the band from smallest to largest value."""
    found = []
    for columns in runs(series.means):
        middle = [(timeline.x(c), y(series.means[c], ends)) for c in columns]
        if timeline.per_column > 1:
            top = [(timeline.x(c), y(series.high[c], ends)) for c in columns]
            bottom = [(timeline.x(c), y(series.low[c], ends)) for c in reversed(columns)]
            found.append(element("path", d=f"M{points(top + bottom)}Z", class_=f"band v{video}"))
        if len(middle) == 1:  # a line needs two ends to be seen
            middle = [(middle[0][0] - 1, middle[0][1]), (middle[0][0] + 1, middle[0][1])]
        found.append(element("polyline", points=points(middle), class_=f"v{video}"))
    return found


def runs(values: NDArray[np.float64]) -> list[list[int]]:
    """Columns that have a value, in groups without a gap."""
    groups = groupby(range(len(values)), key=lambda column: bool(np.isfinite(values[column])))
    return [list(columns) for known, columns in groups if known]


def y(value: float, ends: tuple[float, float]) -> float:
    """The height of a value in a plot from the lowest to the highest one."""
    low, high = ends
    share = (value - low) / (high - low) if high > low else 0.5
    return HEIGHT * (1 - MARGIN - share * (1 - 2 * MARGIN))


def points(places: Sequence[tuple[float, float]]) -> str:
    """Places as SVG has them."""
    return " ".join(f"{across:.1f},{down:.1f}" for across, down in places)


def rounded(values: NDArray[np.float64]) -> Line:
    """Numbers for the script."""
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values.tolist()]
