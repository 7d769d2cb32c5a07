"""Arrays to a device and back, many in one copy: packed into one piece of memory that a GPU reads by itself.

Every copy of its own would wait for all work that was asked of the GPU before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vrx.environment import Environment
from vrx.media.frame import Plane

ALIGNMENT = 16  # bytes: every array begins at a multiple of it


def packs(device: torch.device) -> bool:
    """Whether copies are packed: to a GPU, unless `VRX_PACKED=off`."""
    return device.type == "cuda" and Environment.read().packed


def upload(arrays: Sequence[NDArray[Any]], device: torch.device, packed: bool = False) -> list[Tensor]:
    """Arrays of bytes, truth values or unsigned 16 bits as float tensors of the same shape on a device."""
    if not packed:
        return [to_device(array, device) for array in arrays]
    places = starts([array.nbytes for array in arrays])
    host = torch.empty(places[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
    memory = host.numpy()
    for array, begin in zip(arrays, places, strict=False):
        memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)[...] = array
    block = host.to(device, non_blocking=True)
    return [
        widen(block[begin : begin + array.nbytes], array.itemsize).view(array.shape)
        for array, begin in zip(arrays, places, strict=False)
    ]


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """One array, in a copy of its own; torch has few operations for unsigned 16 bits, so those travel as signed 32."""
    narrow = array.view(np.uint8) if array.dtype == np.bool_ else array
    values = narrow if narrow.dtype == np.uint8 else narrow.astype(np.int32)
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True).float()


def widen(samples: Tensor, size: int) -> Tensor:
    """Bytes, or pairs of them (`size` 2) that are unsigned numbers, as floats."""
    if size == 1:
        return samples.float()
    return (samples.view(torch.int16).to(torch.int32) & 0xFFFF).float()


def starts(sizes: Sequence[int]) -> list[int]:
    """Where pieces of these sizes begin, one behind the other; last where all of them end."""
    places = [0]
    for size in sizes:
        places.append(-(-(places[-1] + size) // ALIGNMENT) * ALIGNMENT)
    return places


def narrow(plane: Tensor, depth: int) -> Tensor:
    """Samples [H, W] rounded and clamped: bytes, or above 8 bits the pairs of bytes that unsigned 16 bits have."""
    rounded = plane.round().clamp_(0, (1 << depth) - 1)
    return rounded.to(torch.uint8) if depth == 8 else rounded.to(torch.int32).to(torch.int16)


def download(planes: Sequence[Tensor], packed: bool = False) -> list[Plane]:
    """What `narrow` gave, on the host: uint8 or uint16."""
    if not packed or not planes:
        return [as_plane(plane.cpu()) for plane in planes]
    block = torch.cat([plane.contiguous().view(torch.uint8).flatten() for plane in planes])
    host = torch.empty(block.shape, dtype=torch.uint8, pin_memory=block.is_cuda)
    host.copy_(block, non_blocking=True)
    if block.is_cuda:  # until here, not until all is done that other stages asked for meanwhile
        torch.accelerator.current_stream(block.device).record_event().synchronize()
    places = list(accumulate((plane.nbytes for plane in planes), initial=0))
    pieces = [host[begin:end] for begin, end in pairwise(places)]
    return [as_plane(piece.view(plane.dtype).view(plane.shape)) for piece, plane in zip(pieces, planes, strict=True)]


def as_plane(samples: Tensor) -> Plane:
    """Samples on the host as an array of unsigned numbers."""
    array = samples.numpy()
    return array if array.dtype == np.uint8 else array.view("<u2")
