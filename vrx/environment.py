"""What vrx reads from its environment, and what it sets there for libraries and for processes that it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from vrx.errors import UsageError
from vrx.folders import platform_folders

Word = TypeVar("Word")
SWITCH_WORDS = {"on": True, "1": True, "off": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What vrx reads from its environment, once, at the edge.

    `models` holds checkpoints that the user added, a folder each; `cache` what can be made again;
    `weights` is the user's own catalogue, which need not exist unless `weights_named`; `config` the same for defaults
    and presets, and `defaults` are those of variables, by the variables' names.  `plain`: no animation;
    `fallback` lets a run continue in another way where memory runs out or numbers overflow; `packed` lets a chunk
    travel to a GPU and back in one copy.
    """

    ffmpeg: str | None
    plain: bool
    models: Path
    cache: Path
    weights: Path
    weights_named: bool
    config: Path
    config_named: bool
    defaults: Mapping[str, str] = field(default_factory=dict)
    fallback: bool = True
    packed: bool = True

    @classmethod
    def read(cls) -> Environment:
        """From `VRX_FFMPEG`, `VRX_WEIGHTS_FILE`, `VRX_CONFIG_FILE`, `VRX_DEFAULT_...`, `VRX_FALLBACK`, `VRX_PACKED`,
        `CI` and `TERM`.

        The folders are in `VRX_HOME`, or those of the platform (on Linux XDG's, with its variables).
        """
        home = os.environ.get("VRX_HOME")
        config, cache, data = (Path(home),) * 3 if home else platform_folders()
        named, configured = os.environ.get("VRX_WEIGHTS_FILE"), os.environ.get("VRX_CONFIG_FILE")
        return cls(
            ffmpeg=os.environ.get("VRX_FFMPEG") or None,
            plain=bool(os.environ.get("CI")) or os.environ.get("TERM") == "dumb",
            models=data / "models",
            cache=cache / "cache" if home else cache,
            weights=Path(named) if named else config / "weights.toml",
            weights_named=bool(named),
            config=Path(configured) if configured else config / "config.toml",
            config_named=bool(configured),
            defaults={name: text for name, text in os.environ.items() if name.startswith("VRX_DEFAULT_")},
            fallback=read_word("VRX_FALLBACK", "on", SWITCH_WORDS, "on or off"),
            packed=read_word("VRX_PACKED", "on", SWITCH_WORDS, "on or off"),
        )


def keep_compiled(folder: Path) -> Path | None:
    """Have torch's compiler keep what it makes in a folder, unless its own variable names another; where it does.

    None where the folder cannot be made: then it uses one of its own.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return Path(os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder)))


def configures_allocator() -> bool:
    """Whether the user tells torch how to take a GPU's memory."""
    return bool({"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING"} & set(os.environ))


def sleep_while_waiting() -> None:
    """Have threads that wait for each other sleep, not spin, unless the user's environment says otherwise.

    Stages, decoder and encoder run side by side and want the cores.  Before torch is loaded, which reads it then.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def environment_with(values: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with more variables, for one that it starts."""
    return {**os.environ, **values}


def set_environment(values: Mapping[str, str]) -> None:
    """Give this process the environment of another, and no other variables."""
    os.environ.clear()
    os.environ.update(values)


def read_word(variable: str, default: str, words: Mapping[str, Word], choices: str) -> Word:
    """What a word in a variable of the environment stands for.  Raises UsageError for one that is not in `words`."""
    value = os.environ.get(variable, default)
    if value.lower() not in words:
        raise UsageError(f"{variable} is {value!r}", f"Choose {choices}")
    return words[value.lower()]
