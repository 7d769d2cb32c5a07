"""Noise of diffusion models: from the user's seed and the scene, drawn on the processor."""

from __future__ import annotations

import torch

from vrx.models.base import SceneStart

SCENE_SEEDS = 1_000_003  # between the seeds of two scenes; the first has the user's


def scene_generator(seed: int, scene: SceneStart) -> torch.Generator:
    """The generator of a scene's noise, the same for every device."""
    return torch.Generator().manual_seed((seed + SCENE_SEEDS * scene.number) % 2**63)
