"""`vrx models`: the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vrx import api, events
from vrx.cli import options as o
from vrx.cli import render
from vrx.cli.completion import complete_catalogue
from vrx.cli.plain_help import Command
from vrx.cli.progress import ProgressOptions, watcher
from vrx.cli.usage import CommandGroup, end_of_help
from vrx.errors import ModelError
from vrx.files import format_bytes

if TYPE_CHECKING:
    from vrx.pipeline.model_use import ModelUse
    from vrx.weights.catalogue import Entry

app = typer.Typer(
    help="List, download and manage models.",
    epilog=end_of_help("vrx models list", "vrx models pull flashvsr"),
    cls=CommandGroup,
    no_args_is_help=True,
)
FITS = {True: "yes", False: "no", None: "unknown"}
NEXT = {
    "can be downloaded": "vrx models pull {}",
    "download yourself": "vrx models import {} PATH",
    "not published": "vrx models import {} PATH",
}
LICENSE = re.compile(r" \(|,")  # ends the name of a license
UNSHOWN = {"steps", "hours"}  # of a checkpoint's metadata: how it was trained is in `trained`
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A model (vrx models list).", autocompletion=complete_catalogue)
]
Names = Annotated[
    list[str], typer.Argument(metavar="NAME", help="Models (vrx models list).", autocompletion=complete_catalogue)
]


@app.command("list", cls=Command, epilog=end_of_help("vrx models list", "vrx models list --json"))
def list_models(json: o.AsJson = False) -> None:
    """List all models: tasks, size, license, whether one fits this device, state."""
    entries = api.list_models().values()
    if json:
        for entry in entries:
            emit(entry)
        return
    uses = {e.name: api.model_use(e) for e in entries}
    rows = [
        (e.name, ", ".join(e.tasks), at_least(e), LICENSE.split(e.license)[0], *columns(uses[e.name]), state(e))
        for e in entries
    ]
    free = next((use.free for use in uses.values()), None)
    there = f"; {format_bytes(free)} are free here" if free is not None else ""
    title = f"memory: at least, for a result of 1280x720{there}"
    render.emit_table(("model", "tasks", "size", "license", "memory", "fits", "state"), rows, title)


def columns(use: ModelUse) -> tuple[str, str]:
    """What a model takes at least, and whether `--model auto` could choose it here: on a CPU no large one."""
    if not use.available:
        return "-", "-"
    memory = "-" if use.memory is None else format_bytes(use.memory)
    return memory, "slow (CPU)" if use.slow else FITS[use.fits]


def state(entry: Entry) -> str:
    """Whether a model can run; what is wrong with an entry of the catalogue in full."""
    found = api.model_state(entry)
    return f"{found.word}: {found.reason}" if entry.fault else found.word


def at_least(entry: Entry) -> str:
    """The size of a model's files, or of those whose size is known."""
    known = entry.minimum_size
    return f"over {format_bytes(known)}" if known and entry.size is None else format_bytes(entry.size)


def next_steps(entry: Entry) -> list[tuple[str, str]]:
    """How to get a model's missing files."""
    found = api.model_state(entry)
    if entry.fault or found.word not in NEXT:
        return []
    return [("missing", found.reason), ("get it", NEXT[found.word].format(entry.name))]


def emit(entry: Entry) -> None:
    """A model as one JSON line."""
    use = api.model_use(entry)
    state = {"fits": use.fits, "least_memory": use.memory, "state": api.model_state(entry).word}
    render.emit_json({"type": "model", **render.to_json_value(entry), **state})


@app.command("show", cls=Command, epilog=end_of_help("vrx models show embedded", "vrx models show infvsr --json"))
def show(name: Name, json: o.AsJson = False) -> None:
    """Show one model: what it is, its files, and how to get it."""
    (entry,) = api.get_models([name])
    if json:
        emit(entry)
        return
    use = api.model_use(entry)
    rows = [
        ("about", entry.about),
        ("family", entry.family),
        ("tasks", ", ".join(entry.tasks)),
        ("scales", ", ".join(map(str, entry.scales)) or "size unchanged"),
        ("prompt", "yes" if entry.takes_prompt else "no"),
        *((f"--{name}", meaning) for name, meaning in api.model_options(entry).items()),
        *(("note", text) for text in api.model_remarks(entry)),
        ("license", entry.license),
        ("paper", entry.paper or "none"),
        ("source", entry.source),
        ("parameters", f"{entry.parameters:,}" if entry.parameters else "unknown"),
        ("size", at_least(entry)),
        ("memory", f"{columns(use)[0]} at least, for a result of 1280x720"),
        ("fits", columns(use)[1]),
        ("state", state(entry)),
        *next_steps(entry),
    ]
    for part in entry.parts:
        where = part.location if part.downloadable else f"{part.path} ({entry.source})"
        size = format_bytes(part.size) if part.size else "size not known"
        hashed = f"sha256 {part.sha256}" if part.sha256 else "no published hash"
        rows.append(("optional" if part.optional else "part", f"{where}, {size}, {hashed}"))
    rows += [(key, value) for key, value in api.model_metadata(entry).items() if key not in UNSHOWN]
    render.emit_table(("", ""), rows, title=name)


