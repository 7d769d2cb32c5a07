"""SATB-VR's transformer in its two roles: a predictor of the clean latent, and a denoiser with control.

One base in memory: the roles differ in their adapters, and in connectors and control patch embedding, which
only the denoiser has.

Legend: B videos, F latent frames, h x w latents, L text tokens, N video tokens, C width, T width of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from vrx.networks.satbvr.adapters import select_adapter
from vrx.networks.satbvr.backbone import Backbone, Transformer
from vrx.networks.satbvr.control import Connectors, ControlPatchEmbed, state_number

Role = Literal["predictor", "denoiser"]
PREDICTOR_TIMESTEP = 399  # whatever the number of steps


class Denoiser(Backbone):
    """The base with what the denoiser adds; names of tensors are the base's, `connectors.*`, `control_patch_embed.*`.

    Adapters are named after the roles (see `adapters`); a role without one runs the base as it is.
    """

    def __init__(self, base: Transformer, connectors: Connectors, control_patch_embed: ControlPatchEmbed) -> None:
        super().__init__(base.config, dict(base.named_children()))
        if len(connectors) != len(self.blocks):
            raise ValueError(f"{len(connectors)} connectors for a transformer of {len(self.blocks)} blocks")
        self.connectors, self.control_patch_embed = connectors, control_patch_embed

    def predict(self, lq: Tensor, text: Tensor) -> Tensor:
        """What the predictor says, as v, of a low-quality latent [B, F, 16, h, w], with rows of text [B, L, T].

        F is even: the first latent frame comes twice.  Raises ValueError for sizes that cannot be cut into patches.
        """
        select_adapter(self, "predictor")
        tokens = self.embed(lq, text, PREDICTOR_TIMESTEP)
        for block in self.blocks:
            tokens = self.advance(block, tokens)
        return self.head(tokens, lq.shape)

    def denoise(self, noisy: Tensor, lq: Tensor, timestep: int, text: Tensor, states: Sequence[Tensor]) -> Tensor:
        """The prediction v for a noisy latent, beside the low-quality one, both [B, F, 16, h, w].

        `states` [B, N, C] are the ControlNet's, of the same latents.  Raises ValueError as `predict`.
        """
        select_adapter(self, "denoiser")
        tokens = self.embed(noisy, text, timestep)
        tokens = tokens.add(self.control_patch_embed(lq, text, tokens.time))
        for number, block in enumerate(self.blocks):
            tokens = self.advance(block, tokens)
            state = states[state_number(number, len(self.blocks), len(states))]
            tokens = replace(tokens, video=self.connectors[number](tokens.video, state))
        return self.head(tokens, noisy.shape)

    def sequence(self, role: Role) -> list[nn.Module]:
        """The large modules in the order in which a role runs them."""
        if role == "predictor":
            return self.blocks
        pairs = zip(self.blocks, self.connectors.children(), strict=True)
        return [self.control_patch_embed, *(module for pair in pairs for module in pair)]
