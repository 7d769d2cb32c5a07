"""From a catalogue entry, or a checkpoint's path, to a restorer: one table of families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vrx.errors import ModelError, UsageError
from vrx.files import path_exists
from vrx.models import autoencoders, causal_wan, flashvsr, prompts
from vrx.models.base import ChunkSchedule, Restorer
from vrx.models.components import Network, Parts, by_role, in_folder
from vrx.models.embedded import SCHEDULE, EmbeddedOptions, EmbeddedRestorer, load_parts
from vrx.models.flashvsr import FlashVsrOptions, FlashVsrRestorer
from vrx.models.infvsr import InfVsrRestorer
from vrx.models.instantvir import InstantVirOptions, InstantVirRestorer
from vrx.networks.wan.autoencoder import WanAutoencoder, fuse
from vrx.networks.wan.transformer import WanTransformer
from vrx.settings import Environment, ModelSettings, RestoreSettings, Task
from vrx.weights import checkpoint, hashes
from vrx.weights.catalogue import Entry
from vrx.weights.download import Downloader

ALL_TASKS = tuple(str(task) for task in Task)
ALIGNMENT = 64  # bytes: where matrices begin decides how fast, and in which order, they are summed
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by a kernel's dimensions
TEXT_WIDTH = 4096  # of guidance rows that UMT5 makes; InfVSR's are narrower


@dataclass(frozen=True)
class Request:
    """What a restorer is built for: tensors, wishes, and where it is to run.

    `context` stands in for the prompt's rows where there is no text encoder to make them; `untiled` and `free`
    are what `autoencoders.Tiling` knows of the device's memory.
    """

    parts: Parts
    restore: RestoreSettings
    model: ModelSettings
    device: torch.device
    dtype: torch.dtype
    context: Tensor | None = None
    untiled: int | None = None
    free: Callable[[], int | None] | None = None

    @property
    def tiling(self) -> autoencoders.Tiling:
        """When autoencoders work in tiles."""
        return autoencoders.Tiling(self.model.tile, self.untiled, self.free)

    def placed(self, network: Network) -> Network:
        """A network on the device; Wan's transformer keeps in float32 what the release keeps there.

        Kernels of convolutions are stored channels last, and what they compute follows them: faster
        everywhere, and [B, C, T, H, W] as a batch of pictures is then a view.
        """
        if isinstance(network, WanTransformer):
            network.narrow(self.dtype)
            network.to(self.device)
        else:
            network.to(self.device, self.dtype)
            for parameter in network.parameters():
                if parameter.ndim in CHANNELS_LAST:
                    parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.ndim])
        if isinstance(network, WanAutoencoder) and self.device.type == "cuda" and Environment.read().compile:
            fuse(network)
        return aligned(network)


def aligned(network: Network) -> Network:
    """The network with every weight where a matrix may begin; those mapped from a file begin anywhere."""
    for parameter in network.parameters():
        if parameter.data_ptr() % ALIGNMENT:
            parameter.data = parameter.data.clone()
    return network


@dataclass(frozen=True)
class Family:
    """A published system: how it is built, what it can do, and which of the model options it heeds."""

    build: Callable[[Request], Restorer]
    schedule: ChunkSchedule
    tasks: tuple[str, ...]
    scales: tuple[int, ...]
    takes_prompt: bool = False
    options: tuple[str, ...] = ()


def build_infvsr(request: Request) -> Restorer:
    """InfVSR from its parts; --decoder tiny decodes with TAEHV."""
    parts = request.parts
    tiny = request.placed(parts.tiny()) if request.model.decoder == "tiny" else None
    autoencoder = autoencoders.WanVideoAutoencoder(request.placed(parts.autoencoder()), tiny)
    guidance = aligned(parts.guidance().to(request.device))
    network = request.placed(parts.transformer())
    return InfVsrRestorer(autoencoder, network, guidance, request.restore.scale, request.tiling)


def build_instantvir(request: Request) -> Restorer:
    """InstantViR from its parts, on LeanVAE where that is the autoencoder there is."""
    parts, tiny = request.parts, request.model.decoder == "tiny"
    autoencoder: autoencoders.VideoAutoencoder
    if parts.has("lean") and not parts.has("autoencoder"):
        if tiny:
            raise UsageError("LeanVAE's latents have no tiny decoder", "Leave --decoder out")
        autoencoder = autoencoders.LeanVideoAutoencoder(request.placed(parts.lean()))
    else:
        small = request.placed(parts.tiny()) if tiny else None
        autoencoder = autoencoders.WanVideoAutoencoder(request.placed(parts.autoencoder()), small)
    context = request.context
    if context is None:
        folder = Environment.read().cache / "prompts"
        context = prompts.rows(parts, request.model.prompt or "", request.device, folder)
    network = request.placed(parts.transformer())
    options = InstantVirOptions(str(request.restore.task), context.to(request.device))
    return InstantVirRestorer(autoencoder, network, options, request.tiling)


def build_flashvsr(request: Request) -> Restorer:
    """FlashVSR from its parts; --decoder full decodes with Wan's autoencoder."""
    parts = request.parts
    projection = request.placed(parts.projection())
    network = request.placed(parts.transformer())
    decoder = (
        autoencoders.decoder(autoencoders.WanVideoAutoencoder(request.placed(parts.autoencoder())), request.tiling)
        if request.model.decoder == "full"
        else request.placed(parts.decoder())
    )
    context = next(iter(parts.tensors("prompt").values())).float()
    options = FlashVsrOptions(
        scale=request.restore.scale,
        context=context if context.ndim == 3 else context[None],
        color=request.model.color_fix,
        seed=request.model.seed,
    )
    return FlashVsrRestorer(projection, network, decoder, options)


