"""From a catalogue entry to a restorer: one table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import torch

from vrx.errors import ModelError
from vrx.restorers.base import Restorer
from vrx.restorers.embedded import EmbeddedOptions, EmbeddedRestorer, load_networks
from vrx.settings import RestoreSettings
from vrx.weights import load
from vrx.weights.catalogue import Entry

Builder = Callable[[Path, RestoreSettings, torch.device, torch.dtype], Restorer]


def build_embedded(path: Path, settings: RestoreSettings, device: torch.device, dtype: torch.dtype) -> Restorer:
    """The embedded system from its checkpoint."""
    options = EmbeddedOptions(
        task=str(settings.task), scale=settings.scale, sigma=settings.sigma, strength=settings.strength
    )
    return EmbeddedRestorer(options, load_networks(path), device, dtype)


BUILDERS: dict[str, Builder] = {"embedded": build_embedded}


def packaged(part: str) -> Path:
    """A checkpoint inside the package."""
    return Path(str(resources.files("vrx"))) / "data" / part


def build(model: Entry | Path, settings: RestoreSettings, device: torch.device, dtype: torch.dtype) -> Restorer:
    """The restorer of an entry whose files are here, or of a checkpoint given by its path.

    Raises ModelError where the files are missing, damaged or of another family.
    """
    if isinstance(model, Path):
        return build_embedded(model, settings, device, dtype)
    if model.family not in BUILDERS:
        raise ModelError(f"this version of vrx cannot run the family {model.family}")
    path = packaged(model.parts[0].path)
    load.verify(path, model.parts[0].size, model.parts[0].sha256)
    return BUILDERS[model.family](path, settings, device, dtype)
