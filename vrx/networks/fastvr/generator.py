"""FastVR's generator: Wan 2.2 in one step over chunks of latents, each of which sees the chunk before it.

Legend: B batch, h heads, N tokens of a chunk, d head width; latents are [B, C, F, H, W].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vrx.networks import dense_attention
from vrx.networks.wan.rope import rope
from vrx.networks.wan.schedule import TRAIN_STEPS, clean_latent, nearest_sigma
from vrx.networks.wan.transformer import Conditions, WanTransformer

REQUESTED, SHIFT = 399.0, 5.0  # the step is the entry of the schedule nearest to that timestep
SIGMA = nearest_sigma(REQUESTED, SHIFT)
TIMESTEP = SIGMA * TRAIN_STEPS  # which the network is told


@dataclass(frozen=True)
class ChunkMemory:
    """Keys and values of the latest chunk, [layers, B, h, N, d], rotated; `latents` of the scene so far.

    A step gives a new one: one that failed half-way is simply run again.
    """

    keys: Tensor
    values: Tensor
    latents: int = 0

    @classmethod
    def empty(cls, network: WanTransformer) -> ChunkMemory:
        """That of a scene's beginning."""
        config, like = network.config, network.patch_embedding.weight
        nothing = like.new_empty(config.num_layers, 1, config.num_heads, 0, config.head_dim)
        return cls(nothing, nothing)

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys.nbytes + self.values.nbytes

    def to(self, device: torch.device) -> ChunkMemory:
        """The same on a device."""
        return replace(self, keys=self.keys.to(device), values=self.values.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """All there is to save, by name."""
        return {"keys": self.keys, "values": self.values, "latents": torch.tensor(self.latents)}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], device: torch.device) -> ChunkMemory:
        """What `tensors` gave."""
        return cls(tensors["keys"].to(device), tensors["values"].to(device), int(tensors["latents"]))


class FastTransformer:
    """A Wan transformer that goes from a degraded latent to a restored one."""

    def __init__(self, network: WanTransformer) -> None:
        self.network = network

    def conditions(self, prompt: Tensor) -> Conditions:
        """For the rows [1, L, D] of the published prompt, all of which are attended to; once."""
        return self.network.fix_conditions(TIMESTEP, prompt, pad=False)

    def restore(self, latent: Tensor, conditions: Conditions, memory: ChunkMemory) -> tuple[Tensor, ChunkMemory]:
        """The next latents of a scene restored, and the memory of them; positions in time count from its first."""
        network, config = self.network, self.network.config
        grid = network.grid(latent)
        frames, rows, columns = grid
        freqs = rope(grid, memory.latents // config.patch_size[0], config.head_dim, latent.device)
        shape = (config.num_layers, len(latent), config.num_heads, frames * rows * columns, config.head_dim)
        keys, values = memory.keys.new_empty(shape), memory.values.new_empty(shape)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys[layer], values[layer] = k, v
            both = torch.cat([memory.keys[layer], k], 2), torch.cat([memory.values[layer], v], 2)
            return dense_attention.attend(q, *both)

        flow = network.run(latent, conditions, freqs, attend)
        after = ChunkMemory(keys, values, memory.latents + latent.shape[2])
        return clean_latent(latent, flow, SIGMA), after
