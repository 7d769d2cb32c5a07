"""SwiftVR's generator: Wan 2.2 in windows, one step at the end of the schedule, chunk by chunk without a cache."""

from __future__ import annotations

import torch
from torch import Tensor

from vrx.networks.swiftvr.windows import WINDOW, attend, plan
from vrx.networks.wan.rope import rope
from vrx.networks.wan.transformer import Conditions, WanTransformer

TIMESTEP = 1000.0  # the degraded latent is the end point: sigma 1


class SwiftTransformer:
    """A Wan transformer whose layers attend in windows, shifted in every second one."""

    def __init__(self, network: WanTransformer, window: int = WINDOW) -> None:
        self.network, self.window = network, window

    def conditions(self, prompt: Tensor) -> Conditions:
        """For the rows [1, L, D] of the published prompt, all of which are attended to; once."""
        return self.network.fix_conditions(TIMESTEP, prompt, pad=False)

    def predict(self, latent: Tensor, conditions: Conditions) -> Tensor:
        """What separates latents [B, C, F, H, W] from restored ones, float32.

        Positions in time count from the first latent: only differences enter, and nothing is remembered.
        """
        network = self.network
        grid = network.grid(latent)
        windows = [plan(grid, self.window, shifted, latent.device) for shifted in (False, True)]
        freqs = rope(grid, 0, network.config.head_dim, latent.device)

        def windowed(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attend(q, k, v, windows[layer % 2])

        return network.run(latent, conditions, freqs, windowed)

    def restore(self, latent: Tensor, before: Tensor, conditions: Conditions) -> Tensor:
        """Restored latents [B, C, F, H, W]; `before` [B, C, G, H, W] are seen in front of them and not restored."""
        x = torch.cat([before.to(latent), latent], 2)
        prediction = self.predict(x, conditions)
        return latent - prediction[:, :, before.shape[2] :].to(latent.dtype)
