"""A family of models: its capabilities as data, and how it is loaded.

A family is the code of one published system; entries of the catalogue are checkpoints of a family.
Start at `Family`: everything else of vrx asks its values, and knows no family by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from vrx.environment import Environment, keep_compiled
from vrx.errors import ModelError, choice_of
from vrx.models.base import ChunkSchedule, Restorer
from vrx.models.components import TRANSFORMER, Component, Components, Network, align_weights
from vrx.models.footprint import Footprint
from vrx.models.offload import offload
from vrx.models.tiling import Tiling
from vrx.networks.quantized import WeightFormat
from vrx.networks.wan.transformer import WanConfig
from vrx.settings import Compile, ModelSettings, RestoreSettings
from vrx.weights.catalogue import Entry

CHECKED = ("cpu", "cuda")  # devices on which values are looked at; in float16 finite ones may have become infinite
COMPILED_FROM = 5000  # frames from which on compiling layers pays: 8 s, for at most 13 ms of 200 (flashvsr, H100)


class Extent(Enum):
    """What of a network is compiled: nothing, chains of elementwise operations (seconds), or whole layers as well."""

    NOTHING = "no"
    CHAINS = "chains of elementwise operations"
    LAYERS = "chains of elementwise operations, and layers"


def compiled_extent(wanted: Compile, device: torch.device, frames: int | None) -> Extent:
    """What --compile means on a device for so many frames (None: unknown): auto compiles on a GPU, as much as pays."""
    if wanted == "off" or (wanted == "auto" and device.type != "cuda"):
        return Extent.NOTHING
    return Extent.LAYERS if wanted == "on" or (frames or 0) >= COMPILED_FROM else Extent.CHAINS


def compiler_cache() -> Path | None:
    """The folder that the compiler keeps its work in, from run to run; None for one of the system's."""
    return keep_compiled(Environment.read().cache / "compiled")


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a family does, for the command line, the plan, `--model auto` and resuming.

    `scales` are those of upscaling.  `options`: the settings of a model (fields of `ModelSettings`) that it
    heeds, each with what its values mean here; any other is refused, with the reason that `refusals` has for some.
    `remarks`: what else a user should know.  `resumes_in_scene`: its state in the
    middle of a scene is small enough to save now and then.  `needs_gpu`: a processor takes minutes for a second
    of video.  `latent_scale`: pixels a side of a latent, 1 for none.  `native_scale`: the only one that its network
    enlarges by, its frames being resized to others; None where there are several.  `steps`: the numbers of denoising
    steps that it was trained for.  `footprints`: GPU memory, the first that applies.  `tiled_decoders`: with which
    --decoder it can work in tiles.  `offloads`: its weights can wait on the host (`BuildRequest.offload`).
    `quantizes`: the formats in which most of them can be in 8 bits (`BuildRequest.quantized`).  `int8_tasks`: those
    whose networks multiply in 8 bits on processors, for speed.  `quantizer_tasks`: those that go by what decoders tell
    of quantizers (`DeviceChunk.quantizers`).  `pace`: pixels of output a second on the fastest GPU
    that was measured; None where it was not.
    """

    tasks: tuple[str, ...]
    scales: tuple[int, ...]
    schedule: ChunkSchedule
    options: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    takes_prompt: bool = False
    resumes_in_scene: bool = False
    needs_gpu: bool = True
    latent_scale: int = 1
    native_scale: int | None = None
    steps: tuple[int, ...] = (1,)
    footprints: tuple[Footprint, ...] = ()
    tiled_decoders: tuple[str, ...] = ("auto", "full", "tiny")
    offloads: bool = False
    quantizes: tuple[WeightFormat, ...] = ()
    int8_tasks: tuple[str, ...] = ()
    quantizer_tasks: tuple[str, ...] = ()
    pace: float | None = None

    @property
    def all_options(self) -> Mapping[str, str]:
        """The options it heeds, and what it does with one that all models have."""
        meaning = f"{choice_of(self.quantizes)}: weights in 8 bits, half the memory" if self.quantizes else ""
        if self.int8_tasks:
            tasks = "s or ".join(self.int8_tasks)
            meaning = f"int8: products in 8 bits when it {tasks}s; auto: so on processors that are faster by it"
        return {**self.options, "dtype": meaning} if meaning else self.options


@dataclass(frozen=True)
class BuildRequest:
    """What a model is loaded for: its files, the settings of its use, and where it is to run.

    `context` stands in for the prompt's rows where there is no text encoder to make them; `untiled` and `free`
    are what `Tiling` knows of the device's memory.  `host_pixels` of output fit all the memory that a processor has in
    one piece; None on other devices, and where that is not known.  `offload`: layers that can wait on the host do so.
    `frames`: how many are restored; None where that is not known.  `quantized`: weights that can be in 8 bits are, in
    this format.
    """

    components: Components
    model: ModelSettings
    device: torch.device
    dtype: torch.dtype
    context: Tensor | None = None
    untiled: int | None = None
    free: Callable[[], int | None] | None = None
    offload: bool = False
    frames: int | None = None
    quantized: WeightFormat | None = None
    host_pixels: int | None = None

    @property
    def tiling(self) -> Tiling:
        """When autoencoders work in tiles."""
        return Tiling(self.model.tile, self.untiled, self.free)

    def load(self, role: str, kind: type[Network]) -> Network:
        """A component's network, placed.  Raises ModelError.

        Values are looked at once they are placed, so that a file is read once, however large it is: a float32 one may
        be twice as large as all memory.
        """
        if self.dtype is torch.float16 or self.device.type not in CHECKED:
            return self.place(self.components.load(role, kind))
        network = self.place(self.components.wrap(role, kind, self.components.tensors(role)))
        self.components.check_values(role, network)
        return network

    def place(self, network: Network) -> Network:
        """A network on the device, in the type and the layout it runs in."""
        if self.quantized is not None:
            network.quantize(self.quantized, torch.device("cpu") if self.offload else self.device)
        layers = network.waiting_layers() if self.offload else []
        if layers:
            network.place(torch.device("cpu"), self.dtype)
            offload(align_weights(network), layers, self.device)
            return network
        network.place(self.device, self.dtype)
        extent = compiled_extent(self.model.compile, self.device, self.frames)
        if extent is not Extent.NOTHING:
            compiler_cache()
            network.fuse()
        if extent is Extent.LAYERS:
            network.compile_layers()
        return align_weights(network)


class LoadedModel(Protocol):
    """A model's networks on their device, loaded once and used for several tasks and scales."""

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> Restorer:
        """The model set up for one task and scale, under a prompt where it takes one.

        Cheap: it shares the networks.  Everything that depends on a video is in the states of its stages, so
        several restorers of one model may be in use by turns.
        """


