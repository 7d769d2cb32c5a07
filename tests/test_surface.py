"""What users and scripts rely on.  A change here is a decision, and belongs into the changelog."""

import ast
from dataclasses import fields

from typer.main import get_command

import vrx
from tests.conftest import ROOT
from vrx import events
from vrx.cli.app import app
from vrx.errors import Exit

RESTORING = {
    "--model", "--prompt", "--seed", "--device", "--dtype", "--decoder", "--color-fix", "--tile", "--steps",
    "--guidance", "--prefer", "--compile",
    "--offline", "--strength", "--denoise", "--grain", "--blend",
    "--start", "--end", "--frames", "--scenes", "--scene-threshold", "--deinterlace", "--stream", "--fps", "--crop",
    "--sequence",
    "--output", "--codec", "--crf", "--preset", "--pix-fmt", "--encoder-args", "--no-audio", "--overwrite",
    "--skip-existing", "--recursive", "--resume", "--dry-run", "--json", "--quiet", "--verbose", "--progress",
    "--threads", "--preset-name", "--until", "--on-done", "--log", "--jobs", "--html", "--ray", "--ship",
    "--trace",
    "--preview", "--at", "--length", "--vary",
    "-i",  # hidden, ffmpeg's habit
}  # fmt: skip
OPTIONS = {
    "upscale": RESTORING | {"--scale", "--width", "--height", "--size", "--square", "--look", "--quality"},
    "restore": RESTORING | {"--look"},
    "deblur": RESTORING | {"--sigma"},
    "inpaint": RESTORING | {"--mask", "--box", "--dilate"},
    "info": {"--scenes", "--recursive", "--sequence", "--stream", "--fps", "--json"},
    "scenes": {"--csv", "--json", "--scene-threshold", "--stream", "--fps"},
    "compare": {"--output", "--html", "--perceptual", "--csv", "--json", "--overwrite", "--fps", "--quiet"},
    "mask": {"--output", "--find", "--grow", "--write-empty", "--stream", "--fps", "--json", "--overwrite", "--quiet"},
    "bench": {
        "--size",
        "--frames",
        "--device",
        "--dtype",
        "--model",
        "--random-weights",
        "--chunks",
        "--decoder",
        "--json",
    },
    "doctor": {"--json"},
    "presets": {"--json"},
    "manual": set(),  # hidden
}
EVENTS = {
    "opening": {"input"},
    "started": {
        "input",
        "output",
        "frames",
        "source_size",
        "target_size",
        "model",
        "device",
        "dtype",
        "resumed_frames",
    },
    "note": {"input", "code", "text", "facts", "level"},
    "fetching": {"input", "part", "done", "size"},
    "scene": {"input", "number", "frame", "soft"},
    "progress": {"input", "done", "frames", "scene", "fps", "queues"},
    "finished": {"input", "output", "frames", "scenes", "seconds", "resumed_frames"},
    "previewed": {"input", "output", "clip", "places", "frames", "seconds"},
    "skipped": {"input", "output"},
    "failed": {"input", "message", "hint", "exit_code"},
    "stopped": {"input", "done", "frames", "saved", "exit_code"},
    "worker": {"input", "worker", "node", "pid", "device", "model", "versions"},
    "span": {"input", "span", "state", "worker", "node", "frames", "reason"},
    "cluster": {"input", "files_done", "files", "spans_done", "spans", "workers", "fps", "share", "seconds_left"},
    "node": {"input", "node", "workers", "spans", "frames", "seconds", "failures"},
    "batch-finished": {"input", "done", "failed", "skipped", "exit_code"},
}


def test_options() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert set(commands) == {*OPTIONS, "models", "preview"}
    assert set(commands["models"].commands) == {"list", "show", "pull", "import", "verify", "path", "rm", "convert"}
    previews = commands["preview"].commands
    assert set(previews) == {"upscale", "deblur", "inpaint"}
    for name, expected in OPTIONS.items():
        found = {max(p.opts, key=len) for p in commands[name].params if p.param_type_name == "option"}
        assert found - {"--help"} == expected, name
    for name, command in previews.items():  # the same, and nothing but previews
        found = {max(p.opts, key=len) for p in command.params if p.param_type_name == "option"}
        assert found - {"--help"} == OPTIONS[name] - {"--preview"}, name


def test_every_option_of_a_restoring_command_stands_in_a_panel_or_is_its_own() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name in ("upscale", "restore", "deblur", "inpaint"):
        loose = {
            max(p.opts, key=len)
            for p in commands[name].params
            if p.param_type_name == "option" and not p.rich_help_panel and not p.hidden
        }
        assert loose - {"--help"} == OPTIONS[name] - RESTORING


def test_exit_codes() -> None:
    expected = {"DONE": 0, "FAULT": 1, "USAGE": 2, "INPUT": 3, "MODEL": 4, "DEVICE": 5, "OUTPUT": 6, "BATCH": 7}
    assert {code.name: int(code) for code in Exit} == {
        **expected, "INTERRUPTED": 130, "BROKEN_PIPE": 141, "TERMINATED": 143
    }  # fmt: skip


def test_events() -> None:
    kinds = [c for c in vars(events).values() if isinstance(c, type) and issubclass(c, events.Event)]
    assert {c.kind: {f.name for f in fields(c)} for c in kinds if c is not events.Event} == EVENTS


PUBLIC = {
    "__version__", "upscale", "compare", "preview", "PreviewResult",
    "deblur", "inpaint", "load_model", "Comparison",
    "Model", "VideoReader", "VideoWriter", "VideoFrame",
    "RestoreResult", "VrxError", "probe", "detect_scenes",
}  # fmt: skip


def test_every_code_of_a_note_is_documented() -> None:
    """Those in the code: the first argument of a Note, of a warning of the reader, of a loss, of a failure."""
    made_by = ("Note", "Noted", "warn", "loss", "report_failure")
    calls = [
        node
        for path in (ROOT / "vrx").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in made_by
    ]
    first = [call.args[0] for call in calls if call.args] + [
        k.value for c in calls for k in c.keywords if k.arg == "code"
    ]
    codes = {word.value for word in first if isinstance(word, ast.Constant)}
    assert codes == set(events.NOTE_CODES)


def test_public_names() -> None:
    assert set(vrx.__all__) == PUBLIC
    assert {name for name in dir(vrx) if not name.startswith("__")} == PUBLIC - {"__version__"} | {"errors", "events"}
    assert vrx.events is events
    assert all(getattr(vrx, name).__doc__ for name in PUBLIC - {"__version__"})
