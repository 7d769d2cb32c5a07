"""InfVSR (arXiv 2510.00948): causal Wan with joint visual guidance, for enlarging videos of any length.

Autoencoder: Wan's, streamed (or TAEHV to decode).  Generator: causal Wan 1.3B, which sees the chunk before.
Guidance: RAM's Swin encoder with DAPE on a reference frame, renewed where the content changes.  One step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.errors import ModelError
from vrx.models import autoencoders
from vrx.models.autoencoders import AUTOENCODER, TINY, Caches, StreamingPass, VideoAutoencoder
from vrx.models.base import AnyStage, DeviceChunk, SceneStart, Stage
from vrx.models.causal_wan import PIXEL_MULTIPLE, SCHEDULE, Decode, Generate, LatentChunk, OneStep
from vrx.models.components import Component, Components, align_weights
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.layouts import pad_to_multiple, to_video
from vrx.models.tiling import SPATIAL, Tiling
from vrx.networks.content import content_change
from vrx.networks.ram import RamConfig, VisualGuidance, merge_adapter, select_tensors
from vrx.networks.wan.transformer import WanConfig, WanTransformer
from vrx.settings import RestoreSettings

RULE = OneStep(timestep=399, shift=5.0, window=3, pad=False)
CHANGE = 27.0  # content score at which a frame becomes the reference
PATIENCE = 15  # minimum frames before a reference is replaced


@dataclass
class EncodeState:
    """The autoencoder's caches, the reference frame [3, H, W] and how many frames ago it was."""

    scene: SceneStart
    caches: Caches = field(default_factory=list)
    reference: Tensor | None = None
    age: int = 0


class Encode(Stage[DeviceChunk, LatentChunk, EncodeState]):
    """Enlarge, encode, and select a new reference at the start of a chunk."""

    def __init__(self, encoder: StreamingPass, guidance: VisualGuidance, scale: int) -> None:
        self._encoder, self._guidance, self._scale = encoder, guidance, scale
        self._device = guidance.image_proj.weight.device

    def start(self, scene: SceneStart) -> EncodeState:
        """No reference yet."""
        return EncodeState(scene)

    def step(self, chunk: DeviceChunk, state: EncodeState) -> tuple[LatentChunk, EncodeState]:
        """Latents of the enlarged frames, with guidance rows where the reference is new."""
        count = len(chunk.frames)
        reference, age = self.reference(chunk, state)
        rows = None
        if reference is not state.reference:
            rows = self._guidance(self._guidance.prepare(reference[None]).to(self._guidance.image_proj.weight.dtype))
        video = to_video(pad_to_multiple(enlarge(chunk.frames, self._scale), PIXEL_MULTIPLE))
        latents, caches = self._encoder.step(video, state.caches)
        return LatentChunk(latents, chunk, rows), replace(state, caches=caches, reference=reference, age=age + count)

    def reference(self, chunk: DeviceChunk, state: EncodeState) -> tuple[Tensor, int]:
        """The frame that leads this chunk, and its age at the chunk's start.

        A scene's first; a frame that scene detection marks; or the chunk's first frame, once the old
        one is some time old and looks different.
        """
        first = chunk.frames[0]
        if state.reference is None:
            return first, 0
        marked = max(chunk.refresh, default=None)
        if marked is not None:
            return chunk.frames[marked], -marked
        if state.age >= PATIENCE and content_change(state.reference, first) >= CHANGE:
            return first, 0
        return state.reference, state.age

    def save(self, state: EncodeState) -> dict[str, Tensor]:
        """Caches and reference."""
        found = {f"autoencoder.{name}": t for name, t in autoencoders.pack_caches(state.caches).items()}
        if state.reference is not None:
            found |= {"reference": state.reference.contiguous(), "age": torch.tensor(state.age)}
        return found

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> EncodeState:
        """The state that `save` gave."""
        parts = {n.removeprefix("autoencoder."): t for n, t in tensors.items() if n.startswith("autoencoder.")}
        state = EncodeState(scene, autoencoders.unpack_caches(parts, self._device))
        if "reference" in tensors:
            state.reference, state.age = tensors["reference"].to(self._device), int(tensors["age"])
        return state


