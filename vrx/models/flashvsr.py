"""FlashVSR (arXiv 2510.12747): streaming one-step enlarging on Wan with sparse attention.

In: the enlarged source as tokens (LQ projection).  Generator: Wan 1.3B at sigma 1 from noise, sparse
attention over a rolling KV cache, one fixed prompt.  Out: a tiny decoder that also sees the source, or
Wan's; then the source's colors.  Features lead the picture by four frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models import autoencoders
from vrx.models.autoencoders import AUTOENCODER, AutoencoderStage, AutoencoderState, Caches, StreamingPass
from vrx.models.base import AnyStage, CacheUsage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.components import Component
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.layouts import pad_to_multiple, round_up, to_frames, to_video
from vrx.models.prompts import load_rows
from vrx.models.tiling import SPATIAL
from vrx.networks.cache import Rolling
from vrx.networks.causal_conv import ConvCache
from vrx.networks.color_transfer import adain, match_colors
from vrx.networks.flashvsr.projection import LqProjection
from vrx.networks.flashvsr.transformer import TIMESTEP, FlashTransformer, SparseOptions, released_ratio
from vrx.networks.taehv import ConditionalDecoder
from vrx.networks.wan.transformer import Conditions, WanTransformer
from vrx.settings import RestoreSettings

MULTIPLE = 128  # pixels of output: autoencoder x patch x window
AHEAD = 4  # frames that the features lead the picture
FIRST, NEXT = 21, 8  # frames that a step gives
SCHEDULE = ChunkSchedule(first=FIRST, next=NEXT, multiple=NEXT, first_offset=FIRST % NEXT, least=FIRST, ahead=AHEAD)
FIRST_LATENTS, NEXT_LATENTS = 6, 2
CHANNELS = 16
TRANSFER = adain  # of colors, as the release


@dataclass(frozen=True, kw_only=True)
class FlashVsrOptions:
    """`scale` of the result; `context` the fixed prompt's rows [1, L, D]; `color` how colors are put right; `seed`."""

    scale: int
    context: Tensor
    color: str = "auto"
    seed: int = 0
    reach: int = 11
    pairs: int = 3


def enlarge(frames: Tensor, scale: int) -> Tensor:
    """[T, 3, H, W] in 0..1 by a factor as the release does it: bicubic (a = -0.5) on 8-bit pictures.

    The 8-bit kernel is the processor's; elsewhere its two passes are made in float32, which differs by a level
    in a thousandth of the values.
    """
    size = (frames.shape[-2] * scale, frames.shape[-1] * scale)
    levels = (frames * 255).round()
    if frames.device.type == "cpu":
        return F.interpolate(levels.to(torch.uint8), size, mode="bicubic", antialias=True).float() / 255
    return resize_in_two_passes(levels, size) / 255


def resize_in_two_passes(levels: Tensor, size: tuple[int, int]) -> Tensor:
    """Float levels [T, 3, H, W] in 0..255 to whole ones of `size`, along rows, then along columns."""
    for sides in ((levels.shape[-2], size[1]), size):
        levels = (F.interpolate(levels, sides, mode="bicubic", antialias=True) + 0.5).floor().clamp(0, 255)
    return levels


@dataclass(frozen=True)
class EncodedChunk:
    """From encode to generate: the features of a step's tokens, one tensor for each layer that takes them.

    `shown`: the enlarged source [1, 3, T, H, W] of the frames that the step gives, padded, in -1..1.
    """

    features: list[Tensor]
    shown: Tensor


@dataclass(frozen=True)
class GeneratedChunk:
    """From generate to decode: latents [1, 16, F, H, W], and the enlarged source beside them."""

    latents: Tensor
    shown: Tensor


@dataclass
class EncodeState:
    """The projection's cache, and the enlarged frames [1, 3, A, H, W] that were read ahead."""

    scene: SceneStart
    cache: ConvCache = field(default_factory=lambda: ConvCache(inplace=True))
    ahead: Tensor | None = None


