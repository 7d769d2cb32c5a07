"""The roles that a family needs and an entry does not have."""

from dataclasses import dataclass, field

import pytest

from vrx.weights.families import missing_roles


@dataclass(frozen=True)
class Capabilities:
    tasks: tuple[str, ...] = ("upscale",)
    scales: tuple[int, ...] = (4,)


@dataclass(frozen=True)
class Rules:
    needs: tuple[str, ...]
    capabilities: Capabilities = Capabilities()
    components: dict[str, object] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("roles", "missing"),
    [
        ((), ("transformer", "lean|tiny")),
        (("transformer",), ("lean|tiny",)),
        (("transformer", "tiny"), ()),
        (("lean", "tiny"), ("transformer",)),
        (("transformer", "lean", "text"), ()),
    ],
)
def test_of_roles_joined_by_a_bar_one_is_enough(roles: tuple[str, ...], missing: tuple[str, ...]) -> None:
    assert missing_roles(Rules(("transformer", "lean|tiny")), roles) == missing
