"""Stages that the systems on Wan share: decode, and what they keep between chunks."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models import autoencoders
from vrx.models.autoencoders import Caches, Streamed
from vrx.models.base import Pixels, SceneStart


def video(frames: Tensor) -> Tensor:
    """[T, 3, H, W] in 0..1 to [1, 3, T, H, W] in -1..1."""
    return frames.transpose(0, 1)[None] * 2 - 1


def frames_of(x: Tensor) -> Tensor:
    """The inverse of `video`, clamped."""
    return ((x[0].transpose(0, 1) + 1) / 2).clamp_(0, 1)


def padded(x: Tensor, multiple: int) -> Tensor:
    """[..., H, W] with its last row and column repeated up to a multiple."""
    extra = (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple)
    if not any(extra):
        return x
    flat = x.flatten(0, -3)[None]
    return F.pad(flat, extra, mode="replicate")[0].view(
        *x.shape[:-2], *(flat.shape[-2] + extra[3], flat.shape[-1] + extra[1])
    )


def up_to(side: int, multiple: int) -> int:
    """The next multiple."""
    return side + -side % multiple


@dataclass
class CodecState:
    """A codec's caches in one scene."""

    scene: SceneStart
    caches: Caches = field(default_factory=list)


class Decode:
    """Latents to pixels, cut to the scene's size; known pixels of a mask stay as they were."""

    def __init__(self, streamed: Streamed, device: torch.device) -> None:
        self._streamed, self._device = streamed, device

    def start(self, scene: SceneStart) -> CodecState:
        """Empty caches."""
        return CodecState(scene)

    def step(self, chunk: Pixels, state: CodecState) -> tuple[Pixels, CodecState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        assert chunk.latents is not None
        x, caches = self._streamed.step(chunk.latents, state.caches)
        height, width = state.scene.target
        out = frames_of(x)[..., :height, :width]
        if chunk.masks is not None:
            out = torch.where(chunk.masks > 0, out, chunk.frames)
        chunk.frames, chunk.latents, chunk.carry = out, None, {}
        return chunk, CodecState(state.scene, caches)

    def save(self, state: CodecState) -> dict[str, Tensor]:
        """The caches."""
        return autoencoders.saved(state.caches)

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> CodecState:
        """The state that `save` gave."""
        return CodecState(scene, autoencoders.restored(tensors, self._device))
