"""The parts of a page about a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from vrx.pipeline.compare.excerpt import Excerpt
from vrx.pipeline.compare.measuring import MEASURES
from vrx.pipeline.compare.page.images import SIDE, data_address, fitted
from vrx.pipeline.compare.page.markup import Markup, element, joined
from vrx.pipeline.compare.pictures import most_different
from vrx.pipeline.compare.results import Comparison, Shot
from vrx.pipeline.compare.tables import Report, cell

MOST_SCENES = 200  # rows of the table
DAMAGE_HINT = "Damage that vrx finds in the first frames of a scene, at the size they have in the file: an estimate."
ZOOMS = {"1": "fit", "2": "2 times", "4": "4 times", "8": "8 times"}
SPEEDS = {"1": "normal speed", "0.5": "half speed", "0.25": "quarter speed"}


def section(title: str, identity: str, *children: str) -> Markup:
    """A part of the page under a heading."""
    return element("section", element("h2", title), *children, id=identity, aria_label=title)


def videos(found: Comparison, names: Sequence[str]) -> Markup:
    """Which file is called what."""
    rows = []
    for number, (name, video) in enumerate(zip(names, found.videos, strict=True)):
        size = f"{video.size[0]}x{video.size[1]}"
        path = element("span", PurePath(video.path).name, title=video.path, class_="path")
        rows.append(
            element("li", element("span", name, class_=f"key v{number}"), " ", path, " ", element("small", size))
        )
    return element("ul", *rows, class_="videos")


def figures(report: Report) -> Markup:
    """The means over all frames, the better of two marked, and what was not measured."""
    found, names = report.found, report.names
    rows = [figure_row(found, name) for name in MEASURES if is_shown(found, name)]
    header = element("tr", element("th", "Figure", scope="col"), *(column(n, v) for v, n in enumerate(names)))
    marked = element("p", "Bold: the better of the two.", class_="hint") if len(names) > 2 else ""
    return joined(scrolled("Means over all frames", element("thead", header), element("tbody", *rows)), marked)


def is_shown(found: Comparison, name: str) -> bool:
    """Whether a figure was measured, or should have been."""
    return name in found.missing or any(getattr(means, name) is not None for means in found.overall)


def figure_row(found: Comparison, name: str) -> Markup:
    """The means of one figure; where some or all are missing, why."""
    measure, best = MEASURES[name], best_video(found, name)
    reason = f"not measured: {found.missing[name]}" if name in found.missing else ""
    measured = any(getattr(means, name) is not None for means in found.overall)
    notes = [element("small", words) for words in (measure.unit, reason if measured else "") if words]
    title = element("th", measure.title, *notes, scope="row", title=measure.meaning)
    if not measured:
        return element("tr", title, element("td", reason, colspan=len(found.videos), class_="lacking"))
    values = [cell(name, means) for means in found.overall]
    shown = (element("b", value) if number == best else value for number, value in enumerate(values))
    return element("tr", title, *(element("td", value) for value in shown))


def column(name: str, video: int) -> Markup:
    """The heading of a video's column."""
    return element("th", element("span", name, class_=f"key v{video}"), scope="col")


def best_video(found: Comparison, name: str) -> int | None:
    """Which of the last two videos is better by a figure; None where neither is, or only one is measured."""
    better = MEASURES[name].better
    one, other = (getattr(means, name) for means in found.overall[-2:])
    if len(found.videos) < 3 or not better or one is None or other is None:
        return None
    shown = [cell(name, means) for means in found.overall[-2:]]
    if shown[0] == shown[1]:
        return None
    return len(found.videos) - (2 if (one > other) == (better > 0) else 1)


def scrolled(label: str, *rows: str) -> Markup:
    """A table that scrolls sideways where it is wider than the page."""
    table = element("table", *rows)
    return element("div", table, class_="scrolled", tabindex=0, role="region", aria_label=label)


def choice(label: str, role: str, options: Mapping[str, str], chosen: str) -> Markup:
    """A list to choose from."""
    listed = [element("option", words, value=value, selected=value == chosen) for value, words in options.items()]
    return element("label", label, " ", element("select", *listed, data_role=role))


def sides(names: Sequence[str]) -> Markup:
    """What is left and right of a divider: the last two videos at first."""
    options = {str(number): name for number, name in enumerate(names)}
    left, right = str(len(names) - 2), str(len(names) - 1)
    return joined(choice("Left", "left", options, left), choice("Right", "right", options, right))


def divider(label: str) -> Markup:
    """A divider for pointer, touch and arrow keys: a range input over the picture, and what it looks like."""
    hint = f"{label}: position of the divider, in percent from the left"
    handle = element("input", type="range", min=0, max=100, step=0.5, value=50, class_="divider", aria_label=hint)
    return joined(handle, element("span", class_="handle", aria_hidden="true"))


def stills(found: Comparison, names: Sequence[str]) -> Markup:
    """The frames that differ most, each under a divider."""
    parts = [still(shot, names) for shot in found.shots]
    hint = "Move the divider by pointer or finger, or with the arrow keys once it has the focus."
    return section("Pictures", "stills", element("p", hint, class_="hint"), *parts)


