"""Enlarging: bicubic interpolation in, what the network adds to it frame after frame, pixels out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.events import Note
from vrx.models.base import CacheUsage, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.embedded.damage import DamageReader, SceneDamage, damage_note
from vrx.models.embedded.denoise import LEAD_FRAMES, Denoiser, Followed, begin_to_follow
from vrx.models.embedded.guard import EXACT, GuardState, Tolerance, keep_agreeing, tolerance_of
from vrx.models.embedded.later import NOTHING, Block, Coverage, frames_ahead, make_block
from vrx.models.embedded.steps import Steps
from vrx.models.layouts import pad_to_multiple
from vrx.models.optical_flow import Motion, soften, to_luma
from vrx.networks.constants import constant_like
from vrx.networks.embedded.bars import Bar, hide_bars, put_back
from vrx.networks.embedded.classical import CUBIC_REACH, bicubic, bicubic_grid
from vrx.networks.embedded.grain import Grain
from vrx.networks.embedded.grid import to_pixels
from vrx.networks.embedded.recurrent import MOST_POSITIONS, PIXELS, Neighbors, PreviousFrame
from vrx.networks.embedded.sharpening import sharpen
from vrx.networks.embedded.symptoms import gray
from vrx.networks.embedded.temporal import Average
from vrx.networks.overflow import clamp_to_unit

NOISE_LEFT = (0.5, 1.0, 1.0)  # shares of noise, compression and softness that denoising leaves
LEAST_KNOWN = 0.05  # below it, an estimate does not determine the kind of damage
LEAST_COLOR = 0.5 / 255  # between the colors of a pixel, from which on a picture is not gray
COMPRESSION = 1  # its place among the network's conditions
# compression acted on, from which on later frames show little that is new: 0.02 to 0.06 dB for two thirds more time
FORESEEN = 0.25
SURE = 0.6  # compression that is read where pictures are hardly shrunk, from which on it is taken as it is


def weigh_levels(damage: SceneDamage, scale: int) -> Tensor:
    """Estimated damage as conditions of the network [LEVELS], weighted by how far to act on it.

    Pictures that are soft by nature are read as resized, so softness is left out.  Those to be enlarged by
    2 often hold weak traces of an encoder that the wanted result has as well; to smooth these away loses more
    than to leave them, but where the pictures' own encoder left them (`SceneDamage.coded`).
    """
    noise, compression, softness = damage.levels().unbind()
    if scale == 2:
        compression = compression * (compression / SURE).clamp_max(1)
    return torch.stack([noise, torch.full_like(noise, damage.raised(float(compression))), softness * 0])


def mean_quantizer(quantizers: Sequence[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in quantizers if value is not None]
    return sum(known) / len(known) if known else None


def scale_levels(levels: Tensor, strength: float) -> Tensor:
    """Damage of the estimated kind whose largest level is `strength`; compression where no kind was found."""
    largest = float(levels.max())
    if largest < LEAST_KNOWN:
        return levels.new_tensor([0.0, strength, 0.0])
    return levels * (strength / largest)


@dataclass(frozen=True)
class EncodedChunk:
    """From encode to generate.

    `pictures`: the source [T, 3, H, W] with sides padded to the grid; `levels`: the scene's damage [1, LEVELS];
    `followed` gives how content moved, on the host; `lead` [L, 3, H, W], in a scene's first chunk: the frames that are
    restored before its first one; `later`: what was found of later frames at each of the chunk's, [1, C, H, W], none
    where that is of no use; `bars`: those of each frame, which the pictures do not show.
    """

    pictures: Tensor
    levels: Tensor
    followed: Callable[[], Followed]
    lead: Tensor | None = None
    later: tuple[Tensor, ...] = ()
    tolerance: Tolerance = EXACT
    notes: tuple[Note, ...] = ()
    grain: Grain | None = None
    bars: tuple[tuple[Bar, ...], ...] = ()


@dataclass(frozen=True)
class ResidualChunk:
    """From generate to decode: residuals [T, 3 (s p)^2, H, W] on the network's grid, and what they are added to.

    `bars`: what is put over them.
    """

    pictures: Tensor
    residuals: Tensor
    tolerance: Tolerance = EXACT
    notes: tuple[Note, ...] = ()
    grain: Grain | None = None
    bars: tuple[tuple[Bar, ...], ...] = ()


@dataclass
class EncodeState:
    """Damage of the scene, None until its first chunk was seen.

    `latest`: brightness of the frame before, [T, H, W] with T of 0 or 1, where motion is looked for.  `average`: of
    a noisy scene, the mean of its frames so far.  `due`: the scene changed on the latest frame, and its damage is to
    be read again.  `covered`: how far later frames were looked at; `later`: what was found of them at the coming
    frames, [1, C, H, W] each.
    """

    scene: SceneStart
    damage: SceneDamage | None
    latest: Tensor
    average: Average | None = None
    due: bool = False
    covered: Coverage = NOTHING
    later: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Sight:
    """How frames are looked at: `motion` finds how content moves; `foreseeing`: steps of a network whose branch for
    later frames is of use.

    It walks in the first stage, beside the frames before.  A scene whose noise is taken out first goes without, and
    unless it is of use `everywhere`, one that an encoder left little of.
    """

    foreseeing: Steps | None = None
    everywhere: bool = True
    motion: Motion = field(default_factory=Motion)


class Encode(Stage[DeviceChunk, EncodedChunk, EncodeState]):
    """The scene's damage, how content moved, pictures less their noise, and what later frames show."""

    def __init__(
        self,
        scale: int,
        strength: float | None,
        reader: DamageReader,
        denoiser: Denoiser,
        sight: Sight | None = None,
    ) -> None:
        self._scale, self._strength, self._reader, self._denoiser = scale, strength, reader, denoiser
        sight = sight or Sight()
        self._motion, self._foreseeing = sight.motion, sight.foreseeing
        self._foreseen = math.inf if sight.everywhere else FORESEEN

    def start(self, scene: SceneStart) -> EncodeState:
        """A fresh state."""
        return EncodeState(scene, None, torch.empty(0, 0, 0, dtype=torch.uint8))

    def step(self, chunk: DeviceChunk, state: EncodeState) -> tuple[EncodedChunk, EncodeState]:
        """Find the damage where a scene begins or has changed, and motion."""
        damage, count, following = state.damage, len(chunk.frames), frames_ahead(chunk)
        seen = chunk.frames if chunk.ahead is None else torch.cat([chunk.frames, chunk.ahead])
        notes: tuple[Note, ...] = ()
        covered = state.covered
        changed = 0 if damage is None or state.due else min(chunk.refresh, default=count)
        due = changed == count - 1 and damage is not None and not state.due  # a single frame tells less
        if changed < count and not due:
            part = slice(changed, count + following)
            read = self._reader.read(seen[part], mean_quantizer(chunk.quantizers[part])).damage
            if damage != read:
                notes, damage, covered = damage_note(read, state.scene.number + 1), read, NOTHING
        assert damage is not None
        seen, bars = hide_bars(seen)
        pictures, side = pad_to_multiple(seen, PIXELS[self._scale]), PIXELS[self._scale]
        noise, levels, average = self._denoiser.noise(damage), self.levels(damage), None
        tolerance = tolerance_of(levels[0], damage.luma_noise)
        along = len(seen) - count
        foresees = self._foreseeing is not None and noise is None and fits(pictures, side)
        foresees = foresees and float(levels[0, COMPRESSION]) < self._foreseen
        ahead = following if foresees else 0
        foresees = foresees and (ahead > 0 or covered.frames >= count)
        length, covered = covered.plan(count, ahead, ahead < along) if foresees else (0, NOTHING)
        searched = pictures[: max(length, count, 0 if len(state.latest) else LEAD_FRAMES)]
        new = pictures[following - 1 : count + following] if self.awaits(ahead, length) else pictures[:0]
        both = torch.cat([searched, new])
        luma, coming = to_luma(F.avg_pool2d(both, side) if side > 1 else both).split([len(searched), len(new)])
        luma = luma if noise is None else soften(luma)
        followed = begin_to_follow(self._motion, luma, state.latest, count)
        if len(coming):
            self._motion.expect(coming)
        lead = None if len(state.latest) else pictures[:LEAD_FRAMES]
        block = None
        if noise is None:
            if length:
                block = make_block(self._motion, pictures[:length], luma[:length], count + covered.frames)
            pictures = pictures[:count]
        else:
            cleaned = self._denoiser.clean(pictures, followed(), noise, state.average)
            pictures, average = cleaned.frames, cleaned.average
            lead = lead if cleaned.lead is None else cleaned.lead
            levels = levels * constant_like(NOISE_LEFT, levels)
        levels = levels.to(pictures)
        later = self.look_ahead(block, levels) if block is not None else state.later if foresees else ()
        own = tuple(bars[:count])
        encoded = EncodedChunk(pictures, levels, followed, lead, later[:count], tolerance, notes, bars=own)
        after = EncodeState(state.scene, damage, luma[count - 1 : count], average, due, covered, later[count:])
        return encoded, after

    def awaits(self, ahead: int, length: int) -> bool:
        """Whether motion of the latest of the frames ahead is searched before a block begins that needs it."""
        return self._motion.ahead and ahead > 0 and not length

    def look_ahead(self, block: Block, levels: Tensor) -> tuple[Tensor, ...]:
        """What a block shows under conditions [1, LEVELS] at its first frame and those after it."""
        assert self._foreseeing is not None
        found = self._foreseeing.backward(block.pictures[None], levels, block.motion()[None])
        return found[: block.kept]

    def levels(self, damage: SceneDamage) -> Tensor:
        """The network's conditions [1, LEVELS]."""
        acted = weigh_levels(damage, self._scale)
        return (acted if self._strength is None else scale_levels(acted, self._strength))[None]

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """All of the state; what was found at later frames is found again."""
        damage = {} if state.damage is None else {"damage": state.damage.tensor()}
        average = {} if state.average is None else state.average.tensors()
        due, covered = torch.tensor(state.due), torch.tensor([state.covered.frames, state.covered.beyond])
        return {**damage, "latest": state.latest.clone(), "due": due, "covered": covered, **average}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        damage = tensors.get("damage")
        known = None if damage is None else SceneDamage.from_tensor(damage)
        frames, beyond = tensors["covered"].tolist()
        covered = Coverage(frames, beyond, lost=True)
        average, due = Average.from_tensors(tensors), bool(tensors["due"])
        return EncodeState(scene, known, tensors["latest"], average, due, covered)

    def cache_usage(self, state: EncodeState) -> CacheUsage:
        """Features of later frames."""
        return CacheUsage(sum(found.nbytes for found in state.later))


