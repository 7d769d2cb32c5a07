"""Where a GPU is short for a network and its output: weights wait on the host, and where that is too little, tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from vrx.models.components import Network
from vrx.models.family import BuildRequest
from vrx.models.footprint import Fit, Footprint
from vrx.models.offload import offload
from vrx.models.tiling import Tiles, Tiling
from vrx.models.token_tiles import PIXELS, Grid, token_tiles
from vrx.networks.published import PublishedNetwork


@dataclass(eq=False)
class Room:
    """A large network on a device; `before` bytes were free there before it was loaded, None where that is not known.

    `offloaded`: its layers wait on the host.
    """

    network: PublishedNetwork
    footprint: Footprint
    device: torch.device
    before: int | None = None
    offloaded: bool = False

    def tiling(self, wanted: Tiling, pixels: int) -> Tiling:
        """How an output of so many pixels is tiled: not at all where weights that wait on the host make room for it.

        They do from now on where `Footprint.fit` says so.  What the user chose is left as it is.
        """
        if self.before is None or wanted.wanted != "auto":
            return wanted
        if not self.offloaded and self.footprint.fit(self.before, pixels).offload:
            self.offload_weights()
        fits = self.footprint.in_one_piece(Fit(offload=self.offloaded)).at(pixels) <= self.before
        return replace(wanted, untiled=pixels if fits else 0)

    def tiles(self, wanted: Tiling, grid: Grid) -> Tiles | None:
        """Tiles for an output of so many tokens, for which there is room from now on; None for one piece."""
        return token_tiles(self.tiling(wanted, grid[0] * grid[1] * PIXELS**2), grid)

    def offload_weights(self) -> None:
        """Let the layers wait on the host from now on."""
        offload(self.network, self.network.waiting_layers(), self.device)
        self.offloaded = True


def load_with_room(
    request: BuildRequest, role: str, kind: type[Network], footprint: Footprint, prepare: Callable[[Network], None]
) -> tuple[Network, Room]:
    """A component's network, its layers on the host from the start where no output fits beside them.

    `prepare` is called once it is on its device.  Raises ModelError.
    """
    before, footprint = request.free() if request.free else None, footprint.stored(request.quantized)
    if before is not None and footprint.fit(before, 0).offload:
        request = replace(request, offload=True)
    network = request.load(role, kind)
    prepare(network)
    return network, Room(network, footprint, request.device, before, request.offload)
