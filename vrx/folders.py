"""The platform's folders for vrx; below one that does not exist for users without a home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import platformdirs

APP = "vrx"  # the name of its folders
NO_HOME = Path("/nonexistent")  # as Debian names the home of users without one


def platform_folders() -> tuple[Path, Path, Path]:
    """The platform's folders for configuration, cache and data of vrx."""
    kinds = (platformdirs.user_config_path, platformdirs.user_cache_path, platformdirs.user_data_path)
    config, cache, data = (platform_folder(kind) for kind in kinds)
    return config, cache, data


def platform_folder(find: Callable[..., Path]) -> Path:
    """One of them; below NO_HOME for a user without a home."""
    try:
        return replace_home(find(APP, appauthor=False))
    except RuntimeError:  # newer versions refuse, older ones leave the ~
        return NO_HOME / APP


def replace_home(path: Path) -> Path:
    """A path whose leading `~` nothing could expand, below NO_HOME; any other as it is.

    Nothing is found there, and what must be written there fails with an error that names VRX_HOME.
    """
    return NO_HOME.joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path
