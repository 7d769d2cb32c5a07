"""The enlarging network's steps as its stage takes them: each by itself, or on a GPU recorded once and replayed."""

from __future__ import annotations

import torch
from torch import Tensor

from vrx.networks.embedded.recurrent import Neighbors, PreviousFrame, RecurrentNetwork
from vrx.networks.replay import Record, Replayed, record_graph
from vrx.switches import Switches

MOST_RECORDED = 1 << 17  # positions of a frame; with more the device is busy longer than the host asks


class Steps:
    """Steps of one network at one scale; `record` None: nothing is recorded."""

    def __init__(self, network: RecurrentNetwork, scale: int, record: Record | None = None) -> None:
        self.network, self.scale = network, scale
        self._forward = None if record is None else Replayed(self._walk, record)
        self._backward = None if record is None else Replayed(self._walk_back, record)

    @classmethod
    def on(cls, device: torch.device, network: RecurrentNetwork, scale: int) -> Steps:
        """On a device: recorded on a GPU, unless that is switched off."""
        return cls(network, scale, record_graph if device.type == "cuda" and Switches.read().graphs else None)

    def forward(
        self, picture: Tensor, levels: Tensor, shifts: tuple[Tensor, ...], neighbors: Neighbors
    ) -> tuple[Tensor, PreviousFrame]:
        """As `RecurrentNetwork.step`; `shifts` are those of `levels`."""
        previous, motion = neighbors.previous, neighbors.motion
        if self._forward is None or previous is None or motion is None or positions(motion) > MOST_RECORDED:
            return self.network.step(self.scale, picture, shifts, neighbors)
        found = self._forward(picture, levels, previous.features, previous.picture, motion, neighbors.later)
        return found[0], PreviousFrame(found[1], picture)

    def backward(self, pictures: Tensor, levels: Tensor, motion: Tensor) -> tuple[Tensor, ...]:
        """As `RecurrentNetwork.look_back`."""
        if self._backward is None or positions(motion) > MOST_RECORDED:
            return self._walk_back(pictures, levels, motion)
        return self._backward(pictures, levels, motion)

    def _walk(self, *given: Tensor | None) -> tuple[Tensor, Tensor]:
        picture, levels, features, before, motion, later = given
        assert picture is not None
        assert levels is not None
        assert features is not None
        assert before is not None
        neighbors = Neighbors(PreviousFrame(features, before), motion, later)
        residual, left = self.network.step(self.scale, picture, self.network.shifts(levels), neighbors)
        return residual, left.features

    def _walk_back(self, pictures: Tensor, levels: Tensor, motion: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.look_back(self.scale, pictures, levels, motion))


def positions(motion: Tensor) -> int:
    """Of a frame on the network's grid."""
    return motion.shape[-2] * motion.shape[-1]
