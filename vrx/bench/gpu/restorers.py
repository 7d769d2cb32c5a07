"""The restorers that are checked: the published sizes with random weights, and the tests' small checkpoints."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from vrx.bench.gpu.context import Context
from vrx.bench.random_weights import RandomComponents, random_context
from vrx.models.base import Restorer
from vrx.models.embedded.checkpoint import load_networks
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.family import BuildRequest
from vrx.models.loader import entry_from_path, find_components, load_model
from vrx.models.registry import FAMILIES
from vrx.networks.quantized import LAYERS, WeightFormat
from vrx.pipeline.ways import Way
from vrx.settings import Compile, Decoder, ModelSettings, RestoreSettings, Task, check_choice
from vrx.weights import catalogue
from vrx.weights.catalogue import Entry
from vrx.weights.download import Downloader
from vrx.weights.hashes import packaged_path

TOY_SIZE = (128, 128)  # width and height
DIFFUSERS_TOY: dict[str, Any] = {
    "block_out_channels": (8, 16, 16, 24),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
TRANSFORMER_TOY: dict[str, Any] = {"dim": 48, "ffn_dim": 64, "num_heads": 2, "freq_dim": 32}
SATB_TOY: dict[str, Any] = {"num_attention_heads": 3, "attention_head_dim": 16, "time_embed_dim": 16}
TOYS: dict[str, dict[str, Any]] = {
    "transformer": {**TRANSFORMER_TOY, "num_layers": 2},
    "autoencoder": {"dim": 4},
    "projection": {"hidden1": 6, "hidden2": 8, "out_dim": 48},
    "decoder": {"channels": (8, 8, 6, 6)},
    "tiny": {"encoder_width": 4, "decoder_widths": (8, 8, 4, 4)},
    "lean": {"l_dim": 6, "h_dim": 10, "embedding_dim": 16, "sep_num_layer": 1, "fusion_num_layer": 1},
    "key_frame_transformer": {**TRANSFORMER_TOY, "num_layers": 2, "lq_dims": (6, 8)},
    "small_transformer": {"dim": 64, "depth": 2, "num_heads": 1, "num_kv_groups": 1, "ffn_dim": 64},
    "recycled_transformer": {**TRANSFORMER_TOY, "lq_dims": (6, 8)},
    "flashdecoder": {"dim": 64, "depth": 1, "refinement_depth": 1, "num_heads": 1, "num_kv_groups": 1, "ffn_dim": 64},
    "conditional_autoencoder": {"encoder_width": 4, "decoder_widths": (12, 8, 8, 6), "luma_width": 2},
    "reae": {"encoder_width": 6, "decoder_widths": (12, 8, 8, 6)},
    "instavsr": {"widths": (48, 96), "layers": 1, "decoder_widths": (4, 8, 8, 8), "decoder_layers": 1},
    "unet": DIFFUSERS_TOY,
    "controlnet": {**DIFFUSERS_TOY, "conditioning_embedding_out_channels": (4, 8, 12)},
    "temporal_autoencoder": {"channels": 8},
    "flow": {},
    "base": {**SATB_TOY, "num_layers": 3},
    "control_branch": {**SATB_TOY, "num_layers": 2},
    "cogvideox_autoencoder": {"block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
    "connectors": {"count": 3, "width": 48, "inner": 8},
    "control_patch_embed": {"width": 48, "time": 16},
    "guidance": {"image_size": 48, "embed_dim": 8, "depths": (2, 2), "num_heads": (2, 4), "window_size": 6},
}
EMBEDDED = "embedded.safetensors"


@dataclass(frozen=True)
class Spec:
    """`MODEL:WIDTHxHEIGHT:DECODER:TILE[:FLAG...]`: a model of the catalogue, its output's size, and how it works."""

    text: str
    entry: Entry
    width: int
    height: int
    decoder: Decoder
    tile: str
    flags: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, tiny: bool) -> Spec:
        """From a part's argument; toy sizes where `tiny`."""
        name, size, decoder, tile, *flags = text.split(":")
        width, height = TOY_SIZE if tiny else (int(side) for side in size.split("x"))
        check_choice("the decoder", decoder, Decoder)
        entry = catalogue.load_all(FAMILIES)[name]
        return cls(text, entry, width, height, cast(Decoder, decoder), tile, tuple(flags))

    @property
    def task(self) -> Task:
        """The first that the model can do."""
        return Task(self.entry.tasks[0])

    @property
    def steps(self) -> int | None:
        """Denoising steps, by a flag such as `steps=1`."""
        return next((int(flag.removeprefix("steps=")) for flag in self.flags if flag.startswith("steps=")), None)

    @property
    def masked(self) -> bool:
        """Whether its frames come with masks."""
        return self.task is Task.INPAINT

    @property
    def quantized(self) -> WeightFormat | None:
        """The format of weights in 8 bits, by a flag of its name."""
        return next((kind for kind in LAYERS if kind in self.flags), None)

    @property
    def compile(self) -> Compile:
        """All that can be; nothing by the flag `plain`, chains of elementwise operations alone by `chains`."""
        return "off" if "plain" in self.flags else "auto" if "chains" in self.flags else "on"

    def estimate(self) -> float | None:
        """Gigabytes that the footprints expect in one piece, their spare tenth included."""
        found = FAMILIES[self.entry.family].footprint(self.entry, self.decoder)
        return None if found is None else round(found.whole.at(self.width * self.height) / 1e9, 2)


