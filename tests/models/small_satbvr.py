"""A SATB-VR checkpoint in the published layout at small sizes: random weights; needs diffusers and peft."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.models.small import TEXT, random_weights
from vrx.networks.satbvr.autoencoder import AutoencoderConfig, CogVideoAutoencoder
from vrx.networks.satbvr.backbone import BackboneConfig, Transformer
from vrx.networks.satbvr.control import (
    Connectors,
    ConnectorsConfig,
    ControlConfig,
    ControlNet,
    ControlPatchEmbed,
    patch_config,
)

BACKBONE: dict[str, Any] = {
    "num_attention_heads": 3,
    "attention_head_dim": 16,
    "time_embed_dim": 16,
    "text_embed_dim": TEXT,
    "num_layers": 3,
}
CONTROL_LAYERS = 2
SCHEDULER = {  # as the family's file has it
    "_class_name": "CogVideoXDDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "snr_shift_scale": 1.0,
}


def satbvr(folder: Path) -> Path:
    """The base in two files with their index, and the folders of its authors."""
    base = Transformer(BackboneConfig(**BACKBONE))
    control = ControlNet(ControlConfig(**{**BACKBONE, "num_layers": CONTROL_LAYERS}))
    width = base.config.width
    sizes: dict[str, Any] = {"block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4}
    networks: dict[str, tuple[nn.Module, dict[str, Any]]] = {
        "transformer": (base, {"_class_name": "CogVideoXTransformer3DModel", **BACKBONE}),
        "vae": (CogVideoAutoencoder(AutoencoderConfig(**sizes)), {"scaling_factor": 0.7, **sizes}),
        "controlnet": (control, {**BACKBONE, "num_layers": CONTROL_LAYERS}),
    }
    for name, (network, config) in networks.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
        save_file(random_weights(network), folder / name / "diffusion_pytorch_model.safetensors")
    shard(folder / "transformer")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    connectors = Connectors(ConnectorsConfig(count=3, width=width, inner=8))
    torch.save(random_weights(connectors), folder / "connectors.pt")
    torch.save(random_weights(ControlPatchEmbed(patch_config(base.config))), folder / "control_patch_embed.pt")
    for number, name in enumerate(("lora_predictor", "lora_transformer", "lora_controlnet")):
        (folder / name).mkdir()
        save_file(lora(width, number + 2), folder / name / "pytorch_lora_weights.safetensors")
    for number, name in enumerate(("prompt_embeds", "negative_prompt_embeds")):
        generator = torch.Generator().manual_seed(number)
        torch.save(torch.randn(1, 12, TEXT, generator=generator).bfloat16(), folder / f"{name}.pt")
    return folder


def lora(width: int, rank: int) -> dict[str, torch.Tensor]:
    """An adapter of the first blocks."""
    generator = torch.Generator().manual_seed(rank)
    shapes = {"A": (rank, width), "B": (width, rank)}
    return {
        f"transformer_blocks.{block}.attn1.{layer}.lora_{side}.weight": 0.1 * torch.randn(shape, generator=generator)
        for block in (0, 1)
        for layer in ("to_q", "to_out.0")
        for side, shape in shapes.items()
    }


def shard(folder: Path) -> None:
    """A network's file as two files and their index."""
    whole = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    places = {
        name: f"diffusion_pytorch_model-0000{1 + 2 * n // len(names)}-of-00002.safetensors"
        for n, name in enumerate(names)
    }
    for file in set(places.values()):
        save_file({name: tensors[name] for name in names if places[name] == file}, folder / file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
