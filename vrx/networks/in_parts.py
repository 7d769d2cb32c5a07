"""What takes less memory in parts, and gives the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDEST = 1 << 27  # numbers of a map, from which on layers that mix no frames with later ones take fewer at once
TOKENS = 8192  # of a part: enough for a matrix product to be as fast as it gets


def feed_forward(network: nn.Module, x: Tensor) -> Tensor:
    """A feed-forward of tokens [B, N, D], whose maps are several times as wide inside, in parts of at most TOKENS."""
    if torch.compiler.is_compiling() or x.shape[1] <= TOKENS:
        out: Tensor = network(x)
        return out
    return torch.cat([network(part) for part in x.split(TOKENS, 1)], 1)


def frames_at_once(numbers: int) -> int:
    """Frames that layers take together whose maps have so many numbers a frame; a power of 2, as they come in fours."""
    return 1 << (max(1, WIDEST // numbers).bit_length() - 1)
