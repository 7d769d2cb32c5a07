"""SATB-VR (arXiv 2606.28677): CogVideoX 1.5 5B as predictor and as denoiser with control, in one to ten steps.

One transformer is in memory, with an adapter for each role.  The input is enlarged first; the networks restore at
that size.  Layers and autoencoder are diffusers', adapters peft's; the rest is in `vrx/networks/satbvr`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from vrx.environment import Environment
from vrx.errors import ModelError
from vrx.models.components import SENTENCEPIECE, TOKENIZER, Component, Components
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.prompts import load_rows
from vrx.models.satbvr.memory import FOOTPRINT, WHOLE, Memory
from vrx.models.satbvr.stage import SCHEDULE, Options, SatbVrRestorer
from vrx.models.satbvr.text import T5, encode_prompt, load_encoder
from vrx.networks.satbvr.adapters import SETTINGS, add_adapter, read_settings
from vrx.networks.satbvr.autoencoder import SPATIAL, CogVideoAutoencoder
from vrx.networks.satbvr.backbone import Transformer
from vrx.networks.satbvr.control import CONTROL_ADAPTER, Connectors, ControlNet, ControlPatchEmbed
from vrx.networks.satbvr.sampler import GUIDANCE, Prompts, Sampler
from vrx.networks.satbvr.solver import MOST_STEPS, Schedule
from vrx.networks.satbvr.transformer import Denoiser
from vrx.networks.umt5 import Umt5Encoder
from vrx.settings import RestoreSettings
from vrx.weights import checkpoint

NAME = "satb-vr"
STEPS = 5  # the authors' default
ADAPTERS = {"predictor": "lora_predictor", "denoiser": "lora_transformer"}  # roles of the transformer to those of files
LORA_CONTROL = "lora_controlnet"  # where there is one
SCHEDULER = "scheduler"


@dataclass(frozen=True)
class SatbVrModel:
    """SATB-VR's networks, loaded; `encode` turns a prompt into rows [1, L, D]."""

    autoencoder: CogVideoAutoencoder
    sampler: Sampler
    options: Options
    memory: Memory
    encode: Callable[[str], Tensor]

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> SatbVrRestorer:
        """See `LoadedModel`; without a prompt the published rows are used.  Raises ModelError."""
        sampler = self.sampler
        if prompt is not None:
            sampler = replace(sampler, prompts=replace(sampler.prompts, positive=self.encode(prompt)))
        options = replace(self.options, scale=restore.scale)
        return SatbVrRestorer(self.autoencoder, sampler, options, self.memory)


def load(request: BuildRequest) -> SatbVrModel:
    """Load the networks, the weights of their layers onto the host where the GPU is too small.  Raises ModelError."""
    before = request.free() if request.free else None
    model, random = request.model, request.context is not None
    denoiser = load_denoiser(request.components)
    control = load_control(request.components, denoiser)
    if not random:  # a benchmark's weights have no adapters: the published rank is not known
        add_adapters(request.components, denoiser, control)
    memory = Memory(denoiser, control, request.device, before, request.host_pixels, request.free)
    small = request.offload or (before is not None and not WHOLE.within(before))
    place = replace(request, device=torch.device("cpu")).place if small else request.place
    for network in (denoiser, control):
        place(network)
    if small:
        memory.offload_weights()
    sampler = Sampler(
        denoiser=denoiser,
        control=control,
        prompts=load_prompts(request, denoiser.config.text_embed_dim),
        schedule=load_schedule(request.components) if not random else Schedule(),
        steps=model.steps or STEPS,
        guidance=GUIDANCE if model.guidance is None else model.guidance,
    )
    options = Options(scale=1, seed=model.seed, tile=model.tile, color=model.color_fix)
    autoencoder = request.load("cogvideox_autoencoder", CogVideoAutoencoder)
    encode = cache(partial(encode_rows, request))
    if model.prompt is not None:
        encode(model.prompt)
    return SatbVrModel(autoencoder, sampler, options, memory, encode)


def encode_rows(request: BuildRequest, prompt: str) -> Tensor:
    """A prompt's rows in the networks' type; the text encoder runs once for each prompt.  Raises ModelError."""
    if request.context is not None:
        return request.context.to(request.device, request.dtype)
    rows = encode_prompt(request.components, prompt, request.device, Environment.read().cache / "prompts")
    return rows.to(request.dtype)


def load_denoiser(components: Components) -> Denoiser:
    """The base with what the denoiser adds.  Raises ModelError where they do not fit each other."""
    base = components.load("base", Transformer)
    connectors = components.load("connectors", Connectors)
    patch = components.load("control_patch_embed", ControlPatchEmbed)
    try:
        return Denoiser(base, connectors, patch).eval()
    except ValueError as error:
        raise ModelError(f"{components.where('connectors')} does not fit the transformer: {error}") from error


