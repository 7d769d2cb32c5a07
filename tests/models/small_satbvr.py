"""A SATB-VR checkpoint in the published layout at small sizes: random weights; needs diffusers and peft."""

import json
import struct
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
from vrx.networks.umt5 import Umt5Config, Umt5Encoder
from vrx.weights.key_mapping import DIFFUSERS_UMT5, rename

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
    text_encoder(folder)
    return folder


def text_encoder(folder: Path) -> None:
    """T5 under its published names, in two files, and its vocabulary."""
    config = Umt5Config(
        vocab=12, dim=TEXT, dim_attn=16, dim_ffn=32, num_heads=2, num_layers=2, shared_position_bias=True
    )
    names = {new: old for old, new in ((old, rename(old, DIFFUSERS_UMT5)) for old in T5_NAMES)}
    weights = random_weights(Umt5Encoder(config))
    weights["blocks.0.pos_embedding.embedding.weight"] = weights.pop("pos_embedding.embedding.weight")
    (folder / "text_encoder").mkdir()
    save_file({names[n]: t for n, t in weights.items()}, folder / "text_encoder" / "model.safetensors")
    shard(folder / "text_encoder", "model")
    (folder / "tokenizer").mkdir()
    pieces = [("<pad>", 0.0, 3), ("</s>", 0.0, 3), ("<unk>", 0.0, 2)]
    pieces += [(f"▁{word}", -float(n), 1) for n, word in enumerate(("a", "cat", "tree"))]
    (folder / "tokenizer" / "spiece.model").write_bytes(vocabulary(pieces))


T5_NAMES = (
    "shared.weight",
    "encoder.final_layer_norm.weight",
    *(
        f"encoder.block.{block}.layer.{name}.weight"
        for block in (0, 1)
        for name in (
            *(f"0.SelfAttention.{letter}" for letter in "qkvo"),
            *(["0.SelfAttention.relative_attention_bias"] if block == 0 else []),
            "0.layer_norm",
            "1.layer_norm",
            *(f"1.DenseReluDense.{layer}" for layer in ("wi_0", "wi_1", "wo")),
        )
    ),
)


def vocabulary(pieces: list[tuple[str, float, int]]) -> bytes:
    """A `spiece.model` of pieces with score and kind; all messages are shorter than 128 bytes."""
    found = b""
    for text, score, kind in pieces:
        word = text.encode()
        piece = b"\x0a" + bytes([len(word)]) + word + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
        found += b"\x0a" + bytes([len(piece)]) + piece
    return found


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


def shard(folder: Path, stem: str = "diffusion_pytorch_model") -> None:
    """A network's file as two files and their index."""
    whole = folder / f"{stem}.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    places = {name: f"{stem}-0000{1 + 2 * n // len(names)}-of-00002.safetensors" for n, name in enumerate(names)}
    for file in set(places.values()):
        save_file({name: tensors[name] for name in names if places[name] == file}, folder / file)
    index = {"metadata": {}, "weight_map": places}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
