"""The tensors of a step, refilled in place: clips are drawn, cut out, and run on from backward in time.

Knows prepared clips and a network's sizes; does not know losses or updates.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.networks.embedded.recurrent import PIXELS, RecurrentNetwork
from vrx.train.pool import GRID, Clips

GO_ON_SHARE = 0.5  # of the clips, once more in the other direction, with what they left
MOST_PASSES = 5
BLIND_SHARE = 0.25  # of the clips, restored without what later frames show
CUT_SHARE = 0.03  # of new clips, an unmarked cut
LEVEL_ERROR = 0.05  # deviation of the conditions from the true ones, where these are given
ESTIMATE_SHARE = 0.5  # of the clips that get the estimated ones, once these are any good
OUTSIDE = 1e4  # motion to nowhere


@dataclass
class Slot:
    """What a place of the batch shows: which clip, where cut out, in which direction, how often by now."""

    index: int = 0
    top: int = 0
    left: int = 0
    backward: bool = False
    passes: int = 0


class Batch:
    """The tensors of one scale's step; a graph reads them where they are.  `side` positions are cut out of a clip."""

    def __init__(self, scale: int, count: int, frames: int, side: int, network: RecurrentNetwork) -> None:
        device, pixels = network.weight.device, PIXELS[scale]
        self.scale, self.side, self._device = scale, side, device
        fine, finer = pixels * side, pixels * side * scale
        self.truth = torch.randint(0, 255, (count, frames, 3, finer, finer), dtype=torch.uint8, device=device)
        self.low = torch.randint(0, 255, (count, frames, 3, fine, fine), dtype=torch.uint8, device=device)
        self.motion = torch.zeros(count, frames, 2, side, side, dtype=torch.float16, device=device)
        self.later_motion = torch.zeros_like(self.motion)
        self.foreseen = torch.ones(count, device=device)
        self.levels = torch.zeros(count, 3, device=device)
        self.jitter = torch.zeros(count, 3, device=device)
        self.estimated = torch.zeros(count, 1, dtype=torch.bool, device=device)
        self.features = torch.zeros(count, network.config.channels, side, side, device=device)
        self.picture = torch.zeros(count, 3, fine, fine, device=device)
        self.gains = torch.zeros(count, device=device)
        self.slots = [Slot() for _ in range(count)]

    def refill(self, clips: Clips, filled: int, rng: random.Random, estimate: bool) -> None:
        """The next step's clips: some go on, backward in time, the others are drawn."""
        for place, slot in enumerate(self.slots):
            fresh = slot.passes in (0, MOST_PASSES) or rng.random() >= GO_ON_SHARE
            if fresh:
                slot.index, slot.passes = rng.randrange(filled), 0
                slot.top, slot.left = (rng.randint(0, GRID - self.side) for _ in range(2))
            slot.backward = rng.random() < 0.5 if fresh else not slot.backward
            slot.passes += 1
            self._show(place, slot, clips)
            if fresh and rng.random() >= CUT_SHARE:
                self.motion[place, 0].fill_(OUTSIDE)
                self.features[place].zero_()
        self.jitter.normal_(0, LEVEL_ERROR)
        self.foreseen.copy_(torch.rand(len(self.slots), device=self._device) >= BLIND_SHARE)
        chances = torch.rand(self.estimated.shape, device=self._device)
        self.estimated.copy_(chances < (ESTIMATE_SHARE if estimate else 0.0))

    def _show(self, place: int, slot: Slot, clips: Clips) -> None:
        def window(x: Tensor, unit: int) -> Tensor:
            top, left, side = (value * unit for value in (slot.top, slot.left, self.side))
            cut = x[..., top : top + side, left : left + side]
            return cut.flip(0) if slot.backward else cut

        pixels = PIXELS[self.scale]
        self.truth[place].copy_(window(clips.truth[slot.index], pixels * self.scale))
        self.low[place].copy_(window(clips.low[slot.index], pixels))
        self.motion[place].copy_(window(clips.motion[slot.index, int(slot.backward)], 1))
        self.later_motion[place].copy_(window(clips.motion[slot.index, int(not slot.backward)], 1))
        self.later_motion[place, -1].fill_(OUTSIDE)
        self.levels[place].copy_(clips.levels[slot.index])
