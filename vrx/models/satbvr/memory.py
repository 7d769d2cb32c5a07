"""What SATB-VR does where memory is short: a GPU's weights wait on the host, then the transformer works in tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from vrx.models.footprint import Footprint, Linear
from vrx.models.offload import Layer, Offload, offload
from vrx.networks.causal_conv import ConvCache
from vrx.networks.satbvr.control import ControlNet
from vrx.networks.satbvr.transformer import Denoiser

# Computed, not measured; in bf16.  Weights: transformer 11.1 GB, control 2.8, autoencoder 0.4, adapters some.  A tile
# of the autoencoder: 2.5 GB.  A token, 1/256 of a pixel in ten frames: 130 kB, of them 37 for six states of the
# control; a pixel of a window besides, as frames: 1.4 kB.
OFFLOADED = Linear(4.5e9, 6_500)  # two layers of either network are on the device
TILED_OFFLOADED = Linear(11.5e9, 2_300)  # one tile of 1024 x 1024 pixels
WHOLE = Linear(17.5e9, 6_500)
TILED = Linear(WHOLE.fixed - OFFLOADED.fixed + TILED_OFFLOADED.fixed, TILED_OFFLOADED.per_pixel)
FOOTPRINT = Footprint(WHOLE, TILED, offloaded=OFFLOADED, tiled_offloaded=TILED_OFFLOADED)


@dataclass(eq=False)
class Memory:
    """A device's memory, and the networks that share it; `free` asks for a GPU's bytes, None where they are not known.

    `before` were free there before any network was.  `host_pixels`: see `BuildRequest`.
    """

    denoiser: Denoiser
    control: ControlNet
    device: torch.device
    before: int | None = None
    host_pixels: int | None = None
    free: Callable[[], int | None] | None = None
    rings: list[Offload] = field(default_factory=list)  # networks whose layers wait on the host

    def prepare(self, pixels: int) -> None:
        """Make room for an output of so many pixels: from now on the layers wait on the host where there is not."""
        if self.before is not None and not self.rings and pixels > WHOLE.within(self.before):
            self.offload_weights()

    def needs_tiles(self, pixels: int) -> bool:
        """Whether an output of so many pixels does not fit in one piece, wherever the weights are.

        On a processor they are in its memory all the same, where tiles do not always take less.
        """
        if self.before is None:
            return self.host_pixels is not None and pixels > self.host_pixels and TILED.at(pixels) < WHOLE.at(pixels)
        return pixels > OFFLOADED.within(self.before)

    def offload_cache(self, pixels: int, cache: ConvCache) -> ConvCache:
        """An autoencoder's cache where it waits: on the device while what an output of so many pixels takes is free."""
        free = None if self.free is None else self.free()
        if self.device.type != "cuda" or (free is not None and free >= needed_beside_weights(pixels)):
            return cache
        return cache.to(torch.device("cpu"))

    def offload_weights(self) -> None:
        """Let the layers of both transformers wait on the host, and have all else on the device."""
        connectors = self.denoiser.connectors.children()
        pairs: list[Layer] = [list(pair) for pair in zip(self.denoiser.blocks, connectors, strict=True)]
        singles: list[Layer] = [[block] for block in self.control.blocks]
        for network, layers in ((self.denoiser, pairs), (self.control, singles)):
            self.rings.append(offload(network, layers, self.device))


def needed_beside_weights(pixels: int) -> int:
    """Bytes that the networks take at work, for an output of so many pixels, in one piece or in tiles."""
    return min(way.at(pixels) for way in (OFFLOADED, TILED_OFFLOADED)) - OFFLOADED.at(0)