def still(shot: Shot, names: Sequence[str]) -> Markup:
    """One frame of all videos; zooming shows the part where the last two differ most."""
    rows, columns = most_different(shot)
    height, width = shot.pictures[0].shape[-2:]
    across, down = (100 * (part.start + part.stop) / 2 / side for part, side in ((columns, width), (rows, height)))
    pictures = []
    for number, (name, colors) in enumerate(zip(names, shot.pictures, strict=True)):
        picture = fitted(colors)
        image = element(
            "img",
            src=data_address(picture),
            width=picture.shape[1],
            height=picture.shape[0],
            alt=f"{name}, frame {shot.number}",
        )
        pictures.append(element("div", image, class_="layer", data_video=number))
    label = f"Frame {shot.number}"
    stage = element("div", *pictures, divider(label), class_="stage", data_x=round(across, 2), data_y=round(down, 2))
    where = f"where {names[-2]} and {names[-1]} differ most in it"
    words = f"{label}, {float(shot.time):.3f} s, scene {shot.scene + 1}: {where}"
    zoom = choice("Zoom", "zoom", ZOOMS, "1")
    caption = element("figcaption", element("span", words), element("span", sides(names), zoom, class_="controls"))
    return element("figure", stage, caption, class_="still", data_slider=True)


def video(found: Comparison, names: Sequence[str]) -> Markup:
    """The excerpt under a divider, all videos in step as they are one; else why there is none."""
    excerpt = found.excerpt
    if not isinstance(excerpt, Excerpt):
        return section("Video", "video", element("p", f"No video: {excerpt}.", class_="hint"))
    width, height = excerpt.size
    start, end = float(excerpt.start), float(excerpt.start) + excerpt.times[-1]
    label = f"Video of {' and '.join(names)}"
    canvas = element("canvas", width=width, height=height, role="img", aria_label=label)
    stage = element("div", canvas, divider("Video"), class_="stage")
    seek = element(
        "input", type="range", min=0, max=len(excerpt.times) - 1, step=1, value=0, data_role="seek", aria_label="Frame"
    )
    buttons = [
        element("button", words, type="button", data_role=role, aria_label=spoken)
        for role, words, spoken in (
            ("play", "Play", "Play"),
            ("back", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}", "One frame back"),
            ("forward", "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}", "One frame forward"),
        )
    ]
    words = element("output", data_role="place")
    row = element("span", *buttons, seek, words, class_="controls transport")
    controls = element("span", sides(names), choice("Speed", "speed", SPEEDS, "1"), class_="controls")
    figure = element(
        "figure", stage, element("figcaption", row, controls), data_slider=True, class_="clip", hidden=True
    )
    failed = "This browser does not play the video (H.264). The pictures above show the same."
    where = f"where {names[-2]} and {names[-1]} differ most"
    said = f"{start:.2f} to {end:.2f} s, {where}; compressed for this page, {width}x{height}."
    return section(
        "Video",
        "video",
        element("p", said, class_="hint"),
        figure,
        element("p", failed, class_="hint", id="no-video"),
    )


def profile(found: Comparison, names: Sequence[str]) -> Markup:
    """The middle row of pixels over time."""
    pictures = []
    for name, rows in zip(names, found.profile, strict=True):
        picture = fitted(rows.permute(2, 0, 1).float() / 255)
        image = element(
            "img",
            src=data_address(picture),
            width=picture.shape[1],
            height=picture.shape[0],
            alt=f"{name}, middle row over time",
        )
        pictures.append(element("figure", image, element("figcaption", name)))
    hint = "The middle row of every frame, one below the other: steady content draws lines, flicker tears them."
    inside = joined(element("p", hint, class_="hint"), element("div", *pictures, class_="profile"))
    return element("details", element("summary", "Middle row over time"), inside)


def scenes(report: Report) -> Markup:
    """Damage and figures of every scene."""
    found = report.found
    header, rows = report.scenes()
    shown = rows[:MOST_SCENES]
    parts = [element("p", DAMAGE_HINT, class_="hint"), damage(report)] if found.damage else []
    if len(rows) > 1:
        titles = [element("th", name, scope="col") for name in header]
        body = [element("tr", *(element("td", str(value)) for value in row)) for row in shown]
        head = element("thead", element("tr", *titles))
        parts += [element("h3", "Figures"), scrolled("Figures of scenes", head, element("tbody", *body))]
    if len(rows) > MOST_SCENES:
        parts.append(element("p", f"{len(rows) - MOST_SCENES} more scenes are in the output of --json.", class_="hint"))
    return section("Scenes and damage", "scenes", *parts)


def damage(report: Report) -> Markup:
    """What was found in every scene of every video."""
    header = [element("th", "Scene", scope="col"), *(column(name, v) for v, name in enumerate(report.names))]
    rows = []
    for number in range(min(len(report.found.damage), MOST_SCENES)):
        words = report.damage(number).values()
        rows.append(
            element("tr", element("th", str(number + 1), scope="row"), *(element("td", word) for word in words))
        )
    return scrolled("Damage of scenes", element("thead", element("tr", *header)), element("tbody", *rows))


def about(found: Comparison, command: str, versions: Mapping[str, str]) -> Markup:
    """How the page was made, what its figures mean, and what was left out of it."""
    notes = [element("li", note.text) for note in found.notes]
    lines = [joined(element("dt", name), element("dd", version)) for name, version in versions.items()]
    measured = [name for name in MEASURES if any(getattr(means, name) is not None for means in found.overall)]
    meanings = [joined(element("dt", MEASURES[n].title), element("dd", MEASURES[n].meaning)) for n in measured]
    limits = (
        f"Figures are of the full frames. Pictures here are JPEG, {SIDE} pixels wide or high at most; HDR is shown "
        "as a usual screen can show it."
    )
    return section(
        "How it was made",
        "about",
        element("ul", *notes, class_="notes") if notes else "",
        element("pre", element("code", command), tabindex=0, aria_label="Command"),
        element("dl", *lines, class_="versions"),
        element("details", element("summary", "What the figures mean"), element("dl", *meanings)),
        element("p", limits, class_="hint"),
    )
