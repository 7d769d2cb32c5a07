"""Enlarging: bicubic interpolation in, what the network adds to it frame after frame, pixels out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.events import Note
from vrx.models.base import CacheUsage, DeviceChunk, RestoredChunk, SceneStart, Stage, StatelessStage
from vrx.models.layouts import pad_to_multiple
from vrx.models.optical_flow import Motion, to_luma
from vrx.networks.embedded.classical import bicubic, bicubic_grid
from vrx.networks.embedded.degradation import LEVELS, NOISE_UNIT, DegradationEstimator, estimate_damage
from vrx.networks.embedded.grid import to_pixels
from vrx.networks.embedded.recurrent import PIXELS, PreviousFrame, RecurrentNetwork

ESTIMATED_FRAMES = 4  # of a scene, for its damage
LEAD_FRAMES = 4  # of a scene, enlarged from last to first before it begins: its first frame has one to build on
LEAST_KNOWN = 0.05  # below it, an estimate does not determine the kind of damage
LEAST_NOISE = 2.0  # levels of 255, from which on noise is mentioned
COMPRESSED = ((0.75, "heavily compressed"), (0.5, "compressed"), (0.35, "lightly compressed"))
SURE = 0.6  # compression that is read where pictures are hardly shrunk, from which on it is taken as it is


def weigh_levels(levels: Tensor, scale: int) -> Tensor:
    """Estimated damage, weighted by how far to act on it.

    Pictures that are soft by nature are read as resized, so softness is left out.  Those to be enlarged by
    2 often hold weak traces of an encoder that the wanted result has as well; to smooth these away loses more
    than to leave them.
    """
    noise, compression, softness = levels.unbind()
    if scale == 2:
        compression = compression * (compression / SURE).clamp_max(1)
    return torch.stack([noise, compression, softness * 0])


def scale_levels(levels: Tensor, strength: float) -> Tensor:
    """Damage of the estimated kind whose largest level is `strength`; compression where no kind was found."""
    largest = float(levels.max())
    if largest < LEAST_KNOWN:
        return levels.new_tensor([0.0, strength, 0.0])
    return levels * (strength / largest)


def describe(levels: Tensor) -> str:
    """Estimated damage [LEVELS] in words, empty for clean pictures."""
    noise, compression, _ = levels.tolist()
    words = [f"{word} ({compression:.1f} of 1)" for least, word in COMPRESSED if compression >= least][:1]
    if noise * NOISE_UNIT * 255 >= LEAST_NOISE:
        words.append(f"noise of about {noise * NOISE_UNIT * 255:.0f} levels")
    return ", ".join(words)


def damage_notes(levels: Tensor, scene: int) -> tuple[Note, ...]:
    """Estimated damage [LEVELS] of a scene, counted from 1; none for clean pictures."""
    words = describe(levels)
    if not words:
        return ()
    noise, compression, _ = levels.tolist()
    facts = {"scene": scene, "noise": round(noise * NOISE_UNIT * 255, 1), "compression": round(compression, 2)}
    return (Note("degradation-estimated", f"scene {scene}: {words}", facts),)


@dataclass(frozen=True)
class EncodedChunk:
    """From encode to generate.

    `base`: bicubic interpolation [T, 3, s H, s W], on the grid where that is pixel for pixel (see `is_on_source_grid`);
    `pictures`: the source [T, 3, H, W] with sides padded to the grid; `levels`: the scene's damage [1, LEVELS];
    `motion`: [T, 2, H, W] from each position to its content's place in the frame before; `lead`: the same for the
    frames that are restored before a scene's first one, [L - 1, 2, H, W], in a scene's first chunk.
    """

    base: Tensor
    pictures: Tensor
    levels: Tensor
    motion: Tensor
    lead: Tensor | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class ResidualChunk:
    """From generate to decode: residuals [T, 3 (s p)^2, H, W] on the network's grid, to add to the base."""

    base: Tensor
    residuals: Tensor
    notes: tuple[Note, ...] = ()


@dataclass
class EncodeState:
    """Damage of the scene [1, LEVELS], None until its first chunk was seen.

    `latest`: brightness of the frame before, [T, H, W] with T of 0 or 1, where motion is looked for.
    """

    scene: SceneStart
    levels: Tensor | None
    latest: Tensor


