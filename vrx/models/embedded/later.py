"""Frames that are still to come, in blocks, for the branch of the enlarging network that runs backward in time.

The branch walks a block from its last frame to its first.  What it finds at the first ones is kept until the chunks
have come that far; at the others, which have little ahead of them, it is found again with the next block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.models.base import DeviceChunk
from vrx.models.optical_flow import Motion, Waiting

OVERLAP = 2  # frames at a block's end


@dataclass(frozen=True)
class Block:
    """Frames [B, 3, H, W], the first of which is a chunk's first, and how many of them keep what is found there.

    `motion` gives [B, 2, h, w]: from each position to its content's place in the frame after; zero for the last frame.
    """

    pictures: Tensor
    motion: Waiting
    kept: int


@dataclass(frozen=True)
class Coverage:
    """How far the latest block reaches: `frames` from the next chunk's first on have what was found there.

    `beyond`: frames of the block after these.  `lost`: what was found is not at hand, as a run was resumed, and is to
    be found again from the same frames.
    """

    frames: int = 0
    beyond: int = 0
    lost: bool = False

    def plan(self, count: int, ahead: int, ends: bool) -> tuple[int, Coverage]:
        """The length of the block that begins with a chunk of `count` frames, 0 for none, and what is covered after it.

        A chunk that is covered begins a block only where what was found is lost: the rest of the same one, which ends
        where it ended.  `ahead`: frames that come along after the chunk; `ends`: the scene ends with them.
        """
        if self.frames >= count:
            return (self.frames + self.beyond) * self.lost, Coverage(self.frames - count, self.beyond)
        beyond = 0 if ends else min(OVERLAP, ahead // 2)
        return count + ahead, Coverage(ahead - beyond, beyond)


NOTHING = Coverage()


def frames_ahead(chunk: DeviceChunk) -> int:
    """How many frames that come along with a chunk are new ones: a scene's last frame is repeated."""
    if chunk.ahead is None:
        return 0
    count, frames = len(chunk.ahead), [*chunk.frames[-1:], *chunk.ahead]
    while count and torch.equal(frames[count], frames[count - 1]):
        count -= 1
    return count


def make_block(search: Motion, pictures: Tensor, luma: Tensor, kept: int) -> Block:
    """The block of pictures [B, 3, H, W] whose motion is found on `luma`, uint8 [B, h, w]."""
    backward = search.begin(luma.flip(0))

    def motion() -> Tensor:
        found = backward().flip(0)
        return torch.cat([found, found.new_zeros(1, *found.shape[1:])]).to(pictures.device)

    return Block(pictures, motion, kept)
