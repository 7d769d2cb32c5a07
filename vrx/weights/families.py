"""What the catalogue is checked against: the families of models, which introduce themselves in a higher room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol


class Supported(Protocol):
    """The tasks that a family supports, and the scales it upscales by."""

    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def scales(self) -> tuple[int, ...]: ...


class FamilyRules(Protocol):
    """What an entry of a family may state: tasks and scales, the roles of parts, and those it cannot run without.

    Of `needs` joined by `|` one is enough.
    """

    @property
    def capabilities(self) -> Supported: ...
    @property
    def components(self) -> Mapping[str, object]: ...
    @property
    def needs(self) -> tuple[str, ...]: ...


Families = Mapping[str, FamilyRules]  # by name: those of `vrx.models.registry`


def missing_roles(rules: FamilyRules, roles: Iterable[str]) -> tuple[str, ...]:
    """The roles that a family needs and an entry does not have."""
    found = set(roles)
    return tuple(need for need in rules.needs if not found & set(need.split("|")))