def load_control(components: Components, denoiser: Denoiser) -> ControlNet:
    """The ControlNet of a denoiser.  Raises ModelError where it is another one's."""
    control = components.load("control_branch", ControlNet)
    for what in ("width", "text_embed_dim"):
        own, other = getattr(control.config, what), getattr(denoiser.config, what)
        if own != other:
            raise ModelError(
                f"{components.where('control_branch')} does not fit the transformer: {what} {own}, not {other}"
            )
    return control


def add_adapters(components: Components, denoiser: Denoiser, control: ControlNet) -> None:
    """Put the published adapters on the networks.  Raises ModelError."""
    for name, role in ADAPTERS.items():
        load_adapter(components, role, denoiser, name)
    if components.has(LORA_CONTROL):
        load_adapter(components, LORA_CONTROL, control, CONTROL_ADAPTER)


def load_adapter(components: Components, role: str, network: nn.Module, name: str) -> None:
    """Put one adapter on a network.  Raises ModelError where it is damaged, or another network's."""
    tensors = components.tensors(role)
    checkpoint.check_finite(tensors, components.where(role))
    try:
        settings = read_settings({SETTINGS: json.dumps(components.given.get(role, {}))})
        add_adapter(network, name, tensors, settings)
    except (ValueError, ImportError) as error:
        raise ModelError(f"cannot use the adapter {components.where(role)}: {error}") from error


def load_schedule(components: Components) -> Schedule:
    """The schedule of the base.  Raises ModelError where it is missing, or another system's."""
    table: dict[str, Any] = components.given.get(SCHEDULER, {})
    if not table:
        raise ModelError(
            f"the model lacks its {SCHEDULER} (scheduler/scheduler_config.json)", "See: vrx models show NAME"
        )
    try:
        return Schedule.from_config(table)
    except ValueError as error:
        raise ModelError(f"the model's {SCHEDULER} is not SATB-VR's: {error}") from error


def load_prompts(request: BuildRequest, width: int) -> Prompts:
    """The published rows, in the networks' type.  Raises ModelError for rows that are none, or of another width."""
    rows = [load_rows(request, role, width) for role in ("prompt_embeds", "negative_prompt_embeds")]
    return Prompts(*(part.to(request.device, request.dtype) for part in rows))


FAMILY = Family(
    name=NAME,
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(2, 3, 4),
        schedule=SCHEDULE,
        options={
            "steps": "1 to 10, 5 unless given: fewer stay closer to the source, more invent more",
            "guidance": "how far the result is led away from the negative prompt: 6 unless given, 1 leaves it out",
            "tile": "the transformer works in tiles of so many pixels of output, which do not blend",
            "color_fix": "how the colors are matched to the source: wavelet (auto), adain, or none",
        },
        takes_prompt=True,
        latent_scale=SPATIAL,
        offloads=True,
        steps=tuple(range(1, MOST_STEPS + 1)),
        footprints=(FOOTPRINT,),
    ),
    components={
        "base": Component(
            network=Transformer,
            files=("transformer/diffusion_pytorch_model*",),
            folders=("transformer",),
            config_role="base_config",
        ),
        "cogvideox_autoencoder": Component(
            network=CogVideoAutoencoder, folders=("vae",), config_role="cogvideox_autoencoder_config"
        ),
        "control_branch": Component(network=ControlNet, folders=("controlnet",), config_role="control_branch_config"),
        "connectors": Component(network=Connectors, files=("connectors.*",)),
        "control_patch_embed": Component(network=ControlPatchEmbed, files=("control_patch_embed.*",)),
        **{
            role: Component(signature="*.lora_A.weight", files=(f"{role}/pytorch_lora_weights.*",), notes=SETTINGS)
            for role in (*ADAPTERS.values(), LORA_CONTROL)
        },
        "prompt_embeds": Component(files=("prompt_embeds.*",), signature="tensor"),
        "negative_prompt_embeds": Component(files=("negative_prompt_embeds.*",), signature="tensor"),
        SCHEDULER: Component(
            files=("scheduler/scheduler_config.json",), beside=("base", "../scheduler/scheduler_config.json")
        ),
        "text": Component(
            network=Umt5Encoder, published=T5, folders=("text_encoder",), prompted=True, check=load_encoder
        ),
        TOKENIZER: Component(files=("tokenizer.json", SENTENCEPIECE), prompted=True),
        "base_config": Component(files=("transformer/config.json",)),
        "cogvideox_autoencoder_config": Component(files=("vae/config.json",)),
        "control_branch_config": Component(files=("controlnet/config.json",)),
    },
    needs=(
        "base",
        "cogvideox_autoencoder",
        "control_branch",
        "connectors",
        "control_patch_embed",
        *ADAPTERS.values(),
        "prompt_embeds",
        "negative_prompt_embeds",
        SCHEDULER,
    ),
    extra="diffusers",
    packages=("diffusers", "transformers", "peft"),
    load=load,
)
