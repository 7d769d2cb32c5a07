"""The embedded system: classical estimate in, tiny causal transformer, pixels out; all three tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.errors import ModelError
from vrx.models.classical import bicubic, bicubic_grid, smooth_fill, wiener
from vrx.models.embedded import SIGMA_UNIT, SMALL, EmbeddedConfig, EmbeddedNetwork, Memory
from vrx.models.feedback import hint, luma
from vrx.models.grids import GRID, a_pixel_each, deblur_inputs, inpaint_inputs, to_pixels, upscale_inputs
from vrx.models.sharpness import SharpnessNetwork, estimate_sigma
from vrx.models.strength import StrengthNetwork, estimate_strength
from vrx.restorers import sizes
from vrx.restorers.base import ChunkSchedule, Pixels, SceneStart, Stage
from vrx.restorers.motion import Motion, brightness
from vrx.restorers.stages import padded
from vrx.weights import load

ESTIMATED_FRAMES = 4  # of a scene, for its blur and its compression
LEAD_FRAMES = 4  # of a scene, enlarged from last to first before it begins: its first frame has one to build on
# after them a few at a time: pictures of 1280x720 then stay below what the allocator keeps at hand (32 MB),
# and the stages still need not wait for each other
SCHEDULE = ChunkSchedule(first=ESTIMATED_FRAMES, next=2)
LEAST_SIGMA = 0.3  # pixels; below it there is nothing to undo
TOLD_STRENGTH = 0.15  # from which on the user is told


@dataclass(frozen=True, kw_only=True)
class EmbeddedOptions:
    """What a run asks of the network; see `vrx.settings.RestoreSettings`."""

    task: str
    scale: int = 1
    sigma: float | None = None
    strength: float | None = None

    @property
    def mode(self) -> str:
        """The network's name for it."""
        return f"upscale{self.scale}" if self.task == "upscale" else self.task

    @property
    def on_grid(self) -> bool:
        """Whether a grid position is a pixel of the source, so that the base can stay on the grid as well."""
        return self.task == "upscale" and self.scale > 2


@dataclass(frozen=True)
class EmbeddedParts:
    """The networks of one embedded checkpoint."""

    network: EmbeddedNetwork
    sharpness: SharpnessNetwork
    strength: StrengthNetwork


def load_parts(path: Path) -> EmbeddedParts:
    """The networks of an embedded checkpoint, float32, on the CPU.  Raises ModelError."""
    tensors, metadata = load.read(path)
    if metadata.get("family") != "embedded":
        raise ModelError(f"{path} is not a checkpoint of the embedded family")
    sharpness, strength = SharpnessNetwork().eval(), StrengthNetwork().eval()
    helpers = {"sharpness.": sharpness, "strength.": strength}
    own = {n: t.float() for n, t in tensors.items() if not n.startswith(tuple(helpers))}
    try:
        config = EmbeddedConfig(**load.config(path, metadata))
        if config != SMALL:  # tried before memory is taken; not for ours: it loads torch's compiler, a second
            sizes.sane(config, len(own))
            with torch.device("meta"):
                trial = EmbeddedNetwork(config)
            load.fit(trial, own, path)
    except sizes.CANNOT_BE as error:
        raise ModelError(f"{path} asks for a network that cannot be: {error}") from error
    network = EmbeddedNetwork(config)
    load.fill(network, own, path)
    for prefix, helper in helpers.items():
        load.fill(helper, {n.removeprefix(prefix): t.float() for n, t in tensors.items() if n.startswith(prefix)}, path)
    return EmbeddedParts(network.eval(), sharpness, strength)


@dataclass
class EncodeState:
    """Blur (pixels) and damage (0..1) of the scene; None until its first chunk was seen, or never asked for.

    `latest`: brightness of the frame before, [T, H, W] with T of 0 or 1, where motion is looked for.
    """

    scene: SceneStart
    sigma: float | None
    strength: float | None
    latest: Tensor


