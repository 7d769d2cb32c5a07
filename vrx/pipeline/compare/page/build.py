"""The page: its parts, style and script in one document that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import cast

import torch

import vrx
from vrx.errors import OutputError, UsageError, VrxError
from vrx.files import path_exists, replace_file
from vrx.media import ffmpeg
from vrx.media.atomic import write_error
from vrx.pipeline.addresses import refuse_address_to_write
from vrx.pipeline.compare.excerpt import Excerpt
from vrx.pipeline.compare.page import sections
from vrx.pipeline.compare.page.markup import Markup, element, joined
from vrx.pipeline.compare.page.plots import plots
from vrx.pipeline.compare.results import Comparison, FrameTable
from vrx.pipeline.compare.tables import Report

SUFFIXES = {".html", ".htm"}


def check_path(path: Path, sources: Sequence[Path], overwrite: bool) -> None:
    """Refuse, before any work, a page that cannot be written or would replace something.

    Raises UsageError, and OutputError where its folder is missing.
    """
    refuse_address_to_write(str(path), "--html")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} is not a name of a page", "Let it end in .html")
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "Give a file that ends in .html")
    if any(source.exists() and path.exists() and source.samefile(path) for source in sources):
        raise UsageError(f"{path} is one of the inputs", "Give another name to --html")
    if path_exists(path) and not overwrite:
        raise UsageError(f"{path} exists", "Replace it with -y, or give another name")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: no such folder", "Make it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot write {path}: its folder is read-only", "Give another name to --html")


def write(found: Comparison, path: Path, names: Sequence[str], command: str) -> None:
    """The page of a comparison into a file, in one step.  Raises OutputError."""
    content = build(found, names, command).encode()
    try:
        with replace_file(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise write_error(path, error) from error


def build(found: Comparison, names: Sequence[str], command: str) -> str:
    """A comparison under names of its videos as HTML; `command` is shown as what made it."""
    report = Report(found, tuple(names))
    drawn, data = plots(report, cast(FrameTable, found.frames))
    over_time = [sections.section("Over time", "time", cursor(data), drawn)] if len(found.frames) > 1 else []
    body = [
        element("header", element("h1", title(names)), sections.videos(found, names)),
        element(
            "main",
            sections.section("Result", "result", sections.figures(report)),
            sections.stills(found, names),
            sections.video(found, names),
            *over_time,
            sections.profile(found, names) if len(found.frames) > 1 else "",
            sections.scenes(report),
            sections.about(found, command, versions()),
        ),
        *blocks(found, data),
        element("script", Markup(asset("script.js"))),
    ]
    language = element("html", head(title(names)), element("body", *body), lang="en")
    return f"<!doctype html>\n{language}\n"


def title(names: Sequence[str]) -> str:
    """What the page is about."""
    truth = f", beside the {names[0]}" if len(names) > 2 else ""
    return f"{names[-2]} and {names[-1]} compared{truth}"


def head(name: str) -> Markup:
    """Everything before the body; a policy allows only the page's own style, script, pictures and video."""
    style, script = asset("style.css"), asset("script.js")
    policy = (
        f"default-src 'none'; img-src data:; media-src blob:; style-src {digest(style)}; script-src {digest(script)}"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", name),
        element("style", Markup(style)),
    )


def cursor(data: Mapping[str, object]) -> Markup:
    """What moves a line through all plots at once."""
    columns = len(cast(list[int], data["numbers"]))
    start, end = (cast(list[float], data["times"])[place] for place in (0, -1))
    hint = (
        f"From {start:.2f} to {end:.2f} s, cuts dotted; the numbers are means. "
        "Move over a plot, or move this slider with the arrow keys, to read those of a frame."
    )
    place = element("output", data_role="place")
    slider = element("input", type="range", min=0, max=columns - 1, value=0, step=1, id="cursor", aria_label="Frame")
    return joined(element("p", hint, class_="hint"), element("p", slider, place, class_="controls cursor-row"))


def blocks(found: Comparison, data: Mapping[str, object]) -> list[Markup]:
    """What the script reads: numbers of the plots, and the video."""
    excerpt, result = found.excerpt, []
    if isinstance(excerpt, Excerpt):
        facts = {"size": excerpt.size, "times": excerpt.times, "first": excerpt.first, "start": float(excerpt.start)}
        data = {**data, "excerpt": facts}
        content = base64.b64encode(excerpt.content).decode()
        result.append(element("script", Markup(content), type="text/plain", id="clip"))
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return [*result, element("script", Markup(text), type="application/json", id="data")]


def versions() -> dict[str, str]:
    """What took part in the figures."""
    try:
        program = ffmpeg.version(ffmpeg.executable())
    except VrxError:
        program = "none"
    return {
        "vrx": vrx.__version__,
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "PyAV": version("av"),
        "ffmpeg": program,
    }


@cache
def asset(name: str) -> str:
    """A file beside this one."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def digest(content: str) -> str:
    """How a policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
