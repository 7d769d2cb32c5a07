"""The ways in which a run can work on where memory runs out or numbers overflow, in the order in which they are tried.

Those that leave the result as it is come first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from vrx.models.base import ChunkSchedule
from vrx.models.family import Capabilities
from vrx.settings import MIN_TILE, Dtype, ModelSettings

TILES = (1024, 512, MIN_TILE)  # sides in pixels of output
HOSTS = frozenset(("cpu",))  # devices whose memory is the host's: weights that wait there would be in it all the same


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a run differs from what was planned.

    `in_turn`: one stage works at a time.  `offload`: weights of layers wait on the host.  `single`: frames go through
    the stages one by one.  `tile`: side in pixels of output, `dtype`: of the networks; None as the settings have it.
    """

    in_turn: bool = False
    offload: bool = False
    single: bool = False
    tile: int | None = None
    dtype: Dtype | None = None

    def settings(self, model: ModelSettings) -> ModelSettings:
        """The settings that a model is loaded with to work in this way."""
        if self.tile is not None:
            model = replace(model, tile=str(self.tile))
        return model if self.dtype is None else replace(model, dtype=self.dtype)

    def schedule(self, schedule: ChunkSchedule) -> ChunkSchedule:
        """The chunks of a model that works in this way."""
        return (schedule.single or schedule) if self.single else schedule


@dataclass(frozen=True)
class Step:
    """A step toward less memory: what it changes, its name, and what the user is told."""

    change: dict[str, bool | int]
    name: str
    words: str


IN_TURN = Step({"in_turn": True}, "one stage at a time", "the stages now work one after the other")
OFFLOAD = Step({"offload": True}, "weights on the host", "weights now wait in the machine's memory for their turn")
SINGLE = Step({"single": True}, "single frames", "frames now go through the model one by one")


def memory_steps(
    capabilities: Capabilities, schedule: ChunkSchedule | None, model: ModelSettings, device: torch.device
) -> Iterator[Step]:
    """The steps that a family can take from some settings on; `schedule` None where its networks did not even load.

    Tiles are taken unless they were switched off, and are smaller than those that were asked for.
    """
    offload = [OFFLOAD] * (capabilities.offloads and device.type not in HOSTS)
    if schedule is None:
        yield from offload
        return
    yield IN_TURN
    yield from offload
    if schedule.single is not None:
        yield SINGLE
    if "tile" in capabilities.options and model.decoder in capabilities.tiled_decoders and model.tile != "off":
        for side in TILES:
            if model.tile == "auto" or side < int(model.tile):
                yield Step({"tile": side}, f"tiles of {side}", f"the model now works in tiles of {side} pixels")