@dataclass(frozen=True, kw_only=True)
class ToyComponents(RandomComponents):
    """Random weights at toy sizes."""

    def config(self, role: str) -> Any:
        """The published layout, far smaller."""
        return replace(super().config(role), **TOYS[role])


def restorer_of(spec: Spec, context: Context, way: Way | None = None) -> Restorer:
    """A large restorer with random weights, where it runs, to work in a way."""
    mask = Path("none") if spec.masked else None  # asked for, never read
    way = way or Way()
    compiles = spec.compile if context.cuda else "off"  # toys gain nothing
    wishes = way.settings(ModelSettings(decoder=spec.decoder, tile=spec.tile, steps=spec.steps, compile=compiles))
    restore = RestoreSettings(task=spec.task, scale=4 if spec.task is Task.UPSCALE else 1, mask=mask)
    family = FAMILIES[spec.entry.family]
    kind = ToyComponents if context.tiny else RandomComponents
    components = kind.of(spec.entry, family, context.device, context.dtype)
    request = BuildRequest(
        components,
        wishes,
        context.device,
        context.dtype,
        random_context(family),
        offload=way.offload,
        quantized=spec.quantized,
    )
    return load_model(spec.entry, request).restorer(restore)


def embedded(task: str, scale: int, device: torch.device, dtype: torch.dtype) -> Restorer:
    """The embedded model as it ships."""
    options = EmbeddedOptions(task=task, scale=scale, sigma=2.0 if task == "deblur" else None)
    return EmbeddedRestorer(options, load_networks(packaged_path(EMBEDDED)), device, dtype)


@dataclass(frozen=True)
class Fixture:
    """A small checkpoint on disk and how it is built; `tile` in pixels where its autoencoder works in tiles."""

    name: str
    path: Path
    task: Task = Task.UPSCALE
    decoder: Decoder = "auto"
    tile: str = "auto"

    def build(self, device: torch.device, dtype: torch.dtype) -> Restorer:
        """Its restorer."""
        entry, wishes = entry_from_path(self.path), ModelSettings(decoder=self.decoder)
        object.__setattr__(wishes, "tile", self.tile)  # as small as its pictures: less than users may ask for
        mask = Path("none") if self.task is Task.INPAINT else None
        restore = RestoreSettings(task=self.task, scale=4 if self.task is Task.UPSCALE else 1, mask=mask)
        downloader = Downloader(models=Path("none"), offline=True, notify=lambda _: None)
        components = find_components(entry, wishes, {}, downloader)
        return load_model(entry, BuildRequest(components, wishes, device, dtype)).restorer(restore)


def fixtures(folder: Path) -> Iterator[Fixture]:
    """Every family and codec at a small size, written into a folder.  Needs the tests: a checkout, not a package."""
    makers = importlib.import_module("tests.models.small")

    def made(name: str, make: Callable[..., Path], **options: object) -> Path:
        (folder / name).mkdir()
        return make(folder / name, **options)

    infvsr = made("infvsr", makers.infvsr)
    yield Fixture("infvsr", infvsr)
    yield Fixture("infvsr tiny", infvsr, decoder="tiny")
    yield Fixture("infvsr tiled", infvsr, tile="64")
    instantvir = made("instantvir", makers.instantvir)
    yield Fixture("instantvir", instantvir)
    yield Fixture("instantvir inpaint", instantvir, Task.INPAINT)
    yield Fixture("lean", made("lean", makers.instantvir, lean=True), Task.DEBLUR)
    flashvsr = made("flashvsr", makers.flashvsr)
    yield Fixture("flashvsr", flashvsr)
    yield Fixture("flashvsr full", flashvsr, decoder="full")
