"""What an entry of the catalogue may say: the families there are, what each does, and the roles of parts.

The table that builds and runs them is the registry's, above this room; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TASKS = ("upscale", "deblur", "inpaint")
SCALES = (2, 3, 4)


@dataclass(frozen=True)
class FamilyRules:
    """What a published system does: its tasks, the scales it enlarges by, and the roles it cannot run without.

    Of roles joined by `|` one is enough.
    """

    tasks: tuple[str, ...]
    scales: tuple[int, ...]
    needs: tuple[str, ...] = ()


FAMILIES = {
    "embedded": FamilyRules(TASKS, SCALES),
    "infvsr": FamilyRules(("upscale",), SCALES, ("transformer", "autoencoder", "guidance")),
    "instantvir": FamilyRules(TASKS, (4,), ("transformer", "autoencoder|lean", "text", "tokenizer")),
    "flashvsr": FamilyRules(("upscale",), SCALES, ("transformer", "projection", "decoder", "prompt")),
}
PLANNED = ("stream-diffvsr", "satb-vr", "instavsr")  # in the catalogue, and not run by this version
ROLES = (
    "transformer",
    "autoencoder",
    "tiny",
    "lean",
    "projection",
    "decoder",
    "prompt",
    "guidance",
    "adapter",
    "text",
    "tokenizer",
)
PLANNED_ROLES = (  # of the families that are planned, by the names of their folders where they have some
    "unet",
    "vae",
    "controlnet",
    "text_encoder",
    "flow",
    "control",
    "control-config",
    "control-patch",
    "connectors",
    "predictor",
    "negative-prompt",
)


def lacking(family: str, roles: Iterable[str]) -> list[str]:
    """The roles that a family needs and an entry does not have."""
    found = set(roles)
    return [need for need in FAMILIES[family].needs if not found & set(need.split("|"))] if family in FAMILIES else []
