"""One entry of a cache: the paths that lead to its bytes, and which of them are the cache's own.

People link large files into a cache by hand.  Deleting or renaming what such a link leads to would lose
a file that the cache never owned, so only paths below the entry's folder count as its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vrx.errors import ModelError

MAX_LINKS = 40  # in a row, as the system allows
BLOBS = "blobs"  # in a repository's folder: the bytes of its files


@dataclass(frozen=True)
class CacheEntry:
    """`paths`: the entry, then every link on the way, and last the file; `own`: those that may be deleted."""

    paths: tuple[Path, ...]
    own: tuple[Path, ...]

    @property
    def file(self) -> Path:
        """Where the bytes are."""
        return self.paths[-1]

    @property
    def outside(self) -> bool:
        """Whether the bytes are not the cache's own."""
        return self.file not in self.own

    @property
    def links(self) -> tuple[Path, ...]:
        """The cache's own links on the way to the bytes."""
        return tuple(path for path in self.own if path != self.file)


def find_entry(path: Path, folder: Path) -> CacheEntry:
    """The entry at `path` of its folder in the cache: a repository's, or a part's own.

    The cache may be reached through a link; a link below it leads out.
    """
    home = folder.parent.resolve() / folder.name
    paths = [resolve_folder(path)]
    while paths[-1].is_symlink() and len(paths) <= MAX_LINKS:
        paths.append(resolve_folder(paths[-1].parent / paths[-1].readlink()))
    inside = paths[0].is_relative_to(home)
    own = [path for path in paths if path.parent == home / BLOBS or (inside and path == paths[0])]
    return CacheEntry(tuple(paths), tuple(own))


def resolve_folder(path: Path) -> Path:
    """A path whose folder is resolved; if it is a link itself, it stays one."""
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()


def is_own_folder(path: Path, root: Path) -> bool:
    """Whether a folder below a cache's root is reached without a link that leads elsewhere."""
    return path.resolve() == root.resolve() / path.relative_to(root)


def delete(paths: Iterable[Path]) -> None:
    """Delete paths of a cache.  Raises ModelError."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ModelError(f"cannot remove {path}: {error.strerror or error}") from error
