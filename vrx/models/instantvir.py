"""InstantViR (arXiv 2511.14208): one-step causal Wan for inpainting, deblurring and enlarging by 4, led by text.

Codec: Wan's or LeanVAE.  Generator: causal Wan 1.3B, which remembers as much as it was trained with.
Guidance: a prompt.  The degraded latent itself is the network's input; one step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models import autoencoders
from vrx.models.autoencoders import SPATIAL, Codec, Streamed, Tiling
from vrx.models.base import Pixels, SceneStart, Stage
from vrx.models.causal_wan import CONTEXT, PIXEL_MULTIPLE, SCHEDULE, Generate, OneStep
from vrx.models.stages import CodecState, Decode, padded, video
from vrx.networks.wan.transformer import WanTransformer

RULE = OneStep(timestep=522, shift=8.0, window=18, pad=True)  # 21 latent frames with the chunk's own
GREY = 0.5  # what stands where pixels are missing
SCALE = 4


@dataclass(frozen=True)
class InstantVirOptions:
    """The task, and the prompt's rows [1, L, D]."""

    task: str
    context: Tensor


class Encode:
    """Pixels as they are to latents; for enlarging the small video's latents are enlarged."""

    def __init__(self, streamed: Streamed, options: InstantVirOptions) -> None:
        self._streamed, self._options = streamed, options

    def start(self, scene: SceneStart) -> CodecState:
        """Empty caches."""
        return CodecState(scene)

    def step(self, chunk: Pixels, state: CodecState) -> tuple[Pixels, CodecState]:
        """Latents on the grid of the result; the prompt's rows in the carry of a scene's first chunk."""
        frames = chunk.frames
        if chunk.masks is not None:
            frames = torch.where(chunk.masks > 0, GREY, frames)
        enlarges = self._options.task == "upscale"
        x = video(padded(frames, SPATIAL if enlarges else PIXEL_MULTIPLE))
        if not state.caches:
            chunk.carry[CONTEXT] = self._options.context
        latent, caches = self._streamed.step(x, state.caches)
        chunk.latents = enlarged(latent) if enlarges else latent
        return chunk, CodecState(state.scene, caches)

    def save(self, state: CodecState) -> dict[str, Tensor]:
        """The caches."""
        return autoencoders.saved(state.caches)

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> CodecState:
        """The state that `save` gave."""
        return CodecState(scene, autoencoders.restored(tensors, self._options.context.device))


def enlarged(latent: Tensor) -> Tensor:
    """[1, C, F, H, W] to four times the rows and columns, bilinear, frame by frame."""
    flat = latent[0].transpose(0, 1)
    return F.interpolate(flat, scale_factor=SCALE, mode="bilinear").transpose(0, 1)[None]


class InstantVirRestorer:
    """The three stages; networks stand on their device, in their type."""

    name = "instantvir"
    schedule = SCHEDULE

    def __init__(self, codec: Codec, network: WanTransformer, options: InstantVirOptions, tiling: Tiling) -> None:
        enlarges = options.task == "upscale"
        self.scale = SCALE if enlarges else 1
        device = network.patch_embedding.weight.device

        def size(scene: SceneStart) -> tuple[int, int]:
            height, width = (side + -side % SPATIAL for side in scene.source)
            return (height * SCALE, width * SCALE) if enlarges else scene.source

        self.encode: Stage = Encode(autoencoders.encoder(codec, tiling), options)
        self.generate: Stage = Generate(network, RULE, size)
        self.decode: Stage = Decode(autoencoders.decoder(codec, tiling), device)
