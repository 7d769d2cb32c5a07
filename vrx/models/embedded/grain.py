"""Grain given back to restored frames: a stage around the first one measures it, one around the last adds it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vrx.models.base import DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.embedded.damage import SceneDamage
from vrx.models.embedded.denoise import LEAST_NOISE, LUMA_LIMITS
from vrx.networks.embedded.grain import Grain, add_grain, frame_seed, grain_size
from vrx.networks.embedded.planes import to_planes
from vrx.networks.embedded.shrink import shrink


def grain_of(frame: Tensor, damage: SceneDamage) -> Grain | None:
    """The grain of a scene, by its damage and a frame [1, 3, H, W] of it; None where it is too weak to be seen."""
    levels = (damage.luma_noise, damage.chroma_noise)
    if all(level < least for level, least in zip(levels, LEAST_NOISE, strict=True)):
        return None
    luma, chroma = (level / 255 for level in levels)
    planes = to_planes(frame)
    variance = planes.new_tensor([luma**2, chroma**2]).view(1, 2, 1, 1).expand(1, 2, *frame.shape[-2:])
    removed = planes - shrink(planes, variance, LUMA_LIMITS[0])
    return Grain(luma, chroma, grain_size(removed[:, :1]), grain_size(removed[:, 1:]))


@dataclass(frozen=True)
class FoundState:
    """The state of the stage within, and the grain of the scene, once its damage is known."""

    inner: Any
    known: bool = False
    grain: Grain | None = None


class FindGrain(Stage[DeviceChunk, Any, FoundState]):
    """A first stage whose chunks say what grain the scene has."""

    def __init__(self, stage: Stage[DeviceChunk, Any, Any]) -> None:
        self._stage = stage

    def start(self, scene: SceneStart) -> FoundState:
        """Nothing is known."""
        return FoundState(self._stage.start(scene))

    def step(self, chunk: DeviceChunk, state: FoundState) -> tuple[Any, FoundState]:
        """What the stage within gives, with the grain."""
        encoded, inner = self._stage.step(chunk, state.inner)
        known, grain = state.known, state.grain
        if not known and inner.damage is not None:
            known, grain = True, grain_of(chunk.frames[:1], inner.damage)
        return replace(encoded, grain=grain), FoundState(inner, known, grain)

    def save(self, state: FoundState) -> dict[str, Tensor]:
        """The grain, and what the stage within saves."""
        inner = self._stage.save(state.inner)
        if not state.known:
            return inner
        return {**inner, "grain": torch.empty(0) if state.grain is None else state.grain.tensor()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> FoundState:
        """The state that `save` gave."""
        numbers = tensors.get("grain")
        inner = self._stage.load(scene, {name: tensor for name, tensor in tensors.items() if name != "grain"})
        found = Grain.from_tensor(numbers) if numbers is not None and len(numbers) else None
        return FoundState(inner, numbers is not None, found)


@dataclass(frozen=True)
class GrainState:
    """The state of the stage within, the scene, and how many of its frames are done."""

    inner: Any
    scene: SceneStart
    frames: int = 0


class WithGrain(Stage[Any, RestoredChunk, GrainState]):
    """A last stage whose frames get back `amount` (0 to 1) of the grain in its chunks, drawn anew for each frame."""

    def __init__(self, stage: Stage[Any, RestoredChunk, Any], amount: float, seed: int) -> None:
        self._stage, self._amount, self._seed = stage, amount, seed

    def start(self, scene: SceneStart) -> GrainState:
        """A fresh state."""
        return GrainState(self._stage.start(scene), scene)

    def step(self, chunk: Any, state: GrainState) -> tuple[RestoredChunk, GrainState]:
        """The frames of the stage within, with grain where there was some."""
        restored, inner = self._stage.step(chunk, state.inner)
        grain: Grain | None = chunk.grain
        if grain is not None:
            wanted = replace(grain, luma=grain.luma * self._amount, chroma=grain.chroma * self._amount)
            for number, frame in enumerate(restored.frames, state.frames):
                add_grain(frame, wanted, frame_seed(self._seed, state.scene.number, number))
            restored = replace(restored, unchanged=False)
        return restored, GrainState(inner, state.scene, state.frames + len(restored.frames))

    def save(self, state: GrainState) -> dict[str, Tensor]:
        """The number of frames, and what the stage within saves."""
        return {**self._stage.save(state.inner), "grained": torch.tensor(state.frames)}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GrainState:
        """The state that `save` gave."""
        inner = {name: tensor for name, tensor in tensors.items() if name != "grained"}
        return GrainState(self._stage.load(scene, inner), scene, int(tensors["grained"]))
