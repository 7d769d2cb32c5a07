"""Values of a preview: its places, how much is restored at each, and the choices that are shown beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import TypeVar

from vrx.errors import UsageError
from vrx.settings import MAX_SECONDS, Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings

MAX_PLACES = 12  # below each other in one picture
MAX_VARIANTS = 8  # beside each other
MAX_LENGTH = 10  # seconds; more is a run with a start and an end

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of several choices: the settings of a job for the same source, and the name that is written above it."""

    name: str
    model: ModelSettings
    restore: RestoreSettings
    selection: SelectionSettings
    output: OutputSettings

    @classmethod
    def of(cls, name: str, job: Job) -> Variant:
        """A job as one of several choices."""
        return cls(name=name, model=job.model, restore=job.restore, selection=job.selection, output=job.output)


@dataclass(frozen=True, kw_only=True)
class PreviewSettings:
    """What a preview shows.

    `at`: places in seconds from the first frame; without any, some are chosen by detail, motion and scene.  `length`
    in seconds is restored at each, None for one frame.  `variants`: the choices, none for the job's own settings.
    """

    at: tuple[Fraction, ...] = ()
    length: Fraction | None = Fraction(1)
    variants: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        for time in self.at:
            if not 0 <= time <= MAX_SECONDS:
                raise UsageError(f"--at {float(time):g} is out of range", f"Use 0 to {MAX_SECONDS} seconds")
        if len(self.at) > MAX_PLACES:
            raise UsageError(f"--at names {len(self.at)} places", f"Name at most {MAX_PLACES}")
        if len(set(self.at)) < len(self.at):
            raise UsageError("--at names a place twice", "Remove one of them")
        if self.length is not None and not 0 < self.length <= MAX_LENGTH:
            hint = f"Use up to {MAX_LENGTH} seconds, or frame; restore more with --start and --end"
            raise UsageError(f"--length {float(self.length):g} is out of range", hint)


def combine(choices: Mapping[str, Sequence[Value]]) -> list[tuple[str, dict[str, Value]]]:
    """Every combination of values of options, by option, with its name: `strength 0.3, look sharp`.

    Raises UsageError for too many, for equal ones, and for an option without a value.
    """
    for name, values in choices.items():
        if not values:
            raise UsageError(f"--vary {name} has no values", f"Write --vary {name}=VALUE,VALUE")
    found = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())] if choices else []
    if len(found) > MAX_VARIANTS:
        raise UsageError(f"--vary gives {len(found)} choices", f"Compare at most {MAX_VARIANTS}")
    names = [", ".join(f"{name} {value}" for name, value in choice.items()) for choice in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--vary gives {twice} twice", "Remove one of them")
    return list(zip(names, found, strict=True))
