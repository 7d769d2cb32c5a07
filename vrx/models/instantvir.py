"""InstantViR (arXiv 2511.14208): one-step causal Wan for inpainting, deblurring and enlarging by 4, led by text.

Autoencoder: Wan's or LeanVAE.  Generator: causal Wan 1.3B, which remembers as much as it was trained with.
Guidance: a prompt.  The degraded latent itself is the network's input; one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models import autoencoders
from vrx.models.autoencoders import (
    SPATIAL,
    AutoencoderStage,
    AutoencoderState,
    StreamingPass,
    Tiling,
    VideoAutoencoder,
)
from vrx.models.base import AnyStage, DeviceChunk, SceneStart
from vrx.models.causal_wan import PIXEL_MULTIPLE, SCHEDULE, Decode, Generate, LatentChunk, OneStep
from vrx.models.layouts import pad_to_multiple, round_up, to_video
from vrx.networks.wan.transformer import WanTransformer

RULE = OneStep(timestep=522, shift=8.0, window=18, pad=True)  # 21 latent frames with the chunk's own
GRAY = 0.5  # the value of missing pixels
SCALE = 4


@dataclass(frozen=True)
class InstantVirOptions:
    """The task, and the prompt's rows [1, L, D]."""

    task: str
    context: Tensor


class Encode(AutoencoderStage[DeviceChunk, LatentChunk]):
    """Pixels as they are to latents; for enlarging the small video's latents are enlarged."""

    def __init__(self, encoder: StreamingPass, options: InstantVirOptions) -> None:
        super().__init__(options.context.device)
        self._encoder, self._options = encoder, options

    def step(self, chunk: DeviceChunk, state: AutoencoderState) -> tuple[LatentChunk, AutoencoderState]:
        """Latents on the grid of the result, with the prompt's rows in a scene's first chunk."""
        frames = chunk.frames
        if chunk.masks is not None:
            frames = torch.where(chunk.masks > 0, GRAY, frames)
        enlarges = self._options.task == "upscale"
        video = to_video(pad_to_multiple(frames, SPATIAL if enlarges else PIXEL_MULTIPLE))
        context = None if state.caches else self._options.context
        latents, caches = self._encoder.step(video, state.caches)
        if enlarges:
            latents = enlarge_latents(latents)
        return LatentChunk(latents, chunk, context), AutoencoderState(state.scene, caches)


def enlarge_latents(latent: Tensor) -> Tensor:
    """[1, C, F, H, W] to four times the rows and columns, bilinear, frame by frame."""
    flat = latent[0].transpose(0, 1)
    return F.interpolate(flat, scale_factor=SCALE, mode="bilinear").transpose(0, 1)[None]


class InstantVirRestorer:
    """The three stages; networks are on their device, in their type."""

    schedule = SCHEDULE

    def __init__(
        self, autoencoder: VideoAutoencoder, network: WanTransformer, options: InstantVirOptions, tiling: Tiling
    ) -> None:
        enlarges = options.task == "upscale"
        self.scale = SCALE if enlarges else 1
        device = network.patch_embedding.weight.device

        def size(scene: SceneStart) -> tuple[int, int]:
            height, width = (round_up(side, SPATIAL) for side in scene.source)
            return (height * SCALE, width * SCALE) if enlarges else scene.source

        self.stages: Mapping[str, AnyStage] = {
            "encode": Encode(autoencoders.encoder(autoencoder, tiling), options),
            "generate": Generate(network, RULE, size),
            "decode": Decode(autoencoders.decoder(autoencoder, tiling), device),
        }
