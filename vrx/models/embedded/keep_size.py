"""Deblurring: a classical estimate in, a causal transformer over it, pixels out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.events import Note
from vrx.models.base import CacheUsage, DeviceChunk, RestoredChunk, SceneStart, Stage, StatelessStage
from vrx.models.embedded.damage import WINDOW, DamageReader, SceneDamage
from vrx.models.embedded.deblur import DENOISED, UNCHANGED, Plan, Planner
from vrx.models.embedded.denoise import LEAD_FRAMES, Denoiser, follow
from vrx.models.embedded.later import frames_ahead
from vrx.models.embedded.tiles import LARGE, SIDE, in_tiles, is_large, middle
from vrx.models.layouts import pad_to_multiple
from vrx.models.optical_flow import Motion, soften, to_luma
from vrx.networks.embedded.classical import wiener
from vrx.networks.embedded.grain import Grain
from vrx.networks.embedded.grid import GRID, deblur_inputs, to_pixels
from vrx.networks.embedded.network import SIGMA_UNIT, EmbeddedNetwork, Memory
from vrx.networks.embedded.temporal import Average
from vrx.networks.overflow import clamp_to_unit

FOLLOWED = 2  # pixels a side of the positions whose motion is looked for, to denoise


@dataclass(frozen=True, kw_only=True)
class EmbeddedOptions:
    """Options of the networks; see `vrx.settings.RestoreSettings`."""

    task: str
    scale: int = 1
    sigma: float | None = None
    strength: float | None = None
    look: str = "faithful"
    quality: str = "auto"
    denoise: float | None = None
    grain: float = 0.0
    seed: int = 0

    @property
    def denoised(self) -> float | None:
        """The share of the noise that goes, None for what is plainly there.

        Clean pictures and known pixels are denoised only where that was asked for.  So are those to be enlarged by more
        than 2: there the network, which was trained with noise, loses more by a wrong motion than it gains.
        """
        unasked = self.strength == 0 or self.task == "inpaint" or self.scale > 2
        return 0.0 if self.denoise is None and unasked else self.denoise


@dataclass(frozen=True)
class EncodedChunk:
    """From encode to generate.

    `base`: the classical estimate [T, 3, H, W], sides padded to the grid; `grids`: what the network sees of it,
    [T, inputs, H/4, W/4], or None where the estimate is all; `levels`: conditions
    [1, LEVELS]; `refresh`: frames that become the reference; `share`: of the residual that is added.
    `unchanged`: the base is the source; `plan`: what is still to be done to the base, tile by tile.
    """

    base: Tensor
    grids: Tensor | None
    levels: Tensor
    refresh: frozenset[int]
    share: float = 1.0
    notes: tuple[Note, ...] = ()
    grain: Grain | None = None
    unchanged: bool = False
    plan: Plan | None = None


@dataclass(frozen=True)
class ResidualChunk:
    """From generate to decode: residuals [T, 3 x 4 x 4, H/4, W/4] to add to the base, or None.

    `unchanged`: the base is the source.
    """

    base: Tensor
    residuals: Tensor | None
    notes: tuple[Note, ...] = ()
    grain: Grain | None = None
    unchanged: bool = False


@dataclass(frozen=True)
class Past:
    """What denoising knows of earlier frames: the latest one's luma uint8 [1, h, w], by position, and their mean."""

    latest: Tensor
    average: Average

    def tensors(self) -> dict[str, Tensor]:
        """A copy, by name."""
        return {"latest": self.latest.clone(), **self.average.tensors()}

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> Past | None:
        """The inverse of `tensors`; None where they are not there."""
        average = Average.from_tensors(tensors)
        return None if average is None else Past(tensors["latest"], average)


class Denoising:
    """Denoises the frames of scenes one after the other."""

    def __init__(self, denoiser: Denoiser) -> None:
        self._denoiser, self._motion = denoiser, Motion()

    def clean(self, pictures: Tensor, damage: SceneDamage, past: Past | None, count: int) -> tuple[Tensor, Past | None]:
        """The first `count` frames of [T, 3, H, W], sides of whole blocks, less their noise; what later ones need."""
        noise = self._denoiser.noise(damage)
        if noise is None:
            return pictures[:count], None
        luma = soften(to_luma(F.avg_pool2d(pictures, FOLLOWED)))
        followed = follow(self._motion, luma, luma[:0] if past is None else past.latest, count)
        cleaned = self._denoiser.clean(pictures, followed, noise, None if past is None else past.average)
        return cleaned.frames, Past(luma[count - 1 : count], cleaned.average)


