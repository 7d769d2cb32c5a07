"""Which perceptual measures can be had on this machine, and how to get the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vrx.environment import Environment
from vrx.errors import ModelError
from vrx.files import format_bytes
from vrx.models import measures
from vrx.models.measures import MEASURES, Measure
from vrx.weights import store
from vrx.weights.catalogue import Entry


@dataclass(frozen=True)
class Perceptuals:
    """The measures that are on this machine, loaded; of the others, by name, why they are not."""

    ready: tuple[Measure, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


def find_measures() -> Perceptuals:
    """All measures of the catalogue; nothing is downloaded, as a comparison needs none of them.  Raises ModelError."""
    entries = measures.load_entries()
    models = Environment.read().models
    ready, missing = [], {}
    for name in MEASURES:
        entry = entries.get(name)
        if entry is None or entry.fault:
            missing[name] = entry.fault if entry else "not in the catalogue"
        elif store.missing_parts(entry, models):
            missing[name] = how_to_get(entry)
        else:
            try:
                ready.append(measures.load_measure(entry, models))
            except ModelError as error:
                missing[name] = str(error)
    return Perceptuals(tuple(ready), missing)


def how_to_get(entry: Entry) -> str:
    """The command that downloads a measure, and how much that is."""
    return f"download it with: vrx models pull {entry.name} ({format_bytes(entry.size)})"
