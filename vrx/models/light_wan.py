"""Shared by SwiftVR and FastVR: enlarged frames to latents of their light autoencoders, for one step of Wan 2.2.

A latent holds four frames, a scene's first no less: so three frames come along ahead of those that a chunk shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.errors import ModelError
from vrx.models.autoencoders import AutoencoderStage, AutoencoderState, StreamingPass
from vrx.models.base import ChunkSchedule, DeviceChunk
from vrx.models.family import BuildRequest
from vrx.models.layouts import pad_to_multiple
from vrx.models.token_tiles import PATCH
from vrx.networks.swiftvr.autoencoder import LEAD, TEMPORAL
from vrx.networks.wan.transformer import WanConfig

CHANNELS = 48
MULTIPLE = 32  # pixels of output: autoencoder x patch

Enlarge = Callable[[Tensor, tuple[int, int]], Tensor]  # frames [T, 3, H, W] in 0..1 to a size (height, width)


def schedule(latents: int, first_latents: int) -> ChunkSchedule:
    """Chunks of so many latents, a scene's first of `first_latents`."""
    first, later = first_latents * TEMPORAL - LEAD, latents * TEMPORAL
    return ChunkSchedule(first=first, next=later, multiple=TEMPORAL, first_offset=1, ahead=LEAD)


@dataclass(frozen=True)
class LightChunk:
    """A chunk between two stages: latents [1, 48, F, H/16, W/16], float32, and whether it is the scene's last.

    `enlarged`: the frames [T, 3, H, W] in 0..1 that the latents were made of, padded.
    """

    latents: Tensor
    enlarged: Tensor
    last: bool


def check_fit(request: BuildRequest, role: str, channels: int, config: WanConfig) -> None:
    """Refuse an autoencoder of other latents, of so many channels, than the transformer's.  Raises ModelError."""
    if (config.in_dim, config.out_dim, config.patch_size) != (channels, channels, (1, PATCH, PATCH)):
        raise ModelError(f"{request.components.where(role)} does not fit the transformer: other latents")


class Encode(AutoencoderStage[DeviceChunk, LightChunk]):
    """Enlarge, repeat the last row and column up to whole tokens, encode."""

    def __init__(self, encoder: StreamingPass, enlarge: Enlarge, device: torch.device) -> None:
        super().__init__(device)
        self._encoder, self._enlarge = encoder, enlarge

    def step(self, chunk: DeviceChunk, state: AutoencoderState) -> tuple[LightChunk, AutoencoderState]:
        """Latents of the frames that were not ahead of the chunk before."""
        assert chunk.ahead is not None
        fresh = torch.cat([chunk.frames[LEAD:] if state.caches else chunk.frames, chunk.ahead])
        large = pad_to_multiple(self._enlarge(fresh, state.scene.target), MULTIPLE)
        latents, caches = self._encoder.step(large[None], state.caches)
        encoded = LightChunk(latents.transpose(1, 2).float(), large, chunk.last)
        return encoded, AutoencoderState(state.scene, caches)
