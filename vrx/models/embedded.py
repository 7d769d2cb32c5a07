"""The embedded system: all three tasks.  Here what keeps its size: classical estimate, causal transformer, pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vrx.errors import ModelError
from vrx.events import Note
from vrx.models import enlarge, sizes
from vrx.models.base import (
    AnyStage,
    CacheUsage,
    ChunkSchedule,
    DeviceChunk,
    RestoredChunk,
    SceneStart,
    Stage,
    StatelessStage,
)
from vrx.models.layouts import pad_to_multiple
from vrx.networks.embedded.blur import SharpnessNetwork, estimate_sigma
from vrx.networks.embedded.classical import smooth_fill, wiener
from vrx.networks.embedded.degradation import DamageNetwork
from vrx.networks.embedded.grid import GRID, deblur_inputs, inpaint_inputs, to_pixels
from vrx.networks.embedded.network import SIGMA_UNIT, SMALL, EmbeddedConfig, EmbeddedNetwork, Memory
from vrx.networks.embedded.recurrent import STANDARD, RecurrentConfig, RecurrentNetwork
from vrx.weights import checkpoint

ESTIMATED_FRAMES = enlarge.ESTIMATED_FRAMES  # of a scene, for its blur
ENLARGING, DAMAGE, SHARPNESS = "enlarging.", "damage.", "sharpness."  # before the names of their tensors
# after them a few at a time: pictures of 1280x720 then stay below what the allocator keeps at hand (32 MB),
# and the stages still need not wait for each other
SCHEDULE = ChunkSchedule(first=ESTIMATED_FRAMES, next=2)
LEAST_SIGMA = 0.3  # pixels; below it there is nothing to undo


@dataclass(frozen=True, kw_only=True)
class EmbeddedOptions:
    """What a run asks of the network; see `vrx.settings.RestoreSettings`."""

    task: str
    scale: int = 1
    sigma: float | None = None
    strength: float | None = None


@dataclass(frozen=True)
class EmbeddedParts:
    """The networks of one embedded checkpoint: `network` where the size stays, `enlarging` where it grows."""

    network: EmbeddedNetwork
    sharpness: SharpnessNetwork
    enlarging: RecurrentNetwork
    damage: DamageNetwork

    @property
    def parameters(self) -> int:
        """How many there are in all."""
        return sum(p.numel() for part in vars(self).values() for p in part.parameters())


def load_parts(path: Path) -> EmbeddedParts:
    """The networks of an embedded checkpoint, float32, on the CPU.  Raises ModelError."""
    tensors, metadata = checkpoint.load_safetensors(path)
    if metadata.get("family") != "embedded":
        raise ModelError(f"{path} is not a checkpoint of the embedded family")
    prefixes = (ENLARGING, DAMAGE, SHARPNESS)
    own = {n: t.float() for n, t in tensors.items() if not n.startswith(prefixes)}
    try:
        values = dict(checkpoint.parse_config(path, metadata))
        enlarging = RecurrentConfig(**values.pop(ENLARGING.rstrip("."), {}))
        config = EmbeddedConfig(**values)
        if (config, enlarging) != (SMALL, STANDARD):  # tried before memory is taken; not for ours: it loads torch's
            sizes.sane(config, len(own))  # compiler, a second
            sizes.sane(enlarging, len(tensors))
            with torch.device("meta"):
                trials = EmbeddedNetwork(config), RecurrentNetwork(enlarging)
            checkpoint.check_keys(trials[0], own, path)
            checkpoint.check_keys(trials[1], section(tensors, ENLARGING), path)
    except sizes.CANNOT_BE as error:
        raise ModelError(f"{path} asks for a network that cannot be: {error}") from error
    parts = EmbeddedParts(EmbeddedNetwork(config), SharpnessNetwork(), RecurrentNetwork(enlarging), DamageNetwork())
    checkpoint.load_into(parts.network, own, path)
    helpers = (parts.enlarging, parts.damage, parts.sharpness)
    for prefix, network in zip(prefixes, helpers, strict=True):
        checkpoint.load_into(network, section(tensors, prefix), path)
    for network in (parts.network, *helpers):
        network.eval()
    return parts


def section(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, float32, without it."""
    return {n.removeprefix(prefix): t.float() for n, t in tensors.items() if n.startswith(prefix)}


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

    def __init__(self, options: EmbeddedOptions, sharpness: SharpnessNetwork) -> None:
        self._options, self._sharpness = options, sharpness

    def start(self, scene: SceneStart) -> EncodeState:
        """A fresh state."""
        return EncodeState(scene, self._options.sigma)

    def step(self, chunk: DeviceChunk, state: EncodeState) -> tuple[EncodedChunk, EncodeState]:
        """Estimate, and what the network sees of it, frame by frame."""
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
        sigma = estimate_sigma(self._sharpness, frames)
        return sigma if sigma >= LEAST_SIGMA else 0.0

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """The blur; NaN stands for not known."""
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


class EmbeddedRestorer:
    """The three stages of the embedded system."""

    schedule = SCHEDULE

    def __init__(
        self,
        options: EmbeddedOptions,
        parts: EmbeddedParts,
        device: torch.device,
        dtype: torch.dtype,
        remember: bool = True,
    ) -> None:
        self.scale = options.scale
        self.stages: Mapping[str, AnyStage]
        if options.task == "upscale":
            enlarging = parts.enlarging.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.stages = {
                "encode": enlarge.Encode(options.scale, options.strength, parts.damage.to(device)),
                "generate": enlarge.Generate(options.scale, enlarging, remember),
                "decode": enlarge.Decode(options.scale),
            }
        else:
            network = parts.network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.stages = {
                "encode": Encode(options, parts.sharpness.to(device)),
                "generate": Generate(options.task, network, remember),
                "decode": Decode(),
            }
