"""Enlarging: bicubic interpolation in, what the network adds to it frame after frame, pixels out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.base import Pixels, SceneStart
from vrx.models.optical_flow import Motion, brightness
from vrx.models.stages import padded
from vrx.networks.embedded.classical import bicubic, bicubic_grid
from vrx.networks.embedded.degradation import LEVELS, NOISE_UNIT, DamageNetwork, estimate_damage
from vrx.networks.embedded.grid import to_pixels
from vrx.networks.embedded.recurrent import PIXELS, RecurrentNetwork, Trace

ESTIMATED_FRAMES = 4  # of a scene, for its damage
LEAD_FRAMES = 4  # of a scene, enlarged from last to first before it begins: its first frame has one to build on
LEAST_KNOWN = 0.05  # an estimate below it says nothing about the kind of damage
LEAST_NOISE = 2.0  # levels of 255, from which on noise is mentioned
COMPRESSED = ((0.75, "heavily compressed"), (0.5, "compressed"), (0.35, "lightly compressed"))
SURE = 0.6  # compression that is read where pictures are hardly shrunk, from which on it is taken as it is


def trusted(levels: Tensor, scale: int) -> Tensor:
    """What to act on of estimated damage.

    Pictures that are soft by nature are read as resized, so softness is left out.  Those to be enlarged by
    2 often hold weak traces of an encoder that the wanted result has as well; to smooth these away loses more
    than to leave them.
    """
    noise, compression, softness = levels.unbind()
    if scale == 2:
        compression = compression * (compression / SURE).clamp_max(1)
    return torch.stack([noise, compression, softness * 0])


def scaled(levels: Tensor, strength: float) -> Tensor:
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


@dataclass
class EncodeState:
    """Damage of the scene [1, LEVELS], None until its first chunk was seen.

    `latest`: brightness of the frame before, [T, H, W] with T of 0 or 1, where motion is looked for.
    """

    scene: SceneStart
    levels: Tensor | None
    latest: Tensor


class Encode:
    """Pixels to bicubic interpolation, the scene's damage, and how content moved."""

    def __init__(self, scale: int, strength: float | None, damage: DamageNetwork) -> None:
        self._scale, self._strength, self._damage = scale, strength, damage
        self._motion = Motion()

    def start(self, scene: SceneStart) -> EncodeState:
        """A fresh state."""
        return EncodeState(scene, None, torch.empty(0, 0, 0, dtype=torch.uint8))

    def step(self, chunk: Pixels, state: EncodeState) -> tuple[Pixels, EncodeState]:
        """Interpolate; find the damage once a scene, and motion."""
        if state.levels is None:
            state.levels = self.levels(chunk, state.scene.number)
        chunk.carry["levels"] = state.levels
        enlarge = bicubic_grid if on_grid(self._scale) else bicubic
        chunk.carry["base"] = enlarge(chunk.frames, self._scale)
        chunk.latents = padded(chunk.frames, PIXELS[self._scale])
        self.look(chunk, state)
        return chunk, state

    def levels(self, chunk: Pixels, scene: int) -> Tensor:
        """The conditions [1, LEVELS] of a scene that begins with a chunk."""
        if self._strength == 0:
            return chunk.frames.new_zeros(1, LEVELS)
        found = estimate_damage(self._damage, chunk.frames[:ESTIMATED_FRAMES]).to(chunk.frames)
        acted = trusted(found, self._scale)
        if self._strength is not None:
            return scaled(acted, self._strength)[None]
        words = describe(found)
        if words:
            chunk.notes.append(f"scene {scene + 1}: {words}")
        return acted[None]

    def look(self, chunk: Pixels, state: EncodeState) -> None:
        """Find where each position's content was in the frame restored before it, `motion` [T, 2, H, W].

        Before a scene's first frame those after it are restored, last to first; `lead` [L - 1, 2, H, W] is
        the motion of these: where the content of each but the last will be in the next one.
        """
        pictures, side = chunk.latents, PIXELS[self._scale]
        assert pictures is not None
        found = brightness(F.avg_pool2d(pictures, side) if side > 1 else pictures)
        if len(state.latest):
            motion = self._motion.between(torch.cat([state.latest, found]))
        else:
            lead = self._motion.between(found[:LEAD_FRAMES].flip(0)).flip(0)
            chunk.carry["lead"] = lead.to(pictures.device)
            first = lead[:1] if len(lead) else lead.new_zeros(1, *lead.shape[1:])
            motion = torch.cat([first, self._motion.between(found)])
        chunk.carry["motion"] = motion.to(pictures.device)
        state.latest = found[-1:]

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """Damage, where it is known, and the latest frame."""
        levels = {} if state.levels is None else {"levels": state.levels.clone()}
        return {**levels, "latest": state.latest.clone()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        return EncodeState(scene, tensors.get("levels"), tensors["latest"])


class Generate:
    """The network, a frame at a time, over what the frame before left."""

    def __init__(self, scale: int, network: RecurrentNetwork, remember: bool = True) -> None:
        self._scale, self._network, self._remember = scale, network, remember

    def start(self, scene: SceneStart) -> Trace | None:
        """Nothing was seen."""
        return None

    def step(self, chunk: Pixels, state: Trace | None) -> tuple[Pixels, Trace | None]:
        """Residuals [T, 3 (s p)^2, H, W] on the network's grid, in order."""
        assert chunk.latents is not None
        weight, motion = self._network.weight, chunk.carry["motion"].split(1)
        shifts = self._network.shifts(chunk.carry["levels"].to(weight))
        pictures = chunk.latents.split(1)
        lead = chunk.carry.get("lead")
        if self._remember and lead is not None:
            for number in range(len(lead), 0, -1):
                moved = lead[number : number + 1] if state is not None else None
                _, state = self._network.step(self._scale, pictures[number], shifts, state, moved)
        residuals = []
        for picture, moved in zip(pictures, motion, strict=True):
            before = state if self._remember else None
            residual, state = self._network.step(self._scale, picture, shifts, before, moved)
            residuals.append(residual)
        chunk.latents = torch.cat(residuals)
        return chunk, state

    def save(self, state: Trace | None) -> dict[str, Tensor]:
        """Features and picture of the latest frame."""
        if state is None:
            return {}
        return {"features": state.features.contiguous().clone(), "picture": state.picture.contiguous().clone()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> Trace | None:
        """The trace that `save` gave."""
        if not tensors:
            return None
        device = self._network.weight.device
        return Trace(tensors["features"].to(device), tensors["picture"].to(device))


class Decode:
    """The residual back to pixels, on top of bicubic interpolation."""

    def __init__(self, scale: int) -> None:
        self._scale = scale

    def start(self, scene: SceneStart) -> SceneStart:
        """Decoding remembers nothing but the sizes."""
        return scene

    def step(self, chunk: Pixels, state: SceneStart) -> tuple[Pixels, SceneStart]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        assert chunk.latents is not None
        base = chunk.carry["base"]
        residual = chunk.latents if on_grid(self._scale) else to_pixels(chunk.latents)
        # in place: pages that are touched for the first time cost more than the sum
        restored = base.add_(residual[..., : base.shape[-2], : base.shape[-1]]).clamp_(0, 1)
        chunk.frames = to_pixels(restored) if on_grid(self._scale) else restored
        chunk.latents, chunk.carry = None, {}
        return chunk, state

    def save(self, state: SceneStart) -> dict[str, Tensor]:
        """Nothing to keep."""
        return {}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> SceneStart:
        """As `start`."""
        return scene


def on_grid(scale: int) -> bool:
    """Whether a grid position is a pixel of the source, so that the base can stay on the grid as well."""
    return PIXELS[scale] == 1
