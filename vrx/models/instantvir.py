"""InstantViR (arXiv 2511.14208): one-step causal Wan for inpainting, deblurring and enlarging by 4, led by text.

Autoencoder: Wan's or LeanVAE.  Generator: causal Wan 1.3B, which remembers as much as it was trained with.
Guidance: a prompt.  The degraded latent itself is the network's input; one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.environment import Environment
from vrx.errors import UsageError
from vrx.models import autoencoders, prompts
from vrx.models.autoencoders import (
    AUTOENCODER,
    LEAN,
    TINY,
    AutoencoderStage,
    AutoencoderState,
    LeanVideoAutoencoder,
    StreamingPass,
    VideoAutoencoder,
)
from vrx.models.base import AnyStage, DeviceChunk, SceneStart
from vrx.models.causal_wan import PIXEL_MULTIPLE, SCHEDULE, Decode, Generate, LatentChunk, OneStep
from vrx.models.components import Component
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.layouts import pad_to_multiple, round_up, to_video
from vrx.models.tiling import SPATIAL, Tiling
from vrx.networks.leanvae import LeanAutoencoder
from vrx.networks.umt5 import Umt5Encoder
from vrx.networks.wan.transformer import WanTransformer
from vrx.settings import RestoreSettings, Task

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


@dataclass(frozen=True)
class InstantVirModel:
    """InstantViR's networks, loaded; `encode` turns a prompt into rows [1, L, D]."""

    autoencoder: VideoAutoencoder
    network: WanTransformer
    encode: Callable[[str], Tensor]
    tiling: Tiling

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> InstantVirRestorer:
        """See `LoadedModel`; a prompt that was never used before is encoded.  Raises ModelError."""
        options = InstantVirOptions(str(restore.task), self.encode(prompt or ""))
        return InstantVirRestorer(self.autoencoder, self.network, options, self.tiling)


def load(request: BuildRequest) -> InstantVirModel:
    """Load the networks, on LeanVAE where that is the only autoencoder; encode the prompt.  Raises ModelError."""
    components, tiny = request.components, request.model.decoder == "tiny"
    autoencoder: VideoAutoencoder
    if components.has("lean") and not components.has("autoencoder"):
        if tiny:
            raise UsageError("LeanVAE's latents have no tiny decoder", "Leave --decoder out")
        autoencoder = LeanVideoAutoencoder(request.load("lean", LeanAutoencoder))
    else:
        autoencoder = autoencoders.load_wan(request, tiny)

    @cache
    def encode(prompt: str) -> Tensor:
        if request.context is not None:
            return request.context.to(request.device)
        return prompts.encode_prompt(components, prompt, request.device, Environment.read().cache / "prompts")

    encode(request.model.prompt or "")  # before the transformer takes its memory
    return InstantVirModel(autoencoder, request.load("transformer", WanTransformer), encode, request.tiling)


FAMILY = Family(
    name="instantvir",
    capabilities=Capabilities(
        tasks=tuple(str(task) for task in Task),
        scales=(SCALE,),
        schedule=SCHEDULE,
        options={
            "decoder": "tiny: TAEHV decodes in place of Wan's autoencoder, faster, with less detail",
            "tile": "the autoencoder works in tiles of so many pixels of output",
            "compile": "parts of its networks are compiled (auto: on a GPU, layers from 5000 frames on)",
        },
        takes_prompt=True,
        latent_scale=SPATIAL,
        offloads=True,
        quantizes=("fp8",),
        pace=32e6,
        footprints=(  # LeanVAE: measured at one size on an H100 (vrx/bench/README.md); others computed
            # in fp8: 1.39 GB of weights less, and 110 bytes a pixel for inputs that are rounded
            Footprint(Linear(4.5e9, 15_000), part="lean", quantized=Linear(3.15e9, 15_110)),
            Footprint(Linear(3.8e9, 18_800), Linear(8.8e9, 15_000), "tiny", quantized=Linear(2.45e9, 18_910)),
            Footprint(Linear(4.0e9, 23_600), Linear(13.7e9, 15_000), quantized=Linear(2.65e9, 23_710)),
        ),
    ),
    components={
        "transformer": Component(network=WanTransformer, files=("model.pt",)),
        "autoencoder": AUTOENCODER,
        "tiny": TINY,
        "lean": LEAN,
        "text": Component(network=Umt5Encoder, files=("models_t5_umt5-xxl-enc*",), folders=("text_encoder",)),
        "tokenizer": Component(files=("tokenizer.json",)),
    },
    needs=("transformer", "autoencoder|lean", "text", "tokenizer"),
    load=load,
)