class Encode:
    """Pixels to the classical estimate and the network's grid."""

    def __init__(self, options: EmbeddedOptions, sharpness: SharpnessNetwork, strength: StrengthNetwork) -> None:
        self._options, self._sharpness, self._strength = options, sharpness, strength
        self._motion = Motion()

    def start(self, scene: SceneStart) -> EncodeState:
        """A fresh state."""
        return EncodeState(scene, self._options.sigma, self._options.strength, torch.empty(0, 0, 0, dtype=torch.uint8))

    def step(self, chunk: Pixels, state: EncodeState) -> tuple[Pixels, EncodeState]:
        """Estimate, and what the network sees of it, frame by frame."""
        task = self._options.task
        if task == "deblur" and state.sigma is None:
            state.sigma = self.estimate(chunk.frames[:ESTIMATED_FRAMES])
            chunk.notes.append(f"scene {state.scene.number + 1}: blur of {state.sigma:.1f} px estimated")
        if task == "upscale" and state.strength is None:
            state.strength = estimate_strength(self._strength, chunk.frames[:ESTIMATED_FRAMES])
            if state.strength >= TOLD_STRENGTH:
                chunk.notes.append(f"scene {state.scene.number + 1}: damage of strength {state.strength:.1f} estimated")
        if task == "upscale":
            enlarge = bicubic_grid if self._options.on_grid else bicubic
            chunk.carry["base"] = enlarge(chunk.frames, self._options.scale)
            low = padded(chunk.frames, 2)
            chunk.latents = upscale_inputs(low, self._options.scale)
            self.look(chunk, a_pixel_each(low, self._options.scale), state)
        elif task == "deblur":
            assert state.sigma is not None
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
        known = state.strength is not None
        levels = [(state.sigma or 0.0) / SIGMA_UNIT, state.strength or 0.0, float(known)]
        chunk.carry["levels"] = chunk.frames.new_tensor([levels])
        return chunk, state

    def look(self, chunk: Pixels, pictures: Tensor, state: EncodeState) -> None:
        """Find where each position's content was in the frame restored before it, `motion` [T, 2, H, W].

        Before a scene's first frame those after it are restored, last to first; `lead` [L - 1, 2, H, W] is
        the motion of these: where the content of each but the last will be in the next one.
        """
        levels = brightness(pictures)
        if len(state.latest):
            motion = self._motion.between(torch.cat([state.latest, levels]))
        else:
            lead = self._motion.between(levels[:LEAD_FRAMES].flip(0)).flip(0)
            chunk.carry["lead"] = lead.to(pictures.device)
            first = lead[:1] if len(lead) else lead.new_zeros(1, *lead.shape[1:])
            motion = torch.cat([first, self._motion.between(levels)])
        chunk.carry["motion"] = motion.to(pictures.device)
        state.latest = levels[-1:]

    def estimate(self, frames: Tensor) -> float:
        """The blur of frames [T, 3, H, W] in pixels, 0 where they are sharp."""
        sigma = estimate_sigma(self._sharpness, frames)
        return sigma if sigma >= LEAST_SIGMA else 0.0

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """Blur, damage (NaN stands for not known) and the latest frame."""
        found = {"sigma": state.sigma, "strength": state.strength}
        kept = {n: torch.tensor(float("nan") if value is None else value) for n, value in found.items()}
        return {**kept, "latest": state.latest.clone()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        sigma, strength = (None if value.isnan() else float(value) for value in (tensors["sigma"], tensors["strength"]))
        return EncodeState(scene, sigma, strength, tensors["latest"])


class Generate:
    """The network, a frame at a time, over its rolling cache."""

    def __init__(self, options: EmbeddedOptions, network: EmbeddedNetwork, remember: bool = True) -> None:
        self._options, self._mode, self._network, self._remember = options, options.mode, network, remember
        self._dtype = network.weight.dtype

    def start(self, scene: SceneStart) -> Memory:
        """An empty memory for the scene's grid."""
        height, width = scene.source
        if self._mode == "upscale2":
            height, width = -(-height // 2), -(-width // 2)
        elif not self._mode.startswith("upscale"):
            height, width = -(-height // GRID), -(-width // GRID)
        else:
            height, width = height + height % 2, width + width % 2
        return self._network.allocate(self._mode, height, width)

    def step(self, chunk: Pixels, state: Memory) -> tuple[Pixels, Memory]:
        """Residuals [T, 3 s^2, H, W] of the frames' grids, in order."""
        assert chunk.latents is not None
        levels = chunk.carry["levels"].to(self._dtype)
        grids = chunk.latents.to(self._dtype).contiguous(memory_format=torch.channels_last).split(1)

        def advance(number: int, fresh: bool, motions: Tensor | None) -> Tensor:
            """One frame, told of the one before where the mode takes hints."""
            grid = grids[number]
            if motions is None:
                return self._network.step(self._mode, grid, levels, state, fresh)
            base = self.base_luma(chunk.carry["base"][number : number + 1], grid.shape)
            told = torch.zeros_like(base)
            if state.shown is not None:
                told = hint(state.shown, base, motions[number : number + 1])
            residual = self._network.step(self._mode, torch.cat([grid, told.to(grid)], 1), levels, state, fresh)
            state.shown = luma(residual).add_(base).clamp_(0, 1)
            return residual

        references = chunk.refresh | ({0} if state.cache.end == 0 else set())
        lead = chunk.carry.get("lead")
        if self._remember and lead is not None:
            for number in range(len(lead), 0, -1):
                advance(number, number == len(lead), lead)
        residuals = []
        for number, grid in enumerate(grids):
            if not self._remember:
                state = self._network.allocate(self._mode, *grid.shape[-2:])
            fresh = number in references or not self._remember
            residuals.append(advance(number, fresh, chunk.carry.get("motion")))
        chunk.latents = torch.cat(residuals)
        return chunk, state

    def base_luma(self, base: Tensor, grid: torch.Size) -> Tensor:
        """Brightness of an estimate [1, 3, ...] on the whole grid, [1, hints, H, W]."""
        if not self._options.on_grid:
            base = F.pixel_unshuffle(padded(base, GRID), GRID)
        missing = (0, grid[-1] - base.shape[-1], 0, grid[-2] - base.shape[-2])
        return F.pad(luma(base), missing, mode="replicate") if any(missing) else luma(base)

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
        """Restored frames [T, 3, s H, s W] in 0..1."""
        assert chunk.latents is not None
        base = chunk.carry["base"]
        height, width = state.target
        residual = chunk.latents if self._options.on_grid else to_pixels(chunk.latents)
        residual = residual[..., : base.shape[-2], : base.shape[-1]]
        if self._options.task == "inpaint":
            residual = residual * chunk.carry["mask"]
        # in place: pages that are touched for the first time cost more than the sum
        restored = base.add_(residual).clamp_(0, 1)
        chunk.frames = to_pixels(restored) if self._options.on_grid else restored[..., :height, :width]
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
        network = parts.network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scale = options.scale
        self.encode: Stage = Encode(options, parts.sharpness.to(device), parts.strength.to(device))
        self.generate: Stage = Generate(options, network, remember)
        self.decode: Stage = Decode(options)