def fits(pictures: Tensor, side: int) -> bool:
    """Whether pictures [T, 3, H, W] go through the network at once, on a grid of positions of `side` pixels."""
    return pictures.shape[-2] * pictures.shape[-1] // side**2 <= MOST_POSITIONS


@dataclass(frozen=True)
class GenerateState:
    """The frame before."""

    previous: PreviousFrame | None = None


class Generate(Stage[EncodedChunk, ResidualChunk, GenerateState]):
    """The network, a frame at a time, over the features of the previous frame and of later ones."""

    def __init__(self, steps: Steps, remember: bool = True) -> None:
        self._steps, self._network, self._remember = steps, steps.network, remember

    def start(self, scene: SceneStart) -> GenerateState:
        """Nothing was seen."""
        return GenerateState()

    def step(self, chunk: EncodedChunk, state: GenerateState) -> tuple[ResidualChunk, GenerateState]:
        """Residuals, in order."""
        levels, followed = chunk.levels.to(self._network.weight), chunk.followed().to(chunk.pictures.device)
        shifts, previous, later = self._network.shifts(levels), state.previous, chunk.later
        if self._remember and chunk.lead is not None and followed.lead is not None:
            previous = self.lead(chunk.lead, followed.lead, shifts)
        residuals, pictures = [], chunk.pictures.split(1)
        for index, (picture, moved) in enumerate(zip(pictures, followed.motion.split(1), strict=True)):
            neighbors = Neighbors(previous if self._remember else None, moved, later[index] if later else None)
            residual, previous = self._steps.forward(picture, levels, shifts, neighbors)
            residuals.append(residual)
        found, tolerance = torch.cat(residuals), chunk.tolerance
        restored = ResidualChunk(chunk.pictures, found, tolerance, chunk.notes, chunk.grain, chunk.bars)
        return restored, GenerateState(previous)

    def lead(self, pictures: Tensor, motion: Tensor, shifts: tuple[Tensor, ...]) -> PreviousFrame | None:
        """What the lead leaves for the scene's first frame; `motion` as of `Followed.lead`."""
        state = None
        for number in range(len(motion), 0, -1):
            moved = motion[number : number + 1] if state is not None else None
            picture = pictures[number : number + 1]
            _, state = self._network.step(self._steps.scale, picture, shifts, Neighbors(state, moved))
        return state

    def save(self, state: GenerateState) -> dict[str, Tensor]:
        """Features and picture of the latest frame."""
        if state.previous is None:
            return {}
        return {"features": state.previous.features.clone(), "picture": state.previous.picture.clone()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GenerateState:
        """The features and picture that `save` gave."""
        if not tensors:
            return GenerateState()
        device = self._network.weight.device
        return GenerateState(PreviousFrame(tensors["features"].to(device), tensors["picture"].to(device)))

    def cache_usage(self, state: GenerateState) -> CacheUsage:
        """Features and picture of the latest frame."""
        previous = state.previous
        return CacheUsage(0 if previous is None else previous.features.nbytes + previous.picture.nbytes)


class Decode(Stage[ResidualChunk, RestoredChunk, GuardState]):
    """The residual back to pixels, on top of bicubic interpolation, as far as it agrees with the source."""

    def __init__(self, scale: int, sharp: bool = False) -> None:
        self._scale, self._sharp = scale, sharp

    def start(self, scene: SceneStart) -> GuardState:
        """Nothing was seen."""
        return GuardState(scene)

    def step(self, chunk: ResidualChunk, state: GuardState) -> tuple[RestoredChunk, GuardState]:
        """Restored frames [T, 3, s H, s W] in 0..1, in bands of rows where they are large."""
        pictures, residuals = chunk.pictures, chunk.residuals
        count, width = residuals.shape[-2:]
        rows, side = max(1, MOST_POSITIONS // width), self._scale * PIXELS[self._scale]
        if count <= rows:
            frames = self.add(pictures, residuals, 0, count)
        else:
            frames = pictures.new_empty(*pictures.shape[:2], count * side, width * side)
            for top in range(0, count, rows):
                last = min(top + rows, count)
                frames[..., top * side : last * side, :] = self.add(pictures, residuals, top, last)
        keep_gray(frames, pictures)
        notes, state = keep_agreeing(frames, pictures, self._scale, chunk.tolerance, state)
        frames = sharpen(frames, self._scale) if self._sharp else frames
        put_back(frames, chunk.bars, self._scale)
        height, width = state.scene.target
        return RestoredChunk(frames[..., :height, :width], chunk.notes + notes), state

    def save(self, state: GuardState) -> dict[str, Tensor]:
        """What the guard knows."""
        return state.tensors()

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GuardState:
        """The state that `save` gave."""
        return GuardState.from_tensors(scene, tensors)

    def add(self, pictures: Tensor, residuals: Tensor, top: int, last: int) -> Tensor:
        """Bicubic interpolation and the residual on top, for the grid's rows from `top` to before `last`."""
        scale, side = self._scale, PIXELS[self._scale]
        before = min(top * side, CUBIC_REACH)
        around = pictures[..., top * side - before : last * side + CUBIC_REACH, :]
        own = slice(before, before + (last - top) * side)
        residual = residuals[..., top:last, :]
        # in place: pages that are touched for the first time cost more than the sum
        if is_on_source_grid(scale):
            return to_pixels(clamp_to_unit(bicubic_grid(around, scale)[..., own, :].add_(residual)))
        base = bicubic(around, scale)[..., own.start * scale : own.stop * scale, :]
        return clamp_to_unit(base.add_(to_pixels(residual)))


def keep_gray(frames: Tensor, pictures: Tensor) -> None:
    """Take the colors out of enlarged frames, in place, whose pictures have none: black and white film stays that."""
    colors = (pictures.amax(1) - pictures.amin(1)).amax((1, 2)).tolist()
    for frame, color in zip(frames.split(1), colors, strict=True):
        if color < LEAST_COLOR:
            frame.copy_(gray(frame).expand_as(frame))


def is_on_source_grid(scale: int) -> bool:
    """Whether a grid position is a pixel of the source, so that the base can stay on the grid as well."""
    return PIXELS[scale] == 1