@dataclass
class EncodeState:
    """The damage of the scene, and what is undone of its blur; None until its first chunk was seen.

    `past`: of a scene that is denoised, its frames so far.  `due`: the scene changed on the latest frame, and its
    damage is to be read again.
    """

    scene: SceneStart
    damage: SceneDamage | None = None
    plan: Plan | None = None
    past: Past | None = None
    due: bool = False


class Encode(Stage[DeviceChunk, EncodedChunk, EncodeState]):
    """Pixels to the classical estimate and the network's grid."""

    def __init__(self, options: EmbeddedOptions, reader: DamageReader, planner: Planner, denoiser: Denoiser) -> None:
        self._options, self._reader, self._planner = options, reader, planner
        self._denoising = Denoising(denoiser)

    def start(self, scene: SceneStart) -> EncodeState:
        """A fresh state."""
        return EncodeState(scene)

    def step(self, chunk: DeviceChunk, state: EncodeState) -> tuple[EncodedChunk, EncodeState]:
        """Find the damage where a scene begins or has changed; filter."""
        notes: tuple[Note, ...] = ()
        plan, damage, frames = state.plan, state.damage, chunk.frames
        known = frames if chunk.ahead is None else torch.cat([frames, chunk.ahead[: frames_ahead(chunk)]])
        count = len(frames)
        changed = 0 if plan is None or state.due else min(chunk.refresh, default=count)
        due = changed == count - 1 and plan is not None and not state.due  # a single frame tells less
        fresh = changed < count and not due
        if damage is None or fresh:
            examined = self._reader.read(examined_part(known)[changed:])
            damage = examined.damage
        padded = pad_to_multiple(known[: max(count, LEAD_FRAMES)], GRID)
        blurred, past = self._denoising.clean(padded, damage, state.past, count)
        if plan is None or fresh:
            if past is None:
                seen = examined_part(known[changed:][examined.first :][:WINDOW])
            else:  # what is sharpened is less noisy than what was found
                height, width = frames.shape[-2:]
                seen = examined_part(blurred[changed:, :, :height, :width][:WINDOW])
                examined = replace(self._reader.read(seen), damage=damage)
            otherwise = UNCHANGED if past is None else DENOISED
            plan, notes = self._planner.plan(examined, seen, state.scene.number, otherwise)
        encoded = self.estimate(blurred, plan)
        unchanged = encoded.unchanged and past is None
        encoded = replace(encoded, refresh=chunk.refresh, notes=notes, unchanged=unchanged)
        return encoded, EncodeState(state.scene, damage, plan, past, due)

    def estimate(self, blurred: Tensor, plan: Plan) -> EncodedChunk:
        """What a plan makes of frames [T, 3, H, W]; of large ones, what is to be made."""
        levels, share = self.levels(blurred, plan.recipe.width), plan.network * plan.strength
        if not plan.strength:
            return EncodedChunk(blurred.clone(), None, levels, frozenset(), unchanged=True)
        if is_large(blurred):
            return EncodedChunk(blurred, None, levels, frozenset(), share, plan=plan)
        base, grids = estimate(blurred, plan)
        return EncodedChunk(base, grids, levels, frozenset(), share)

    def levels(self, frames: Tensor, sigma: float) -> Tensor:
        """The network's conditions [1, LEVELS]."""
        strength = self._options.strength
        return frames.new_tensor([[sigma / SIGMA_UNIT, strength or 0.0, float(strength is not None)]])

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """Damage and plan, where they are known, in float64: rounded, they would change every later frame."""
        known = {"damage": state.damage, "plan": state.plan}
        numbers = {name: value.tensor() for name, value in known.items() if value is not None}
        numbers["due"] = torch.tensor(state.due)
        return numbers if state.past is None else {**numbers, **state.past.tensors()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        damage, plan = (None if x is None else x.cpu() for x in (tensors.get("damage"), tensors.get("plan")))
        return EncodeState(
            scene,
            None if damage is None else SceneDamage.from_tensor(damage),
            None if plan is None else Plan.from_tensor(plan),
            Past.from_tensors(tensors),
            bool(tensors["due"]),
        )


def examined_part(frames: Tensor) -> Tensor:
    """Frames [T, 3, H, W] that damage is read from; of large ones the middle."""
    return middle(frames) if is_large(frames) else frames


def estimate(blurred: Tensor, plan: Plan) -> tuple[Tensor, Tensor | None]:
    """What a plan makes of frames [T, 3, H, W], and what the network sees of them if it takes part."""
    sharp = wiener(blurred, plan.recipe.width) if plan.network else None
    return plan.base(blurred, sharp), None if sharp is None else deblur_inputs(blurred, sharp)


class Generate(Stage[EncodedChunk, ResidualChunk, Memory]):
    """The network, a frame at a time, over its rolling cache."""

    def __init__(self, network: EmbeddedNetwork, remember: bool = True) -> None:
        self._network, self._remember = network, remember
        self._dtype = network.weight.dtype

    def start(self, scene: SceneStart) -> Memory:
        """An empty memory for the scene's grid; what is restored tile by tile has none."""
        tiled = scene.source[0] * scene.source[1] > LARGE
        height, width = (1, 1) if tiled else (-(-side // GRID) for side in scene.source)
        return self._network.allocate(height, width)

    def step(self, chunk: EncodedChunk, state: Memory) -> tuple[ResidualChunk, Memory]:
        """Residuals of the frames' grids, in order."""
        if chunk.plan is not None:
            return ResidualChunk(self.restore_tiles(chunk), None, chunk.notes, chunk.grain), state
        if chunk.grids is None:
            return ResidualChunk(chunk.base, None, chunk.notes, chunk.grain, chunk.unchanged), state
        levels = chunk.levels.to(self._dtype)
        grids = chunk.grids.to(self._dtype).contiguous(memory_format=torch.channels_last).split(1)
        references = chunk.refresh | ({0} if state.cache.end == 0 else set())
        residuals = []
        for number, grid in enumerate(grids):
            if not self._remember:
                state = self._network.allocate(*grid.shape[-2:])
            fresh = number in references or not self._remember
            residuals.append(self._network.step("deblur", grid, levels, state, fresh))
        added = torch.cat(residuals).mul_(chunk.share)
        return ResidualChunk(chunk.base, added, chunk.notes, chunk.grain), state

    def restore_tiles(self, chunk: EncodedChunk) -> Tensor:
        """Large frames after their plan, each by itself; the middle is the reference of all their tiles."""
        assert chunk.plan is not None
        plan, reference = chunk.plan, None
        if plan.network:
            reference = self._network.allocate(*(side // GRID for side in middle(chunk.base, (SIDE, SIDE)).shape[-2:]))
            self.restore_tile(chunk, plan, reference, middle(chunk.base[:1], (SIDE, SIDE)))
        return in_tiles(chunk.base, partial(self.restore_tile, chunk, plan, reference))

    def restore_tile(self, chunk: EncodedChunk, plan: Plan, reference: Memory | None, blurred: Tensor) -> Tensor:
        """A tile [T, 3, h, w] after a plan, each frame by itself; an empty `reference` becomes that of the tile."""
        base, grids = estimate(blurred, plan)
        for frame, grid in zip(base, () if grids is None else grids.to(self._dtype).split(1), strict=False):
            assert reference is not None
            memory, first = reference, reference.cache.end == 0
            if not first:
                memory = self._network.allocate(*grid.shape[-2:])
                memory.cache.copy_sink(reference.cache)
            residual = self._network.step("deblur", grid, chunk.levels.to(self._dtype), memory, first)
            frame.add_(to_pixels(residual)[0], alpha=chunk.share)
        return base

    def save(self, state: Memory) -> dict[str, Tensor]:
        """The memory; nothing while there is nothing in it."""
        return state.tensors() if state.cache.end else {}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> Memory:
        """The memory that `save` gave."""
        memory = self.start(scene)
        if tensors:
            memory.restore(tensors)
        return memory

    def cache_usage(self, state: Memory) -> CacheUsage:
        """Keys, values and features of earlier frames."""
        features = sum(x.nbytes for x in state.features.features)
        return CacheUsage(state.cache.nbytes + features, state.cache.full)


class Decode(StatelessStage[ResidualChunk, RestoredChunk]):
    """The residual back to pixels, on top of the estimate."""

    def step(self, chunk: ResidualChunk, state: SceneStart) -> tuple[RestoredChunk, SceneStart]:
        """Restored frames [T, 3, H, W] in 0..1."""
        height, width = state.target
        frames = chunk.base
        if chunk.residuals is not None:
            residual = to_pixels(chunk.residuals)[..., : frames.shape[-2], : frames.shape[-1]]
            # in place: pages that are touched for the first time cost more than the sum
            frames = frames.add_(residual)
        return RestoredChunk(clamp_to_unit(frames)[..., :height, :width], chunk.notes, chunk.unchanged), state
