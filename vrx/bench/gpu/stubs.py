"""Stand-ins for packages that a machine lacks, so that all that does not need them can be imported.

Only `vrx.bench.gpu` installs them; what needs the real package is left out there, with a line.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, MutableSequence, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

OPTIONAL = (
    "av",
    "scenedetect",
    "imageio_ffmpeg",
    "ftfy",
    "cv2",
    "PIL",
    "tokenizers",
    "huggingface_hub",
    "filelock",
)


def exists(name: str) -> bool:
    """Whether a package can be found."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


class StubType(type):
    """A class that may stand in for an enumeration: it has any member that it is asked for, and lists none."""

    def __iter__(cls) -> Iterator[object]:
        return iter(())

    def __getattr__(cls, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return SimpleNamespace(value=name)


class Stub(ModuleType):
    """A module whose capitalized attributes are exception classes, all others functions that return their argument."""

    __path__: MutableSequence[str] = []  # noqa: RUF012 - a package, and empty

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        made: object = StubType(name, (Exception,), {}) if name[0].isupper() else Anything()
        setattr(self, name, made)
        return made


class Anything:
    """A function that returns its argument, a decorator that changes nothing, or an empty collection."""

    def __call__(self, *arguments: object, **_: object) -> object:
        return arguments[0] if arguments else None

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __iter__(self) -> Iterator[object]:
        return iter(())


class Finder(MetaPathFinder, Loader):
    """Finds stubs for some packages and all their modules."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A stub where the package is one of ours."""
        if fullname.split(".")[0] in self._names:
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty stub."""
        return Stub(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


def install(hidden: Sequence[str] = ()) -> tuple[str, ...]:
    """Stand in for every optional package that is missing, or `hidden` as if it were; their names."""
    missing = tuple(name for name in OPTIONAL if name in hidden or not exists(name))
    if missing and not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder(missing))
    return missing