class Encode(Stage[DeviceChunk, EncodedChunk, EncodeState]):
    """Pixels to bicubic interpolation, the scene's damage, and how content moved."""

    def __init__(self, scale: int, strength: float | None, estimator: DegradationEstimator) -> None:
        self._scale, self._strength, self._estimator = scale, strength, estimator
        self._motion = Motion()

    def start(self, scene: SceneStart) -> EncodeState:
        """A fresh state."""
        return EncodeState(scene, None, torch.empty(0, 0, 0, dtype=torch.uint8))

    def step(self, chunk: DeviceChunk, state: EncodeState) -> tuple[EncodedChunk, EncodeState]:
        """Interpolate; find the damage once a scene, and motion."""
        levels = state.levels
        notes: tuple[Note, ...] = ()
        if levels is None:
            levels, notes = self.levels(chunk.frames, state.scene.number + 1)
        base = (bicubic_grid if is_on_source_grid(self._scale) else bicubic)(chunk.frames, self._scale)
        pictures, side = pad_to_multiple(chunk.frames, PIXELS[self._scale]), PIXELS[self._scale]
        luma = to_luma(F.avg_pool2d(pictures, side) if side > 1 else pictures)
        motion, lead = self.motion(luma, state.latest)
        encoded = EncodedChunk(
            base,
            pictures,
            levels,
            motion.to(pictures.device),
            None if lead is None else lead.to(pictures.device),
            notes,
        )
        return encoded, replace(state, levels=levels, latest=luma[-1:])

    def levels(self, frames: Tensor, scene: int) -> tuple[Tensor, tuple[Note, ...]]:
        """The conditions [1, LEVELS] of a scene that begins with these frames, and what the user should know."""
        if self._strength == 0:
            return frames.new_zeros(1, LEVELS), ()
        found = estimate_damage(self._estimator, frames[:ESTIMATED_FRAMES]).to(frames)
        acted = weigh_levels(found, self._scale)
        if self._strength is not None:
            return scale_levels(acted, self._strength)[None], ()
        return acted[None], damage_notes(found, scene)

    def motion(self, luma: Tensor, previous: Tensor) -> tuple[Tensor, Tensor | None]:
        """Motion of each position from the frame restored before it, [T, 2, H, W].

        Before a scene's first frame those after it are restored, last to first; the second value is the
        motion of these: where the content of each but the last will be in the next one.
        """
        if len(previous):
            return self._motion.between(torch.cat([previous, luma])), None
        lead = self._motion.between(luma[:LEAD_FRAMES].flip(0)).flip(0)
        first = lead[:1] if len(lead) else lead.new_zeros(1, *lead.shape[1:])
        return torch.cat([first, self._motion.between(luma)]), lead

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """Damage, where it is known, and the latest frame."""
        levels = {} if state.levels is None else {"levels": state.levels.clone()}
        return {**levels, "latest": state.latest.clone()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        return EncodeState(scene, tensors.get("levels"), tensors["latest"])


class Generate(Stage[EncodedChunk, ResidualChunk, PreviousFrame | None]):
    """The network, a frame at a time, over the features of the previous frame."""

    def __init__(self, scale: int, network: RecurrentNetwork, remember: bool = True) -> None:
        self._scale, self._network, self._remember = scale, network, remember

    def start(self, scene: SceneStart) -> PreviousFrame | None:
        """Nothing was seen."""
        return None

    def step(self, chunk: EncodedChunk, state: PreviousFrame | None) -> tuple[ResidualChunk, PreviousFrame | None]:
        """Residuals, in order."""
        weight, motion = self._network.weight, chunk.motion.split(1)
        shifts = self._network.shifts(chunk.levels.to(weight))
        pictures = chunk.pictures.split(1)
        if self._remember and chunk.lead is not None:
            for number in range(len(chunk.lead), 0, -1):
                moved = chunk.lead[number : number + 1] if state is not None else None
                _, state = self._network.step(self._scale, pictures[number], shifts, state, moved)
        residuals = []
        for picture, moved in zip(pictures, motion, strict=True):
            before = state if self._remember else None
            residual, state = self._network.step(self._scale, picture, shifts, before, moved)
            residuals.append(residual)
        return ResidualChunk(chunk.base, torch.cat(residuals), chunk.notes), state

    def save(self, state: PreviousFrame | None) -> dict[str, Tensor]:
        """Features and picture of the latest frame."""
        if state is None:
            return {}
        return {"features": state.features.clone(), "picture": state.picture.clone()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> PreviousFrame | None:
        """The features and picture that `save` gave."""
        if not tensors:
            return None
        device = self._network.weight.device
        return PreviousFrame(tensors["features"].to(device), tensors["picture"].to(device))

    def cache_usage(self, state: PreviousFrame | None) -> CacheUsage:
        """Features and picture of the latest frame."""
        return CacheUsage() if state is None else CacheUsage(state.features.nbytes + state.picture.nbytes)


class Decode(StatelessStage[ResidualChunk, RestoredChunk]):
    """The residual back to pixels, on top of bicubic interpolation."""

    def __init__(self, scale: int) -> None:
        self._scale = scale

    def step(self, chunk: ResidualChunk, state: SceneStart) -> tuple[RestoredChunk, SceneStart]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        base = chunk.base
        residual = chunk.residuals if is_on_source_grid(self._scale) else to_pixels(chunk.residuals)
        # in place: pages that are touched for the first time cost more than the sum
        frames = base.add_(residual[..., : base.shape[-2], : base.shape[-1]]).clamp_(0, 1)
        return RestoredChunk(to_pixels(frames) if is_on_source_grid(self._scale) else frames, chunk.notes), state


def is_on_source_grid(scale: int) -> bool:
    """Whether a grid position is a pixel of the source, so that the base can stay on the grid as well."""
    return PIXELS[scale] == 1
