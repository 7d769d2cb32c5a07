"""The embedded system: all three tasks.  Here what keeps its size: classical estimate, causal transformer, pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vrx.errors import ModelError
from vrx.models import enlarge, sizes
from vrx.models.base import ChunkSchedule, Pixels, SceneStart, Stage
from vrx.models.stages import padded
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


@dataclass
class EncodeState:
    """Blur of the scene in pixels; None until its first chunk was seen, or never asked for."""

    scene: SceneStart
    sigma: float | None


class Encode:
    """Pixels to the classical estimate and the network's grid."""

    def __init__(self, options: EmbeddedOptions, sharpness: SharpnessNetwork) -> None:
        self._options, self._sharpness = options, sharpness

    def start(self, scene: SceneStart) -> EncodeState:
        """A fresh state."""
        return EncodeState(scene, self._options.sigma)

    def step(self, chunk: Pixels, state: EncodeState) -> tuple[Pixels, EncodeState]:
        """Estimate, and what the network sees of it, frame by frame."""
        if self._options.task == "deblur":
            if state.sigma is None:
                state.sigma = self.estimate(chunk.frames[:ESTIMATED_FRAMES])
                chunk.notes.append(f"scene {state.scene.number + 1}: blur of {state.sigma:.1f} px estimated")
            blurred = padded(chunk.frames, GRID)
            base = wiener(blurred, state.sigma) if state.sigma >= LEAST_SIGMA else blurred.clone()
            chunk.carry["base"] = base
            chunk.latents = deblur_inputs(blurred, base)
        else:
            assert chunk.masks is not None
            mask = padded(chunk.masks, GRID)
            base = smooth_fill(padded(chunk.frames, GRID), mask)
            chunk.carry["base"], chunk.carry["mask"] = base, mask
            chunk.latents = inpaint_inputs(base, mask)
        strength = self._options.strength
        levels = [(state.sigma or 0.0) / SIGMA_UNIT, strength or 0.0, float(strength is not None)]
        chunk.carry["levels"] = chunk.frames.new_tensor([levels])
        return chunk, state

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


class Generate:
    """The network, a frame at a time, over its rolling cache."""

    def __init__(self, mode: str, network: EmbeddedNetwork, remember: bool = True) -> None:
        self._mode, self._network, self._remember = mode, network, remember
        self._dtype = network.weight.dtype

    def start(self, scene: SceneStart) -> Memory:
        """An empty memory for the scene's grid."""
        height, width = (-(-side // GRID) for side in scene.source)
        return self._network.allocate(height, width)

    def step(self, chunk: Pixels, state: Memory) -> tuple[Pixels, Memory]:
        """Residuals [T, 3 x 4 x 4, H, W] of the frames' grids, in order."""
        assert chunk.latents is not None
        levels = chunk.carry["levels"].to(self._dtype)
        grids = chunk.latents.to(self._dtype).contiguous(memory_format=torch.channels_last).split(1)
        references = chunk.refresh | ({0} if state.cache.end == 0 else set())
        residuals = []
        for number, grid in enumerate(grids):
            if not self._remember:
                state = self._network.allocate(*grid.shape[-2:])
            fresh = number in references or not self._remember
            residuals.append(self._network.step(self._mode, grid, levels, state, fresh))
        chunk.latents = torch.cat(residuals)
        return chunk, state

    def save(self, state: Memory) -> dict[str, Tensor]:
        """The memory."""
        return state.tensors()

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> Memory:
        """The memory that `save` gave."""
        memory = self.start(scene)
        memory.restore(tensors)
        return memory


class Decode:
    """The residual back to pixels, on top of the estimate; known pixels stay what they were."""

    def __init__(self, options: EmbeddedOptions) -> None:
        self._options = options

    def start(self, scene: SceneStart) -> SceneStart:
        """Decoding remembers nothing but the sizes."""
        return scene

    def step(self, chunk: Pixels, state: SceneStart) -> tuple[Pixels, SceneStart]:
        """Restored frames [T, 3, H, W] in 0..1."""
        assert chunk.latents is not None
        base = chunk.carry["base"]
        height, width = state.target
        residual = to_pixels(chunk.latents)[..., : base.shape[-2], : base.shape[-1]]
        if self._options.task == "inpaint":
            residual = residual * chunk.carry["mask"]
        # in place: pages that are touched for the first time cost more than the sum
        chunk.frames = base.add_(residual).clamp_(0, 1)[..., :height, :width]
        chunk.latents = None
        chunk.carry = {}
        return chunk, state

    def save(self, state: SceneStart) -> dict[str, Tensor]:
        """Nothing to keep."""
        return {}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> SceneStart:
        """As `start`."""
        return scene


class EmbeddedRestorer:
    """The three stages of the embedded system."""

    name = "embedded"
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
        self.encode: Stage
        self.generate: Stage
        self.decode: Stage
        if options.task == "upscale":
            enlarging = parts.enlarging.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.encode = enlarge.Encode(options.scale, options.strength, parts.damage.to(device))
            self.generate = enlarge.Generate(options.scale, enlarging, remember)
            self.decode = enlarge.Decode(options.scale)
        else:
            network = parts.network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.encode = Encode(options, parts.sharpness.to(device))
            self.generate = Generate(options.task, network, remember)
            self.decode = Decode(options)