class Encode(Stage[DeviceChunk, EncodedChunk, EncodeState]):
    """Enlarge, pad, project."""

    def __init__(self, projection: LqProjection, scale: int) -> None:
        self._projection, self._scale = projection, scale
        weight = projection.conv1.weight
        self._device, self._dtype = weight.device, weight.dtype

    def start(self, scene: SceneStart) -> EncodeState:
        """Nothing read yet."""
        return EncodeState(scene)

    def step(self, chunk: DeviceChunk, state: EncodeState) -> tuple[EncodedChunk, EncodeState]:
        """Token features of this chunk's step, and the enlarged frames it shows."""
        assert chunk.ahead is not None
        fresh = torch.cat([chunk.frames if state.ahead is None else chunk.frames[len(chunk.ahead) :], chunk.ahead])
        large = to_video(pad_to_multiple(enlarge(fresh, self._scale), MULTIPLE))
        read = large if state.ahead is None else torch.cat([state.ahead, large], 2)
        features, cache = self._projection.step(large.to(self._dtype), state.cache)
        encoded = EncodedChunk(features, read[:, :, : len(chunk.frames)])
        return encoded, EncodeState(state.scene, cache, read[:, :, len(chunk.frames) :])

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """Cache and what was read ahead."""
        found = {f"cache.{name}": t for name, t in state.cache.tensors().items()}
        return found if state.ahead is None else found | {"ahead": state.ahead.contiguous()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        store = {n.removeprefix("cache."): t.to(self._device) for n, t in tensors.items() if n.startswith("cache.")}
        ahead = tensors["ahead"].to(self._device) if "ahead" in tensors else None
        return EncodeState(scene, ConvCache(store, inplace=True), ahead)


@dataclass
class GenerateState:
    """A scene's cache over its own sparse options, the steps done, and the next one's noise if it is drawn."""

    scene: SceneStart
    network: FlashTransformer
    cache: Rolling
    steps: int = 0
    noise: Tensor | None = None


class Generate(Stage[EncodedChunk, GeneratedChunk, GenerateState]):
    """Noise to latents in one step, led by the features."""

    def __init__(self, network: WanTransformer, options: FlashVsrOptions) -> None:
        self._network, self._options = network, options
        self._device = network.patch_embedding.weight.device
        self._conditions: Conditions | None = None

    def start(self, scene: SceneStart) -> GenerateState:
        """An empty cache; how much is attended to follows from the size."""
        height, width = (round_up(side, MULTIPLE) for side in scene.target)
        options = SparseOptions(
            ratio=released_ratio(height, width), reach=self._options.reach, pairs=self._options.pairs
        )
        network = FlashTransformer(self._network, options)
        return GenerateState(scene, network, network.allocate(height // SPATIAL, width // SPATIAL))

    def step(self, chunk: EncodedChunk, state: GenerateState) -> tuple[GeneratedChunk, GenerateState]:
        """Latents [1, 16, F, H, W]: noise minus prediction."""
        if self._conditions is None:  # one prompt, one timestep: made once
            self._conditions = self._network.conditions(TIMESTEP, self._options.context.to(self._device), pad=False)
        noise = self.noise(state) if state.noise is None else state.noise
        prediction = state.network.step(noise, chunk.features, self._conditions, state.cache)
        after = GenerateState(state.scene, state.network, state.cache, state.steps + 1)
        if self._device.type == "cuda":  # it is still at work on this step: the next one's noise costs no time now
            after.noise = self.noise(after)
        return GeneratedChunk(noise - prediction, chunk.shown), after

    def noise(self, state: GenerateState) -> Tensor:
        """Drawn on the processor from seed, scene and step, so that it is the same everywhere."""
        height, width = (round_up(side, MULTIPLE) // SPATIAL for side in state.scene.target)
        seed = (self._options.seed * 1_000_003 + state.scene.number) * 1_000_003 + state.steps
        generator = torch.Generator().manual_seed(seed % 2**63)
        frames = NEXT_LATENTS if state.steps else FIRST_LATENTS
        pinned = self._device.type == "cuda"
        noise = torch.randn(1, CHANNELS, frames, height, width, generator=generator, pin_memory=pinned)
        return noise.to(self._device, non_blocking=True)

    def save(self, state: GenerateState) -> dict[str, Tensor]:
        """The cache and the count of steps."""
        return state.cache.tensors() | {"steps": torch.tensor(state.steps)}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> GenerateState:
        """The state that `save` gave."""
        state = self.start(scene)
        state.cache.restore(tensors)
        state.steps = int(tensors["steps"])
        return state

    def cache_usage(self, state: GenerateState) -> CacheUsage:
        """Keys and values of the window."""
        return CacheUsage(state.cache.nbytes, state.cache.full)


class Decode(AutoencoderStage[GeneratedChunk, RestoredChunk]):
    """Latents to pixels with the source beside them, and the source's colors."""

    def __init__(self, decoder: ConditionalDecoder | StreamingPass, color: str, device: torch.device) -> None:
        super().__init__(device)
        self._decoder, self._color = decoder, color

    def step(self, chunk: GeneratedChunk, state: AutoencoderState) -> tuple[RestoredChunk, AutoencoderState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        video, caches = self.decode(chunk.latents, chunk.shown, state.caches)
        height, width = state.scene.target
        video, shown = video[..., :height, :width], chunk.shown[..., :height, :width]
        frames = to_frames(match_colors(video, shown, self._color, TRANSFER))
        return RestoredChunk(frames), AutoencoderState(state.scene, caches)

    def decode(self, latents: Tensor, shown: Tensor, caches: Caches) -> tuple[Tensor, Caches]:
        """Frames [1, 3, T, H, W], about -1..1."""
        if isinstance(self._decoder, StreamingPass):
            return self._decoder.step(latents, caches)
        dtype = next(self._decoder.parameters()).dtype
        cache = caches[0] if caches else ConvCache(inplace=True)
        frames, cache = self._decoder.decode_step(latents.transpose(1, 2).to(dtype), shown.to(dtype), cache)
        return frames.transpose(1, 2).float() * 2 - 1, [cache]


class FlashVsrRestorer:
    """The three stages; networks are on their device, in their type."""

    schedule = SCHEDULE

    def __init__(
        self,
        projection: LqProjection,
        network: WanTransformer,
        decoder: ConditionalDecoder | StreamingPass,
        options: FlashVsrOptions,
    ) -> None:
        self.scale = options.scale
        device = network.patch_embedding.weight.device
        self.stages: Mapping[str, AnyStage] = {
            "encode": Encode(projection, options.scale),
            "generate": Generate(network, options),
            "decode": Decode(decoder, options.color, device),
        }


@dataclass(frozen=True)
class FlashVsrModel:
    """FlashVSR's networks, loaded, and what all its uses share."""

    projection: LqProjection
    network: WanTransformer
    decoder: ConditionalDecoder | StreamingPass
    context: Tensor
    color: str
    seed: int

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> FlashVsrRestorer:
        """See `LoadedModel`."""
        options = FlashVsrOptions(scale=restore.scale, context=self.context, color=self.color, seed=self.seed)
        return FlashVsrRestorer(self.projection, self.network, self.decoder, options)


def load(request: BuildRequest) -> FlashVsrModel:
    """Load the networks; --decoder full decodes with Wan's autoencoder.  Raises ModelError."""
    projection = request.load("projection", LqProjection)
    network = request.load("transformer", WanTransformer)
    decoder: ConditionalDecoder | StreamingPass
    if request.model.decoder == "full":
        decoder = autoencoders.decoder(autoencoders.load_wan(request, tiny=False), request.tiling)
    else:
        decoder = request.load("decoder", ConditionalDecoder)
    context = load_rows(request, "prompt", network.config.text_dim).float()
    return FlashVsrModel(
        projection,
        network,
        decoder,
        context,
        request.model.color_fix,
        request.model.seed,
    )


FAMILY = Family(
    name="flashvsr",
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(2, 3, 4),
        schedule=SCHEDULE,
        options={
            "decoder": "full: Wan's autoencoder decodes in place of the conditional decoder",
            "tile": "with --decoder full, the autoencoder works in tiles of so many pixels of output",
            "compile": "parts of its networks are compiled (auto: on a GPU, layers from 5000 frames on)",
            "color_fix": "how the colors are matched to the source: adain (auto), wavelet, or none",
        },
        latent_scale=SPATIAL,
        offloads=True,
        quantizes=("fp8",),
        pace=39e6,
        tiled_decoders=("full",),
        footprints=(  # computed by full-size networks without numbers, tests/models/test_wan_memory.py
            # in fp8: 1.39 GB of weights less, and 240 bytes a pixel for inputs that are rounded
            Footprint(
                Linear(4.5e9, 12_000),
                Linear(10.5e9, 6_800),
                "full",
                offloaded=Linear(2.4e9, 12_000),
                quantized=Linear(3.15e9, 12_240),
                tiled_offloaded=Linear(8.4e9, 6_800),
            ),
            Footprint(Linear(4.2e9, 7_300), offloaded=Linear(2.1e9, 7_300), quantized=Linear(2.85e9, 7_540)),
        ),
    ),
    components={
        "transformer": Component(network=WanTransformer, files=("diffusion_pytorch_model*",)),
        "projection": Component(network=LqProjection, files=("LQ_proj_in.*",)),
        "decoder": Component(network=ConditionalDecoder, files=("TCDecoder.*",)),
        "prompt": Component(files=("posi_prompt.*",), signature="tensor"),
        "autoencoder": replace(AUTOENCODER, decoder="full"),
    },
    needs=("transformer", "projection", "decoder", "prompt"),
    load=load,
)
