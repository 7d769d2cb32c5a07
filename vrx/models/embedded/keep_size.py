"""Deblurring and inpainting: a classical estimate in, a causal transformer over it, pixels out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.events import Note
from vrx.models.base import CacheUsage, DeviceChunk, RestoredChunk, SceneStart, Stage, StatelessStage
from vrx.models.embedded.upscale import ESTIMATED_FRAMES
from vrx.models.layouts import pad_to_multiple
from vrx.networks.embedded.blur import BlurEstimator, estimate_sigma
from vrx.networks.embedded.classical import smooth_fill, wiener
from vrx.networks.embedded.grid import GRID, deblur_inputs, inpaint_inputs, to_pixels
from vrx.networks.embedded.network import SIGMA_UNIT, EmbeddedNetwork, Memory

LEAST_SIGMA = 0.3  # pixels; below it there is nothing to undo


@dataclass(frozen=True, kw_only=True)
class EmbeddedOptions:
    """Options of the networks; see `vrx.settings.RestoreSettings`."""

    task: str
    scale: int = 1
    sigma: float | None = None
    strength: float | None = None


@dataclass(frozen=True)
class EncodedChunk:
    """From encode to generate.

    `base`: the classical estimate [T, 3, H, W], sides padded to the grid; `grids`: what the network sees of it,
    [T, inputs, H/4, W/4]; `mask`: [T, 1, H, W] where to fill, or None; `levels`: conditions [1, LEVELS];
    `refresh`: frames that become the reference.
    """

    base: Tensor
    grids: Tensor
    mask: Tensor | None
    levels: Tensor
    refresh: frozenset[int]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class ResidualChunk:
    """From generate to decode: residuals [T, 3 x 4 x 4, H/4, W/4] to add to the base."""

    base: Tensor
    residuals: Tensor
    mask: Tensor | None
    notes: tuple[Note, ...] = ()


@dataclass
class EncodeState:
    """Blur of the scene in pixels; None until its first chunk was seen, or never asked for."""

    scene: SceneStart
    sigma: float | None


class Encode(Stage[DeviceChunk, EncodedChunk, EncodeState]):
    """Pixels to the classical estimate and the network's grid."""

    def __init__(self, options: EmbeddedOptions, estimator: BlurEstimator) -> None:
        self._options, self._estimator = options, estimator

    def start(self, scene: SceneStart) -> EncodeState:
        """A fresh state."""
        return EncodeState(scene, self._options.sigma)

    def step(self, chunk: DeviceChunk, state: EncodeState) -> tuple[EncodedChunk, EncodeState]:
        """Classical estimate, and the network's input made of it, frame by frame."""
        notes: tuple[Note, ...] = ()
        mask = None
        if self._options.task == "deblur":
            if state.sigma is None:
                sigma = self.estimate(chunk.frames[:ESTIMATED_FRAMES])
                state, notes = EncodeState(state.scene, sigma), (blur_note(state.scene.number + 1, sigma),)
            assert state.sigma is not None
            blurred = pad_to_multiple(chunk.frames, GRID)
            base = wiener(blurred, state.sigma) if state.sigma >= LEAST_SIGMA else blurred.clone()
            grids = deblur_inputs(blurred, base)
        else:
            assert chunk.masks is not None
            mask = pad_to_multiple(chunk.masks, GRID)
            base = smooth_fill(pad_to_multiple(chunk.frames, GRID), mask)
            grids = inpaint_inputs(base, mask)
        strength = self._options.strength
        levels = [(state.sigma or 0.0) / SIGMA_UNIT, strength or 0.0, float(strength is not None)]
        return EncodedChunk(base, grids, mask, chunk.frames.new_tensor([levels]), chunk.refresh, notes), state

    def estimate(self, frames: Tensor) -> float:
        """The blur of frames [T, 3, H, W] in pixels, 0 where they are sharp."""
        sigma = estimate_sigma(self._estimator, frames)
        return sigma if sigma >= LEAST_SIGMA else 0.0

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """The blur; NaN where it is not known."""
        sigma = float("nan") if state.sigma is None else state.sigma
        return {"sigma": torch.tensor(sigma, dtype=torch.float64)}  # rounded, it would change every later frame

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        sigma = tensors["sigma"]
        return EncodeState(scene, None if sigma.isnan() else float(sigma))


class Generate(Stage[EncodedChunk, ResidualChunk, Memory]):
    """The network, a frame at a time, over its rolling cache."""

    def __init__(self, mode: str, network: EmbeddedNetwork, remember: bool = True) -> None:
        self._mode, self._network, self._remember = mode, network, remember
        self._dtype = network.weight.dtype

    def start(self, scene: SceneStart) -> Memory:
        """An empty memory for the scene's grid."""
        height, width = (-(-side // GRID) for side in scene.source)
        return self._network.allocate(height, width)

    def step(self, chunk: EncodedChunk, state: Memory) -> tuple[ResidualChunk, Memory]:
        """Residuals of the frames' grids, in order."""
        levels = chunk.levels.to(self._dtype)
        grids = chunk.grids.to(self._dtype).contiguous(memory_format=torch.channels_last).split(1)
        references = chunk.refresh | ({0} if state.cache.end == 0 else set())
        residuals = []
        for number, grid in enumerate(grids):
            if not self._remember:
                state = self._network.allocate(*grid.shape[-2:])
            fresh = number in references or not self._remember
            residuals.append(self._network.step(self._mode, grid, levels, state, fresh))
        return ResidualChunk(chunk.base, torch.cat(residuals), chunk.mask, chunk.notes), state

    def save(self, state: Memory) -> dict[str, Tensor]:
        """The memory."""
        return state.tensors()

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> Memory:
        """The memory that `save` gave."""
        memory = self.start(scene)
        memory.restore(tensors)
        return memory

    def cache_usage(self, state: Memory) -> CacheUsage:
        """Keys, values and features of earlier frames."""
        features = sum(x.nbytes for x in state.features.features)
        return CacheUsage(state.cache.nbytes + features, state.cache.full)


class Decode(StatelessStage[ResidualChunk, RestoredChunk]):
    """The residual back to pixels, on top of the estimate; known pixels stay what they were."""

    def step(self, chunk: ResidualChunk, state: SceneStart) -> tuple[RestoredChunk, SceneStart]:
        """Restored frames [T, 3, H, W] in 0..1."""
        height, width = state.target
        residual = to_pixels(chunk.residuals)[..., : chunk.base.shape[-2], : chunk.base.shape[-1]]
        if chunk.mask is not None:
            residual = residual * chunk.mask
        # in place: pages that are touched for the first time cost more than the sum
        frames = chunk.base.add_(residual).clamp_(0, 1)[..., :height, :width]
        return RestoredChunk(frames, chunk.notes), state


def blur_note(scene: int, sigma: float) -> Note:
    """The estimated blur of a scene, counted from 1."""
    return Note(
        "blur-estimated", f"scene {scene}: estimated blur of {sigma:.1f} px", {"scene": scene, "sigma": round(sigma, 2)}
    )