def enlarge(frames: Tensor, scale: int) -> Tensor:
    """[T, 3, H, W] by a factor, as the release does it."""
    return F.interpolate(frames, scale_factor=scale, mode="bicubic", antialias=True)


class InfVsrRestorer:
    """The three stages; networks are on their device, in their type."""

    schedule = SCHEDULE

    def __init__(
        self,
        autoencoder: VideoAutoencoder,
        network: WanTransformer,
        guidance: VisualGuidance,
        scale: int,
        tiling: Tiling,
    ) -> None:
        self.scale = scale
        device = network.patch_embedding.weight.device
        self.stages: Mapping[str, AnyStage] = {
            "encode": Encode(autoencoders.encoder(autoencoder, tiling), guidance, scale),
            "generate": Generate(network, RULE, lambda scene: scene.target),
            "decode": Decode(autoencoders.decoder(autoencoder, tiling), device),
        }


@dataclass(frozen=True)
class InfVsrModel:
    """InfVSR's networks, loaded."""

    autoencoder: VideoAutoencoder
    network: WanTransformer
    guidance: VisualGuidance
    tiling: Tiling

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> InfVsrRestorer:
        """See `LoadedModel`."""
        return InfVsrRestorer(self.autoencoder, self.network, self.guidance, restore.scale, self.tiling)


def load(request: BuildRequest) -> InfVsrModel:
    """Load the networks; --decoder tiny decodes with TAEHV.  Raises ModelError."""
    autoencoder = autoencoders.load_wan(request, tiny=request.model.decoder == "tiny")
    guidance = align_weights(load_guidance(request.components).to(request.device))
    return InfVsrModel(autoencoder, request.load("transformer", WanTransformer), guidance, request.tiling)


def load_guidance(components: Components) -> VisualGuidance:
    """RAM's encoder, float32, with DAPE merged in where there is one.  Raises ModelError."""
    tensors = select_tensors(components.tensors("guidance"))
    if components.has("adapter"):
        try:
            tensors = merge_adapter(tensors, components.tensors("adapter"))
        except KeyError as error:
            raise ModelError(f"{components.where('adapter')} does not fit the guidance: no {error}") from error
    return components.fill("guidance", VisualGuidance, tensors)


FAMILY = Family(
    name="infvsr",
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(2, 3, 4),
        schedule=SCHEDULE,
        options={
            "decoder": "tiny: TAEHV decodes in place of Wan's autoencoder, faster, with less detail",
            "tile": "the autoencoder works in tiles of so many pixels of output",
            "compile": "parts of its networks are compiled (auto: on a GPU, layers from 5000 frames on)",
        },
        latent_scale=SPATIAL,
        offloads=True,
        quantizes=("fp8",),
        pace=25e6,
        footprints=(  # computed by full-size networks without numbers, tests/models/test_wan_memory.py
            # in fp8: 1.39 GB of weights less, and 110 bytes a pixel for inputs that are rounded
            Footprint(
                Linear(4.2e9, 7_200),
                Linear(8.8e9, 4_000),
                "tiny",
                offloaded=Linear(2.1e9, 7_200),
                quantized=Linear(2.85e9, 7_310),
                tiled_offloaded=Linear(6.7e9, 4_000),
            ),
            Footprint(
                Linear(4.4e9, 12_000),
                Linear(13.7e9, 4_000),
                offloaded=Linear(2.3e9, 12_000),
                quantized=Linear(3.05e9, 12_110),
                tiled_offloaded=Linear(11.6e9, 4_000),
            ),
        ),
    ),
    components={
        "transformer": Component(
            network=WanTransformer,
            published=WanConfig(text_dim=RamConfig().out_dim),
            files=("InfVSR.*", "transformer.*"),
        ),
        "autoencoder": AUTOENCODER,
        "tiny": TINY,
        "adapter": Component(files=("DAPE.*",), signature="*.lora_A"),
        "guidance": Component(network=VisualGuidance, files=("ram_swin_large_14m.*",), check=load_guidance),
    },
    needs=("transformer", "autoencoder", "guidance"),
    load=load,
)
