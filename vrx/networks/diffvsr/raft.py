"""RAFT (Teed and Deng, 2020), large: torchvision's dense optical flow, under the names of its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vrx.networks.libraries import LibraryNetwork, load
from vrx.networks.published import Given, NetworkConfig, Shapes

STRIDE = 8  # pixels a side of a feature
LEAST_SIDE = STRIDE * 16  # pixels: the coarsest of four levels has two positions
UPDATES = 12


@dataclass(frozen=True, kw_only=True)
class RaftConfig(NetworkConfig):
    """The large network has one size."""

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> RaftConfig:
        """See `NetworkConfig`."""
        return cls()


class Raft(LibraryNetwork):
    """torchvision's RAFT-large (BSD-3), in float32.  Raises ImportError without torchvision."""

    CONFIG = RaftConfig
    SIGNATURE = "update_block.recurrent_block.convgru1.convz.weight"

    def __init__(self, config: RaftConfig) -> None:
        super().__init__(load("torchvision.models.optical_flow", "raft_large")(weights=None, progress=False))

    def flow(self, current: Tensor, previous: Tensor, updates: int = UPDATES) -> Tensor:
        """From pictures [B, 3, H, W] in -1..1 to where their content is in `previous`: [B, 2, H, W], x and y in pixels.

        Sides are multiples of 8, and 128 at least.  Memory grows with the square of the pixels (`volume_bytes`), and
        is given back: the library would keep the products of the latest pair.
        """
        flows: list[Tensor] = self.library(current, previous, updates)
        self.library.corr_block.corr_pyramid = []
        return flows[-1]


def volume_bytes(height: int, width: int) -> int:
    """Memory of the products of all pairs for pictures of that size, with their pyramid."""
    return pair_bytes(height, width) * 4 // 3


def pair_bytes(height: int, width: int) -> int:
    """Memory of the products of all pairs of features alone, float32."""
    return (height // STRIDE * (width // STRIDE)) ** 2 * 4
