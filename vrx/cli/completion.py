"""What the shell is offered for an option's value."""

from __future__ import annotations

from collections.abc import Callable

from vrx import api, configuration

MASK_KINDS = ("overlays", "dust", "scratches", "pixels")
DEVICES = ("auto", "all", "cpu", "cuda", "cuda:0", "mps")


def complete_models(incomplete: str) -> list[str]:
    """Names of models, for the shell; files are completed by the shell itself."""
    return [name for name in ("auto", *api.model_names()) if name.startswith(incomplete)]


def complete_catalogue(incomplete: str) -> list[str]:
    """Names of the catalogue's models, for the shell."""
    return [name for name in api.model_names() if name.startswith(incomplete)]


def complete_devices(incomplete: str) -> list[str]:
    """Devices, for the shell."""
    return [name for name in DEVICES if name.startswith(incomplete)]


def complete_codecs(incomplete: str) -> list[str]:
    """Short names of codecs, for the shell."""
    return [name for name in ("auto", *api.codecs()) if name.startswith(incomplete)]


def complete_words(*words: str) -> Callable[[str], list[str]]:
    """Completes the words among an option's values, for the shell; numbers are typed."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def complete_kinds(incomplete: str) -> list[str]:
    """What `vrx mask` finds, for the shell: after a comma one that is not named yet."""
    named, comma, word = incomplete.rpartition(",")
    kinds = [kind for kind in ("all", *MASK_KINDS) if kind.startswith(word)]
    return [f"{named}{comma}{kind}" for kind in kinds if not comma or kind not in ("all", *named.split(","))]


def complete_presets(incomplete: str) -> list[str]:
    """Names of presets, for the shell."""
    return [name for name in (*configuration.preset_names(), configuration.NO_PRESET) if name.startswith(incomplete)]
