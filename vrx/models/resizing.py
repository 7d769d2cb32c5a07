"""Results of models that enlarge by one factor, at the scale that was asked for."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vrx.events import Note
from vrx.models.base import SceneStart
from vrx.networks.overflow import clamp_to_unit


def crop(picture: Tensor, scene: SceneStart, native: int) -> Tensor:
    """A raw output [N, 3, H, W] in -1..1, enlarged by `native`: without padding, in 0..1, at the scene's size."""
    height, width = (native * side for side in scene.source)
    found = clamp_to_unit(picture[..., :height, :width] / 2 + 0.5)
    if scene.target == (height, width):
        return found
    return F.interpolate(found, scene.target, mode="bicubic", antialias=True).clamp(0, 1)


def resize_notes(model: str, native: int, scale: int, scene: SceneStart) -> tuple[Note, ...]:
    """The note on frames resized after the model, for a scene's first frame: once, and where they are."""
    if scale == native or scene.number:
        return ()
    text = f"{model} enlarges by {native}; its frames are then resized to {scale} times the source"
    return (Note("model-scale-resized", text, {"model": model, "model_scale": native, "scale": scale}),)
