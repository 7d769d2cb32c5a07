"""Inpainting: what neighbors show, then a smooth fill, then a causal transformer over the rest.

The network works in tiles, only where something is left to fill, each with a memory of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vrx.events import Note
from vrx.models.base import CacheUsage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.embedded.damage import OPENING, DamageReader, SceneDamage, damage_note
from vrx.models.embedded.denoise import Denoiser
from vrx.models.embedded.keep_size import Denoising, Past
from vrx.models.embedded.neighbors import Neighbors
from vrx.models.embedded.views import Rectangle, View
from vrx.models.layouts import pad_to_multiple
from vrx.networks.embedded.grain import Grain
from vrx.networks.embedded.grid import GRID, inpaint_inputs, to_pixels
from vrx.networks.embedded.network import EmbeddedNetwork, Memory
from vrx.networks.embedded.symptoms import gray
from vrx.networks.overflow import clamp_to_unit

REACH = 8  # frames on either side that are looked into
AHEAD_PIXELS = REACH * 1920 * 1088  # in all the frames ahead together; larger frames have fewer
LARGE = 1920 * 1088  # pixels, beyond which frames come one at a time
# few at a time: pictures of 1280x720 then stay below what the allocator keeps at hand
SCHEDULE = ChunkSchedule(first=1, next=4, ahead=REACH, ahead_pixels=AHEAD_PIXELS, large=LARGE)
TILE = 512  # pixels a side that a tile is responsible for, at most
OVERLAP = 64  # pixels that tiles look beyond it
TILE_STEP = 16  # pixels; tiles begin at multiples of it
MOST_TILES = 12  # with memories; frames that need more of them are filled without memory
MOST_MASKED = 0.1  # share of a picture, above which what is around the mask tells no damage
LEAST_LEFT = 0.5  # of a pixel to fill, for which the network is asked; it knows holes and known pixels only


@dataclass(frozen=True)
class EncodedChunk:
    """From encode to generate: pictures [T, 3, H, W] filled classically, and how much of them is left to fill.

    `left`: [T, 2, H, W], 0 to 1, of luma and of chroma; `levels`: conditions [1, LEVELS]; `refresh`: frames that become
    the reference.
    """

    pictures: Tensor
    left: Tensor
    levels: Tensor
    refresh: frozenset[int]
    notes: tuple[Note, ...] = ()
    grain: Grain | None = None


@dataclass
class EncodeState:
    """Views of a scene's latest frames, and of those to come that were ahead of the latest chunk.

    `reach`: how many frames on either side are looked into; `damage`: None where most is masked; `frames`: of a scene
    that is denoised, those so far.
    """

    scene: SceneStart
    reach: int
    damage: SceneDamage | None = None
    frames: Past | None = None
    past: list[View] = field(default_factory=list)
    coming: list[View] = field(default_factory=list)


def reach_of(size: tuple[int, int]) -> int:
    """How many frames on either side are looked into for frames of (height, width)."""
    return max(1, min(REACH, AHEAD_PIXELS // (size[0] * size[1])))


class Encode(Stage[DeviceChunk, EncodedChunk, EncodeState]):
    """Pixels to pictures that are filled from their neighbors and smoothly."""

    def __init__(self, strength: float | None, reader: DamageReader, denoiser: Denoiser) -> None:
        self._strength, self._reader, self._denoising = strength, reader, Denoising(denoiser)

    def start(self, scene: SceneStart) -> EncodeState:
        """Nothing was seen."""
        return EncodeState(scene, reach_of(scene.source))

    def step(self, chunk: DeviceChunk, state: EncodeState) -> tuple[EncodedChunk, EncodeState]:
        """Fill the frames one after the other; find the damage of what is known."""
        assert chunk.masks is not None
        count, neighbors = len(chunk.frames), Neighbors(state.reach)
        coming = [*state.coming, *look(chunk, len(state.coming))]
        past, pictures, left = [view.on(chunk.frames.device) for view in state.past], [], []
        for number, frame in enumerate(chunk.frames):
            window = [*past, *trim_repeats(coming[number : number + state.reach + 1])]
            filled = neighbors.fill(frame, window, len(past))
            pictures.append(filled.picture)
            left.append(filled.missing)
            past = [*past, coming[number]][-state.reach :]
        levels = chunk.frames.new_tensor([[0.0, self._strength or 0.0, float(self._strength is not None)]])
        damage, notes = state.damage, tuple[Note, ...]()
        changed = 0 if damage is None else min(chunk.refresh, default=count)
        if changed < count and float(chunk.masks.mean()) <= MOST_MASKED:
            seen = trim_repeats(coming[changed : changed + OPENING])
            read = self._reader.read(torch.stack([view.picture for view in seen]).to(chunk.frames)).damage
            if damage != read:
                damage, notes = read, damage_note(read, state.scene.number + 1)
        result, frames = torch.stack(pictures), state.frames
        if damage is not None:
            height, width = result.shape[-2:]
            cleaned, frames = self._denoising.clean(pad_to_multiple(result, GRID), damage, frames, count)
            result = cleaned[..., :height, :width]
        encoded = EncodedChunk(result, torch.stack(left), levels, chunk.refresh, notes)
        return encoded, replace(state, damage=damage, frames=frames, past=past, coming=coming[count:])

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """The latest frames; those ahead come again."""
        if not state.past:
            return {}
        damage = {} if state.damage is None else {"damage": state.damage.tensor()}
        frames = {} if state.frames is None else state.frames.tensors()
        return (
            damage | frames | {name: torch.stack([getattr(view, name) for view in state.past]) for name in View.SAVED}
        )

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        state = self.start(scene)
        if tensors:
            parts = zip(*(tensors[name] for name in View.SAVED), strict=True)
            state.past = [View(*part) for part in parts]
        if "damage" in tensors:
            state.damage = SceneDamage.from_tensor(tensors["damage"].cpu())
        state.frames = Past.from_tensors(tensors)
        return state

    def cache_usage(self, state: EncodeState) -> CacheUsage:
        """The latest frames."""
        used = sum(view.picture.nbytes + view.known.nbytes + view.certainty.nbytes for view in state.past)
        return CacheUsage(used, len(state.past) == state.reach)


def look(chunk: DeviceChunk, seen: int) -> Iterator[View]:
    """Views of a chunk's frames and of those ahead, without the first that were `seen`."""
    assert chunk.masks is not None
    parts = [(chunk.frames, chunk.masks, chunk.chroma_masks)]
    if chunk.ahead is not None and chunk.ahead_masks is not None:
        parts.append((chunk.ahead, chunk.ahead_masks, chunk.ahead_chroma_masks))
    number = 0
    for frames, masks, chroma in parts:
        for index, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
            if number >= seen:
                yield View.of(frame, mask, mask if chroma is None else chroma[index])
            number += 1


