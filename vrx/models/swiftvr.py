"""SwiftVR (arXiv 2606.09516): one step of Wan 2.2 in windows over chunks of 24 frames, with a light autoencoder.

In: the enlarged source as latents.  Generator: Wan 2.2 TI2V 5B from the last step of its schedule, without noise and
without memory; the windows are its own.  Out: the autoencoder's decoder.  The result is ahead of the source by
nothing: three frames are read ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.autoencoders import AutoencoderStage, AutoencoderState, StreamingPass
from vrx.models.base import AnyStage, RestoredChunk, SceneStart, Stage
from vrx.models.components import TRANSFORMER, Component
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.layouts import round_up
from vrx.models.light_wan import CHANNELS, MULTIPLE, Encode, LightChunk, check_fit, schedule
from vrx.models.prompts import load_rows
from vrx.models.tiling import Tiling
from vrx.models.token_tiles import PATCH, Cut, in_tiles, token_tiles
from vrx.networks.swiftvr.autoencoder import SPATIAL, Reae
from vrx.networks.swiftvr.transformer import SwiftTransformer
from vrx.networks.wan.transformer import TI2V_5B, Conditions, WanTransformer
from vrx.settings import RestoreSettings

LATENTS, FIRST_LATENTS = 6, 7  # of a chunk; a scene's last one is filled up to the latter
SCHEDULE = schedule(LATENTS, FIRST_LATENTS)
# Computed (tests/models/test_wan22_memory.py), not measured: weights in bf16 without those of the prompt 9.3 GB, in
# 8 bits 5.1; where they wait on the host 2.4 while they are loaded.  A pixel of output: all three stages at work.
FOOTPRINT = Footprint(Linear(10.4e9, 2_000), offloaded=Linear(2.5e9, 2_750), quantized=Linear(6.25e9, 2_000))
PROMPT, PROMPT_ROWS = "prompt_embedding", "prompt_emb"  # a role, and a tensor in its file
BEFORE = "before"  # latents in a saved state


def enlarge(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """[T, 3, H, W] to (height, width), bilinear, as the release does it."""
    if tuple(frames.shape[-2:]) == size:
        return frames
    return F.interpolate(frames, size, mode="bilinear", align_corners=False)


@dataclass
class GenerateState:
    """A scene's latest degraded latents [1, 48, F, H, W], which fill its last chunk; zeros before its first ones."""

    scene: SceneStart
    before: Tensor


class Generate(Stage[LightChunk, LightChunk, GenerateState]):
    """Degraded latents to restored ones, all of a chunk at once; a scene's last chunk behind latents before it."""

    def __init__(
        self, network: SwiftTransformer, conditions: Conditions, tiling: Tiling, chunk: int = FIRST_LATENTS
    ) -> None:
        self._network, self._conditions, self._tiling, self._full = network, conditions, tiling, chunk
        self.device = network.network.patch_embedding.weight.device

    def start(self, scene: SceneStart) -> GenerateState:
        """Nothing before."""
        height, width = (round_up(side, MULTIPLE) // SPATIAL for side in scene.target)
        shape = (1, CHANNELS, self._full - 1, height, width)
        return GenerateState(scene, torch.zeros(shape, device=self.device))

    def step(self, chunk: LightChunk, state: GenerateState) -> tuple[LightChunk, GenerateState]:
        """Restored latents [1, 48, F, H, W]."""
        latents = chunk.latents
        filling = self._full - latents.shape[2] if chunk.last else 0
        before = state.before[:, :, self._full - 1 - filling :]
        restored = self._restore(latents, before, self._conditions)
        known = torch.cat([state.before, latents], 2)[:, :, 1 - self._full :]
        return replace(chunk, latents=restored), GenerateState(state.scene, known)

    def _restore(self, latents: Tensor, before: Tensor, conditions: Conditions) -> Tensor:
        """In one piece, or in tiles whose seams blend."""
        height, width = latents.shape[-2:]
        grid = height // PATCH, width // PATCH

        def run(_: int, cut: Cut) -> Tensor:
            return self._network.restore(cut(latents, PATCH), cut(before, PATCH), conditions)

        return in_tiles(grid, token_tiles(self._tiling, grid), PATCH, run)

    def save(self, state: GenerateState) -> dict[str, Tensor]:
        """The latents before."""
        return {BEFORE: state.before.contiguous()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GenerateState:
        """The state that `save` gave."""
        return GenerateState(scene, tensors[BEFORE].to(self.device))


class Decode(AutoencoderStage[LightChunk, RestoredChunk]):
    """Latents to frames, cut to the scene's size."""

    def __init__(self, decoder: StreamingPass, device: torch.device) -> None:
        super().__init__(device)
        self._decoder = decoder

    def step(self, chunk: LightChunk, state: AutoencoderState) -> tuple[RestoredChunk, AutoencoderState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        frames, caches = self._decoder.step(chunk.latents.transpose(1, 2), state.caches)
        height, width = state.scene.target
        return RestoredChunk(frames[0, ..., :height, :width]), AutoencoderState(state.scene, caches)


class SwiftVrRestorer:
    """The three stages; networks are on their device, in their type."""

    schedule = SCHEDULE

    def __init__(self, autoencoder: Reae, generate: Generate, scale: int, tiling: Tiling) -> None:
        self.scale = scale
        device = generate.device
        encoder = StreamingPass(autoencoder.encode_step, tiling, (SPATIAL, 1))
        decoder = StreamingPass(autoencoder.decode_step, tiling, (1, SPATIAL))
        self.stages: Mapping[str, AnyStage] = {
            "encode": Encode(encoder, enlarge, device),
            "generate": generate,
            "decode": Decode(decoder, device),
        }


@dataclass(frozen=True)
class SwiftVrModel:
    """SwiftVR's networks, loaded; `conditions` are those of its only prompt."""

    autoencoder: Reae
    network: SwiftTransformer
    conditions: Conditions
    tiling: Tiling

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> SwiftVrRestorer:
        """See `LoadedModel`."""
        generate = Generate(self.network, self.conditions, self.tiling)
        return SwiftVrRestorer(self.autoencoder, generate, restore.scale, self.tiling)


def load(request: BuildRequest) -> SwiftVrModel:
    """Load the networks.  Raises ModelError."""
    autoencoder = request.load("reae", Reae)
    network = request.load(TRANSFORMER, WanTransformer)
    check_fit(request, "reae", autoencoder.config.latent_channels, network.config)
    rows = load_rows(request, PROMPT, network.config.text_dim, PROMPT_ROWS)
    windowed = SwiftTransformer(network)
    with torch.inference_mode():
        conditions = windowed.conditions(rows.to(request.device))
    return SwiftVrModel(autoencoder, windowed, conditions, request.tiling)


FAMILY = Family(
    name="swiftvr",
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(1, 2, 3, 4),
        schedule=SCHEDULE,
        options={"tile": "all networks work in tiles of so many pixels of output, whose seams blend"},
        latent_scale=SPATIAL,
        resumes_in_scene=True,
        offloads=True,
        quantizes=("int8", "fp8"),
        footprints=(FOOTPRINT,),
    ),
    components={
        TRANSFORMER: Component(
            network=WanTransformer, published=TI2V_5B, files=("transformer/diffusion_pytorch_model*",)
        ),
        "reae": Component(network=Reae, files=("reae.*",)),
        PROMPT: Component(files=("prompt_embedding.*",), signature=PROMPT_ROWS),
    },
    needs=(TRANSFORMER, "reae", PROMPT),
    load=load,
)
