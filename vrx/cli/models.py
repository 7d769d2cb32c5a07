"""`vrx models`: the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vrx import api, events
from vrx.cli import render
from vrx.cli.progress import Look, watcher
from vrx.errors import ModelError

if TYPE_CHECKING:
    from vrx.weights.catalogue import Entry

app = typer.Typer(help="The models vrx knows.", no_args_is_help=True)
FITS = {True: "yes", False: "no", None: "unknown"}
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command("list")
def list_models(json: AsJson = False) -> None:
    """List all models."""
    entries = api.list_models().values()
    if json:
        for entry in entries:
            emit(entry)
        return
    rows = [
        (
            e.name,
            ", ".join(e.tasks),
            at_least(e),
            e.license.split(" (")[0],
            fits(e),
            state(e),
        )
        for e in entries
    ]
    render.emit_table(("model", "tasks", "size", "license", "fits", "state"), rows)


def state(entry: Entry) -> str:
    """Whether a model can run, in a word; what is wrong with an entry of the catalogue in full."""
    word, why = api.model_state(entry)
    return f"{word}: {why}" if entry.fault else word


def at_least(entry: Entry) -> str:
    """The size of a model's files, or of those whose size is known."""
    known = entry.minimum_size
    return f"over {render.size(known)}" if known and entry.size is None else render.size(entry.size)


def fits(entry: Entry) -> str:
    """Whether `--model auto` could choose a model here: it leaves large ones on a processor to those who name them."""
    if not entry.available:
        return "-"
    return "slow (CPU)" if api.model_is_slow(entry) else FITS[api.model_fits(entry)]


def emit(entry: Entry) -> None:
    """A model as one JSON line."""
    state = {"fits": api.model_fits(entry), "state": api.model_state(entry)[0]}
    render.emit_json({"type": "model", **render.plain(entry), **state})


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="A model's name.")], json: AsJson = False) -> None:
    """Show one model."""
    (entry,) = api.get_models([name])
    if json:
        emit(entry)
        return
    rows = [
        ("what it is", entry.about),
        ("family", entry.family),
        ("tasks", ", ".join(entry.tasks)),
        ("scales", ", ".join(map(str, entry.scales)) or "keeps the size"),
        ("prompts", "yes" if entry.takes_prompt else "no"),
        ("license", entry.license),
        ("paper", entry.paper or "none"),
        ("comes from", entry.source),
        ("parameters", f"{entry.parameters:,}" if entry.parameters else "unknown"),
        ("size", at_least(entry)),
        ("memory", render.size(entry.memory)),
        ("fits this device", fits(entry)),
        ("state", ", ".join(filter(None, api.model_state(entry)))),
    ]
    for part in entry.parts:
        where = part.location if part.downloadable else f"{part.path} ({entry.source})"
        rows.append(("part", f"{where}, {render.size(part.size)}, sha256 {part.sha256 or 'unknown'}"))
    for key, value in api.model_metadata(entry).items():
        rows.append((key, value))
    render.emit_table(("", ""), rows, title=name)


@app.command("pull")
def pull(
    names: Annotated[list[str], typer.Argument(help="Models to bring to this machine.")],
    everything: Annotated[bool, typer.Option("--all", help="Optional parts too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be downloaded and stop.")] = False,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what fails.")] = False,
) -> None:
    """Download models and verify them; a broken download goes on where it stopped."""
    entries = api.get_models(names)
    if dry_run:
        rows = [
            (entry.name, part.role, part.location, render.size(part.size), entry.license)
            for entry in entries
            for part in api.missing_parts(entry, everything)
        ]
        report(("model", "part", "from", "size", "license"), rows, json)
        return
    with watcher(render.err_console(), Look(quiet=quiet), json) as watch:
        for name in names:
            files = api.pull(name, everything, watch)
            watch(events.Noted(input=name, code="model-verified", text=f"{name}: {len(files)} files here and verified"))


@app.command("import")
def bring(
    name: Annotated[str, typer.Argument(help="The model it belongs to.")],
    file: Annotated[Path, typer.Argument(help="A .safetensors, .pt, .pth or .ckpt, or a folder of such files.")],
    json: AsJson = False,
) -> None:
    """Take in a checkpoint that did not come from the Hub: checked, converted to safetensors."""
    report(
        ("model", "part", "file"), [(name, role, str(path)) for role, path in api.import_checkpoint(name, file)], json
    )


@app.command("verify")
def verify(
    names: Annotated[list[str], typer.Argument(help="Models to verify.")],
    json: AsJson = False,
) -> None:
    """Hash every file of a model that is here and compare."""
    rows = [(name, role, str(path), "good") for name in names for role, path in present(name, api.verify(name))]
    report(("model", "part", "file", "state"), rows, json)


@app.command("path")
def path(name: Annotated[str, typer.Argument(help="A model's name.")], json: AsJson = False) -> None:
    """Show where a model's files are."""
    report(("part", "file"), [(role, str(path)) for role, path in present(name, api.part_paths(name))], json)


def present(name: str, files: dict[str, Path]) -> Iterable[tuple[str, Path]]:
    """The files of a model by role.  Raises ModelError where there are none."""
    if not files:
        raise ModelError(f"nothing of {name} is here", f"See how to get it: vrx models show {name}")
    return files.items()


@app.command("rm")
def remove(names: Annotated[list[str], typer.Argument(help="Models to remove.")], json: AsJson = False) -> None:
    """Remove what was downloaded for a model; files that another one here needs stay, and those that you added."""
    done = [(name, api.remove(name)) for name in names]
    removed = [(name, str(path)) for name, removal in done for path in removal.removed]
    left = [(name, str(path), why) for name, removal in done for path, why in removal.skipped]
    if removed:
        report(("model", "removed"), removed, json)
    if left:
        report(("model", "left alone", "why"), left, json)
    if not removed and not left:
        render.note_line(f"nothing was downloaded for {', '.join(names)}")


def report(header: Sequence[str], rows: Sequence[Sequence[str]], json: bool) -> None:
    """Rows as a table, or one JSON object a line."""
    if not json:
        render.emit_table(header, rows)
        return
    for row in rows:
        render.emit_json(dict(zip(header, row, strict=True)))


@app.command("convert")
def convert(
    folder: Annotated[Path, typer.Argument(help="A folder with the parts of a model.")],
    target: Annotated[Path, typer.Argument(help="The file to write, NAME.safetensors.")],
    json: AsJson = False,
) -> None:
    """Put the parts of a model into one safetensors file, which --model takes."""
    report(("file", "family"), [(str(target), api.convert(folder, target))], json)