@app.command("pull", cls=Command, epilog=end_of_help("vrx models pull flashvsr", "vrx models pull infvsr --dry-run"))
def pull(
    names: Names,
    everything: Annotated[
        bool, typer.Option("--all", metavar=o.FLAG, help="Optional parts too, such as tiny decoders.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar=o.FLAG, help="Show what would be downloaded and exit.")
    ] = False,
    json: o.AsJson = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", metavar=o.FLAG, help="Show errors and warnings only.")
    ] = False,
) -> None:
    """Download and verify models; interrupted downloads resume."""
    entries = api.get_models(names)
    if dry_run:
        rows = [
            (entry.name, part.role, part.location, format_bytes(part.size), entry.license)
            for entry in entries
            for part in api.missing_parts(entry, everything)
        ]
        report(("model", "part", "from", "size", "license"), rows, json)
        return
    with watcher(render.err_console(), ProgressOptions(quiet=quiet), json) as watch:
        for name in names:
            count = len(api.pull(name, everything, watch))
            text = f"{name}: ready, {count} {'file' if count == 1 else 'files'} verified"
            watch(events.Noted(input=name, code="model-ready", text=text, facts={"files": count}))


@app.command(
    "import", cls=Command, epilog=end_of_help("vrx models import infvsr model.pt", "vrx models import infvsr folder/")
)
def import_checkpoint(
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="A .safetensors, .pt, .pth or .ckpt file, or a folder of such files."),
    ],
    json: o.AsJson = False,
) -> None:
    """Add a checkpoint file you downloaded yourself (checked, converted to safetensors)."""
    rows = [(name, role, str(path)) for role, path in api.import_checkpoint(name, file)]
    report(("model", "part", "file"), rows, json)


@app.command("verify", cls=Command, epilog=end_of_help("vrx models verify infvsr", "vrx models verify infvsr --json"))
def verify(names: Names, json: o.AsJson = False) -> None:
    """Verify the hashes of a model's files on this machine."""
    rows = [(name, role, str(path), "good") for name in names for role, path in present(name, api.verify(name))]
    report(("model", "part", "file", "state"), rows, json)


@app.command("path", cls=Command, epilog=end_of_help("vrx models path embedded", "vrx models path infvsr --json"))
def path(name: Name, json: o.AsJson = False) -> None:
    """Show the paths of a model's files."""
    report(("part", "file"), [(role, str(path)) for role, path in present(name, api.part_paths(name))], json)


def present(name: str, files: dict[str, Path]) -> Iterable[tuple[str, Path]]:
    """The files of a model by role.  Raises ModelError where there are none."""
    if not files:
        raise ModelError(f"no files of {name} on this machine", f"Get it: vrx models show {name}")
    return files.items()


@app.command("rm", cls=Command, epilog=end_of_help("vrx models rm infvsr", "vrx models rm infvsr flashvsr"))
def remove(names: Names, json: o.AsJson = False) -> None:
    """Delete a model's downloads. Shared files and files you added stay."""
    done = [(name, api.remove(name)) for name in names]
    removed = [(name, str(path)) for name, removal in done for path in removal.removed]
    skipped = [(name, str(path), why) for name, removal in done for path, why in removal.skipped]
    if removed:
        report(("model", "removed"), removed, json)
    if skipped:
        report(("model", "not removed", "why"), skipped, json)
    if not removed and not skipped:
        render.note_line(f"no downloads of {', '.join(names)} on this machine")


def report(header: Sequence[str], rows: Sequence[Sequence[str]], json: bool) -> None:
    """Rows as a table, or one JSON object per line."""
    if not json:
        render.emit_table(header, rows)
        return
    for row in rows:
        render.emit_json(dict(zip(header, row, strict=True)))


@app.command(
    "convert",
    cls=Command,
    epilog=end_of_help("vrx models convert folder/ mine.safetensors", "vrx upscale in.mp4 --model mine.safetensors"),
)
def convert(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder with the parts of a model.")],
    target: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write, NAME.safetensors.")],
    json: o.AsJson = False,
) -> None:
    """Combine the parts of a model into one safetensors file for --model."""
    report(("file", "family"), [(str(target), api.convert(folder, target))], json)