def build_embedded(request: Request) -> Restorer:
    """The embedded system from its checkpoint."""
    restore = request.restore
    options = EmbeddedOptions(
        task=str(restore.task), scale=restore.scale, sigma=restore.sigma, strength=restore.strength
    )
    return EmbeddedRestorer(options, load_parts(request.parts.where("embedded")), request.device, request.dtype)


FAMILIES: dict[str, Family] = {
    "embedded": Family(build_embedded, SCHEDULE, ALL_TASKS, (2, 3, 4)),
    "infvsr": Family(build_infvsr, causal_wan.SCHEDULE, ("upscale",), (2, 3, 4), options=("decoder", "tile")),
    "instantvir": Family(build_instantvir, causal_wan.SCHEDULE, ALL_TASKS, (4,), True, ("decoder", "tile")),
    "flashvsr": Family(
        build_flashvsr, flashvsr.SCHEDULE, ("upscale",), (2, 3, 4), options=("decoder", "tile", "color_fix")
    ),
}


def given(path: Path) -> Entry:
    """What a checkpoint given by its path is: a file, or a folder of parts.  Raises ModelError."""
    if not path_exists(path):
        raise ModelError(f"cannot read the checkpoint {path}: no such file")
    family = family_of(path)
    if family not in FAMILIES:
        raise ModelError(f"this version of vrx cannot run the family {family} of {path}")
    rules = FAMILIES[family]
    return Entry(
        name=path.stem,
        family=family,
        tasks=rules.tasks,
        scales=rules.scales,
        license="unknown",
        paper="",
        about=f"checkpoint {path}",
        takes_prompt=rules.takes_prompt,
        parameters=None,
        memory=None,
        source="given by its path",
        available=True,
        parts=(),
        local=path,
    )


def family_of(path: Path) -> str:
    """By its metadata, the files of a folder, or the names and shapes of its tensors.  Raises ModelError."""
    if path.is_dir():
        parts = in_folder(path)
        if not parts.has("transformer"):
            raise ModelError(f"the folder {path} holds no transformer", "See the parts with: vrx models show NAME")
        return "flashvsr" if parts.has("projection") else "infvsr" if parts.has("guidance") else "instantvir"
    if path.suffix == hashes.SAFE:
        stated = checkpoint.read_metadata(path).get("family")
        if stated:
            return stated
        shapes = checkpoint.read_shapes(path)
    else:
        shapes = {name: tuple(t.shape) for name, t in checkpoint.load_tensors(path)[0].items()}
    if "patch_embedding.weight" not in shapes or "text_embedding.0.weight" not in shapes:
        raise ModelError(f"{path} is no checkpoint of a family that vrx knows")
    return "instantvir" if shapes["text_embedding.0.weight"][1] == TEXT_WIDTH else "infvsr"


def parts_of(entry: Entry, model: ModelSettings, kin: dict[str, Entry], downloader: Downloader) -> Parts:
    """The files of an entry; a lone transformer borrows the rest from the catalogue (`kin`).  Raises ModelError."""
    roles = {"tiny"} if model.decoder == "tiny" else {"autoencoder"} if model.decoder == "full" else set()
    path = entry.local
    if path is None:
        files = downloader.provide(entry, roles)
        return Parts(files, None, {p.role: p.sizes for p in entry.parts if p.sizes})
    if path.is_dir():
        return in_folder(path)
    if entry.family == "embedded":
        return Parts({"embedded": path})
    notes = checkpoint.read_metadata(path) if path.suffix == hashes.SAFE else {}
    if "family" in notes:
        return Parts({}, path, by_role(checkpoint.parse_config(path, notes)))
    relative = next((e for e in kin.values() if e.family == entry.family and e.local is None), None)
    if relative is None:
        raise ModelError(f"{path} is a transformer alone", "Give a folder that holds its autoencoder and guidance too")
    rest = replace(relative, parts=tuple(p for p in relative.parts if p.role != "transformer"))
    files = downloader.provide(rest, roles)
    return Parts({**files, "transformer": path}, None, {p.role: p.sizes for p in rest.parts if p.sizes})


def build(entry: Entry, request: Request) -> Restorer:
    """The restorer of an entry.  Raises ModelError where files are missing, damaged or of another family."""
    if request.dtype is torch.float32:
        torch.backends.cudnn.allow_tf32 = False  # convolutions would round to 10 bits: float32 was asked for
    return FAMILIES[entry.family].build(request)
