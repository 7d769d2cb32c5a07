"""Imports point down: every room may import what its row names, and nothing else of vrx."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vrx"
# what every room may know
VALUES = {
    "errors",
    "folders",
    "rates",
    "settings",
    "environment",
    "geometry",
    "events",
    "files",
    "previews",
    "temporary",
    "batches",
    "switches",
}
ROWS: dict[str, set[str]] = {
    "errors": set(),
    "events": set(),
    "folders": set(),
    "environment": {"errors", "folders"},
    "settings": {"errors"},
    "geometry": {"errors", "settings"},
    "rates": {"errors"},
    "previews": {"errors", "settings"},
    "files": set(),
    "temporary": set(),
    "batches": {"errors", "settings"},
    "switches": {"environment"},
    "configuration": {"environment", "errors", "files"},
    "networks": {"networks"},
    "weights": {"weights", *VALUES},
    "media": {"media", *VALUES},
    "scenes": {"scenes", "media", *VALUES},
    "models": {"models", "networks", "weights", *VALUES},
    "metrics": {"metrics"},
    "pipeline": {"pipeline", "models", "networks", "metrics", "weights", "scenes", "media", *VALUES},
    "cluster": {"cluster", "pipeline", "weights", "media", "__init__", *VALUES},
    "bench": {"bench", "pipeline", "models", "networks", "weights", "scenes", "media", *VALUES},
    "train": {"train", "networks", "models", "weights", "files"},
    "api": {"bench", "cluster", "pipeline", "models", "weights", "scenes", "media", *VALUES},
    "cli": {"cli", "api", "configuration", *VALUES},
    "__main__": {"cli"},
    "tasks": {"cluster", "pipeline", *VALUES},
    "__init__": {"errors"},
}
PACKAGES = {
    "networks": {"torch", "diffusers"},  # diffusers: an extra; see `networks/libraries.py`
    "weights": {"huggingface_hub", "safetensors", "torch", "filelock", "msgspec"},
    "media": {"av", "imageio_ffmpeg", "numpy", "PIL"},  # PIL reads and writes what is said beside samples
    "scenes": {"scenedetect", "cv2", "numpy"},
    "models": {"torch", "tokenizers", "ftfy", "cv2", "numpy"},
    "metrics": {"torch"},
    "pipeline": {"torch", "numpy", "safetensors", "filelock", "cv2"},  # cv2: threads to limit; where pictures lie
    "cluster": {"ray", "av", "torch", "filelock"},  # ray: an extra; av: its version
    "bench": {"torch", "numpy"},
    "cli": {"typer", "rich"},
    "folders": {"platformdirs"},
    "settings": set(),
    "environment": set(),
    "errors": set(),
    "events": set(),
    "geometry": set(),
    "rates": set(),
    "previews": set(),
    "files": set(),
    "temporary": {"filelock"},
    "batches": set(),
    "switches": set(),
    "configuration": set(),
    "api": set(),
    "tasks": set(),
    "__init__": set(),
}
STANDARD = __import__("sys").stdlib_module_names


def imports(path: Path) -> set[str]:
    """Every module a file imports, those inside functions too, those for type checkers not."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = {name.split(".")[1] for name in imports(path) if name.startswith("vrx.")} - {"__version__"}
    assert own <= ROWS[room(path)]


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in PACKAGES], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_third_parties_stay_in_their_rooms(path: Path) -> None:
    others = {name.split(".")[0] for name in imports(path)} - STANDARD - {"vrx", "__future__"}
    assert others <= PACKAGES[room(path)]


def modules() -> dict[str, Path]:
    """All modules of the package by name; a package is its `__init__`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_first(path: Path, known: dict[str, Path]) -> set[str]:
    """The package's modules that a module imports while it is itself imported."""
    found: set[str] = set()
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Import):
            found |= {name.name for name in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            names = {f"{statement.module}.{name.name}" for name in statement.names}
            found |= {name if name in known else statement.module for name in names}
    return found & known.keys()


def test_no_modules_import_each_other() -> None:
    """Whichever is imported first would find the other one half made."""
    known = modules()
    graph = {name: imported_first(path, known) - {name, "vrx"} for name, path in known.items()}
    assert len(tuple(TopologicalSorter(graph).static_order())) == len(known)