@dataclass(frozen=True, kw_only=True)
class Family:
    """A published system: what it does, the components it has, and how it is loaded.

    `components`: by role, every file a checkpoint of the family may have.  `needs`: roles it cannot run
    without; of roles joined by `|` one is enough.  `extra`: the extra of vrx whose `packages` it cannot run
    without.  `load`: raises ModelError where files are missing, damaged or of another family.
    """

    name: str
    capabilities: Capabilities
    components: Mapping[str, Component]
    needs: tuple[str, ...]
    extra: str = ""
    packages: tuple[str, ...] = ()
    load: Callable[[BuildRequest], LoadedModel]

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """Those of its packages that are not here."""
        return tuple(package for package in self.packages if find_spec(package) is None)

    def require_extra(self) -> None:
        """Raises ModelError where one of its packages is not here."""
        missing = self.missing_packages
        if missing:
            listed = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
            what = f"package{'s' * (len(missing) > 1)} {listed}"
            raise ModelError(
                f"the model family {self.name} needs the {what}", f'Install with: pip install "vrx[{self.extra}]"'
            )

    def footprint(self, entry: Entry, decoder: str = "auto", tile: str = "auto") -> Footprint | None:
        """Memory of an entry of the family with a decoder (`auto`, `tiny`, `full`); None where not measured.

        Without that of tiles where `tile`, as --tile has it, rules them out.
        """
        roles = frozenset(part.role for part in entry.parts)
        footprints = self.capabilities.footprints
        found = next((found for found in footprints if found.applies(decoder, roles, entry.parameters)), None)
        return replace(found, tiled=None) if found is not None and tile == "off" else found

    def optional_roles(self, model: ModelSettings) -> set[str]:
        """Roles of the optional files that these settings require."""
        prompted = model.prompt is not None
        return {
            role
            for role, component in self.components.items()
            if component.decoder == model.decoder or (component.prompted and prompted)
        }

    @property
    def latent_channels(self) -> int | None:
        """Channels of the latents that its transformer takes; None where it has no such transformer."""
        transformer = self.components.get(TRANSFORMER)
        config = transformer.config if transformer else None
        return config.in_dim if isinstance(config, WanConfig) else None

    @property
    def context_width(self) -> int | None:
        """Width of the guidance rows that its transformer takes; None where it has no such transformer."""
        transformer = self.components.get(TRANSFORMER)
        config = transformer.config if transformer else None
        return config.text_dim if isinstance(config, WanConfig) else None