def trim_repeats(views: list[View]) -> list[View]:
    """Views without those at the end that repeat the one before: a scene's last frame stands in for those after it."""
    while len(views) > 1 and views[-1].is_like(views[-2]):
        views = views[:-1]
    return views


@dataclass(frozen=True)
class Tile(Rectangle):
    """A rectangle that the network sees at once, and how much its results count in it [h, w]; 1 in all with others'."""

    weights: Tensor


def make_tiles(height: int, width: int) -> list[Tile]:
    """The tiles of a picture; one for all of it where it is small."""
    return [
        Tile(rows, columns, down[:, None] * across) for rows, down in split(height) for columns, across in split(width)
    ]


def split(side: int) -> list[tuple[slice, Tensor]]:
    """A side in overlapping spans, with weights that rise and fall where two overlap."""
    if side <= TILE + 2 * OVERLAP:
        return [(slice(0, side), torch.ones(side))]
    count = -(-side // TILE)
    edges = [side * number // count // TILE_STEP * TILE_STEP for number in range(count)] + [side]
    ramp = (torch.arange(2 * OVERLAP) + 0.5) / (2 * OVERLAP)
    spans = []
    for number in range(count):
        first, last = max(0, edges[number] - OVERLAP), min(side, edges[number + 1] + OVERLAP)
        weights = torch.ones(last - first)
        if number:
            weights[: 2 * OVERLAP] = ramp
        if number < count - 1:
            weights[-2 * OVERLAP :] *= ramp.flip(0)
        spans.append((slice(first, last), weights))
    return spans


def by_share(residual: Tensor, share: Tensor) -> Tensor:
    """Of a residual of colors [1, 3, h, w] the share that luma and chroma are to get, [1, 2, h, w]."""
    luma, colors = gray(residual), share[:, 1:]
    return luma * (share[:, :1] - colors) + residual * colors


@dataclass
class GenerateState:
    """The network's memory in the tiles that were filled in the frame before."""

    scene: SceneStart
    tiles: list[Tile]
    memories: dict[int, Memory] = field(default_factory=dict)


class Generate(Stage[EncodedChunk, RestoredChunk, GenerateState]):
    """The network, a frame at a time, over its rolling cache; known pixels stay what they were."""

    def __init__(self, network: EmbeddedNetwork, remember: bool = True) -> None:
        self._network, self._remember = network, remember

    def start(self, scene: SceneStart) -> GenerateState:
        """No memories."""
        height, width = (-(-side // GRID) * GRID for side in scene.source)
        return GenerateState(scene, make_tiles(height, width))

    def step(self, chunk: EncodedChunk, state: GenerateState) -> tuple[RestoredChunk, GenerateState]:
        """Restored frames [T, 3, H, W] in 0..1."""
        frames, memories = chunk.pictures, state.memories
        for number, (picture, left) in enumerate(zip(frames, chunk.left, strict=True)):
            fresh = number in chunk.refresh or not self._remember
            memories = self.fill(picture, left, chunk.levels, GenerateState(state.scene, state.tiles, memories), fresh)
        return RestoredChunk(clamp_to_unit(frames), chunk.notes), GenerateState(state.scene, state.tiles, memories)

    def fill(
        self, picture: Tensor, left: Tensor, levels: Tensor, state: GenerateState, fresh: bool
    ) -> dict[int, Memory]:
        """Add to a picture [3, H, W], in place, what the network finds; the memories for the next frame."""
        size = picture.shape[-2:]
        base, share = (pad_to_multiple(x[None], GRID) for x in (picture, left))
        mask = (share[:, :1] > LEAST_LEFT).to(share)
        busy = [number for number, tile in enumerate(state.tiles) if bool(tile.crop(mask).any())]
        remember = self._remember and len(busy) <= MOST_TILES
        memories, total = {}, torch.zeros_like(base) if len(busy) > 1 else None
        for number in busy:
            tile = state.tiles[number]
            seen, hole = tile.crop(base), tile.crop(mask)
            memory = state.memories.get(number) if remember else None
            is_reference = fresh or memory is None
            memory = memory or self._network.allocate(seen.shape[-2] // GRID, seen.shape[-1] // GRID)
            grid = inpaint_inputs(seen, hole).to(self._network.weight.dtype)
            grid = grid.contiguous(memory_format=torch.channels_last)
            residual = to_pixels(self._network.step("inpaint", grid, levels.to(grid), memory, is_reference)).float()
            if remember:
                memories[number] = memory
            residual = by_share(residual, tile.crop(share)) * hole * tile.weights.to(hole)
            if total is None:
                total = residual if residual.shape == base.shape else torch.zeros_like(base)
            if total is not residual:
                tile.crop(total).add_(residual)
        if total is not None:
            picture += total[0, :, : size[0], : size[1]]
        return memories

    def save(self, state: GenerateState) -> dict[str, Tensor]:
        """The memories, by tile."""
        return {
            f"{number}.{name}": tensor
            for number, memory in state.memories.items()
            for name, tensor in memory.tensors().items()
        }

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GenerateState:
        """The memories that `save` gave."""
        state = self.start(scene)
        parts: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            place, _, rest = name.partition(".")
            parts.setdefault(int(place), {})[rest] = tensor
        for number, part in parts.items():
            tile = state.tiles[number]
            sides = (-(-(span.stop - span.start) // GRID) for span in (tile.rows, tile.columns))
            state.memories[number] = self._network.allocate(*sides)
            state.memories[number].restore(part)
        return state

    def cache_usage(self, state: GenerateState) -> CacheUsage:
        """Keys, values and features of earlier frames."""
        memories = state.memories.values()
        features = sum(x.nbytes for memory in memories for x in memory.features.features)
        kept = sum(memory.cache.nbytes for memory in memories)
        return CacheUsage(kept + features, all(memory.cache.full for memory in memories))
