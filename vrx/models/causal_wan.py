"""The generator that InfVSR and InstantViR share: one step of causal Wan over a rolling KV cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from vrx.models.autoencoders import SPATIAL
from vrx.models.base import ChunkSchedule, Pixels, SceneStart
from vrx.models.stages import up_to
from vrx.networks.cache import KVCache
from vrx.networks.wan.schedule import clean_latent, nearest_sigma
from vrx.networks.wan.transformer import Conditions, WanTransformer

BLOCK = 3  # latent frames of a chunk
PIXEL_MULTIPLE = 16  # codec x patch
SCHEDULE = ChunkSchedule(first=9, next=12, multiple=4, first_offset=1)
CONTEXT = "context"  # guidance rows in a chunk's carry, where they change


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


@dataclass
class GenerateState:
    """A scene's cache, and the conditions with the rows they were made of."""

    scene: SceneStart
    cache: KVCache
    context: Tensor | None = None
    conditions: Conditions | None = None


class Generate:
    """Degraded latents to restored ones: x0 = x - sigma v, one forward a chunk, which also writes the cache."""

    def __init__(self, network: WanTransformer, rule: OneStep, size: Callable[[SceneStart], tuple[int, int]]) -> None:
        self._network, self._rule, self._size = network, rule, size
        self._device = network.patch_embedding.weight.device

    def start(self, scene: SceneStart) -> GenerateState:
        """An empty cache for the scene's latents."""
        height, width = (up_to(side, PIXEL_MULTIPLE) // SPATIAL for side in self._size(scene))
        return GenerateState(scene, self._network.allocate(height, width, self._rule.window, BLOCK))

    def step(self, chunk: Pixels, state: GenerateState) -> tuple[Pixels, GenerateState]:
        """Restored latents [1, C, F, H, W]."""
        assert chunk.latents is not None
        if CONTEXT in chunk.carry:
            state = self.told(state, chunk.carry.pop(CONTEXT))
        assert state.conditions is not None
        flow = self._network.step(chunk.latents, state.conditions, state.cache)
        chunk.latents = clean_latent(chunk.latents, flow, self._rule.sigma)
        return chunk, state

    def told(self, state: GenerateState, context: Tensor) -> GenerateState:
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
        return self.told(state, tensors[CONTEXT]) if CONTEXT in tensors else state
