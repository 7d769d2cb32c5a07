"""Shared by InfVSR and InstantViR: one step of causal Wan over a rolling KV cache, and the decoder after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.models.autoencoders import AutoencoderStage, AutoencoderState, StreamingPass
from vrx.models.base import CacheUsage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.layouts import round_up, to_frames
from vrx.models.tiling import SPATIAL
from vrx.networks.cache import Rolling
from vrx.networks.wan.schedule import clean_latent, nearest_sigma
from vrx.networks.wan.transformer import Conditions, WanTransformer

BLOCK = 3  # latent frames of a chunk
PIXEL_MULTIPLE = 16  # autoencoder x patch
SCHEDULE = ChunkSchedule(first=9, next=12, multiple=4, first_offset=1)
CONTEXT = "context"  # guidance rows in a saved state


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """The only step a system takes: its timestep, the shift of its schedule, and the latent frames it remembers.

    `pad` appends zero rows to the guidance up to the transformer's text length, as text models expect.
    """

    timestep: int
    shift: float
    window: int
    pad: bool

    @property
    def sigma(self) -> float:
        """The noise level of the timestep."""
        return nearest_sigma(self.timestep, self.shift)


@dataclass(frozen=True)
class LatentChunk:
    """A chunk between two stages: latents [1, C, F, H, W], and the source they were made of.

    `context`: guidance rows [1, L, D] from this chunk on, None where they stay as they are.
    """

    latents: Tensor
    source: DeviceChunk
    context: Tensor | None = None


@dataclass
class GenerateState:
    """A scene's cache, and the conditions with the rows they were made of."""

    scene: SceneStart
    cache: Rolling
    context: Tensor | None = None
    conditions: Conditions | None = None


class Generate(Stage[LatentChunk, LatentChunk, GenerateState]):
    """Degraded latents to restored ones: x0 = x - sigma v, one forward a chunk, which also writes the cache."""

    def __init__(self, network: WanTransformer, rule: OneStep, size: Callable[[SceneStart], tuple[int, int]]) -> None:
        self._network, self._rule, self._size = network, rule, size
        self._device = network.patch_embedding.weight.device

    def start(self, scene: SceneStart) -> GenerateState:
        """An empty cache for the scene's latents."""
        height, width = (round_up(side, PIXEL_MULTIPLE) // SPATIAL for side in self._size(scene))
        return GenerateState(scene, self._network.allocate(height, width, self._rule.window, BLOCK))

    def step(self, chunk: LatentChunk, state: GenerateState) -> tuple[LatentChunk, GenerateState]:
        """Restored latents [1, C, F, H, W]."""
        if chunk.context is not None:
            state = self.condition(state, chunk.context)
        assert state.conditions is not None
        flow = self._network.step(chunk.latents, state.conditions, state.cache)
        return LatentChunk(clean_latent(chunk.latents, flow, self._rule.sigma), chunk.source), state

    def condition(self, state: GenerateState, context: Tensor) -> GenerateState:
        """The state under other guidance rows [1, L, D]."""
        conditions = self._network.conditions(self._rule.timestep, context.to(self._device), self._rule.pad)
        return GenerateState(state.scene, state.cache, context, conditions)

    def save(self, state: GenerateState) -> dict[str, Tensor]:
        """Cache and guidance rows."""
        rows = {} if state.context is None else {CONTEXT: state.context}
        return state.cache.tensors() | rows

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GenerateState:
        """The state that `save` gave."""
        state = self.start(scene)
        state.cache.restore(tensors)
        return self.condition(state, tensors[CONTEXT]) if CONTEXT in tensors else state

    def cache_usage(self, state: GenerateState) -> CacheUsage:
        """Keys and values of the window."""
        return CacheUsage(state.cache.nbytes, state.cache.full)


class Decode(AutoencoderStage[LatentChunk, RestoredChunk]):
    """Latents to pixels, cut to the scene's size; known pixels of a mask stay as they were."""

    def __init__(self, decoder: StreamingPass, device: torch.device) -> None:
        super().__init__(device)
        self._decoder = decoder

    def step(self, chunk: LatentChunk, state: AutoencoderState) -> tuple[RestoredChunk, AutoencoderState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        video, caches = self._decoder.step(chunk.latents, state.caches)
        height, width = state.scene.target
        frames = to_frames(video)[..., :height, :width]
        if chunk.source.masks is not None:
            frames = torch.where(chunk.source.masks > 0, frames, chunk.source.frames)
        return RestoredChunk(frames), AutoencoderState(state.scene, caches)
