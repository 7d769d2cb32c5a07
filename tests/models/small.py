"""Checkpoints of the full layout at small sizes: random weights under the published file and tensor names."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn

from tests.weights.test_key_mapping import diffusers_wan
from vrx.networks.diffvsr.autoencoder import TemporalAutoencoder, TemporalConfig
from vrx.networks.diffvsr.raft import Raft, RaftConfig
from vrx.networks.diffvsr.schedule import PUBLISHED
from vrx.networks.diffvsr.text import TextConfig, TextEncoder
from vrx.networks.diffvsr.unet import ControlConfig, ControlNet, Unet, UnetConfig
from vrx.networks.fastvr.autoencoder import FastVae, FastVaeConfig
from vrx.networks.flashvsr.projection import LqProjection, ProjectionConfig
from vrx.networks.instavsr.network import InstaVsr, InstaVsrConfig
from vrx.networks.leanvae import LeanAutoencoder, LeanConfig
from vrx.networks.ram import RamConfig, VisualGuidance
from vrx.networks.swiftvr.autoencoder import Reae, ReaeConfig
from vrx.networks.taehv import ConditionalConfig, ConditionalDecoder, TinyAutoencoder, TinyConfig
from vrx.networks.umt5 import Umt5Config, Umt5Encoder
from vrx.networks.wan.autoencoder import WanAutoencoder, WanAutoencoderConfig
from vrx.networks.wan.transformer import WanConfig, WanTransformer

TEXT = 24
HEADS = {"num_heads": 2}
DIT: dict[str, Any] = {"dim": 48, "ffn_dim": 64, "num_layers": 2, "freq_dim": 32, "text_len": 12, **HEADS}


def random_weights(network: nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """Nothing left at zero or one; small enough that values stay near one."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, value in network.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        fan_in = max(1, value[0].numel()) if value.ndim > 1 else 1
        around = 1.0 if name.endswith(("gamma", "norm.weight", "norm1.weight", "norm2.weight", "norm3.weight")) else 0.0
        tensors[name] = around + noise * (0.5 / fan_in**0.5 if value.ndim > 1 else 0.05)
    return tensors


def transformer(text_dim: int) -> dict[str, torch.Tensor]:
    return random_weights(WanTransformer(WanConfig(**DIT, text_dim=text_dim)))


def autoencoder() -> dict[str, torch.Tensor]:
    return random_weights(WanAutoencoder(WanAutoencoderConfig(dim=4)))


def infvsr(folder: Path) -> Path:
    """With DAPE, in the formats of the release."""
    folder.mkdir(exist_ok=True)
    ram = RamConfig(image_size=48, embed_dim=8, depths=(2, 2), num_heads=(2, 4), window_size=6, out_dim=TEXT)
    weights = random_weights(VisualGuidance(ram))
    width = {f"visual_encoder.layers.{i}.blocks.{j}.attn.qkv": 8 * 2**i for i in (0, 1) for j in (0, 1)}
    adapter = {f"{name}.lora_A": 0.1 * torch.randn(8, size) for name, size in width.items()}
    adapter |= {f"{name}.lora_B": 0.1 * torch.randn(2 * size, 4) for name, size in width.items()}
    weights["visual_encoder.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(3)
    halves = {name: t.bfloat16() for name, t in transformer(TEXT).items()}  # as published
    torch.save(halves, folder / "InfVSR.ckpt")
    torch.save(autoencoder(), folder / "Wan2.1_VAE.pth")
    torch.save({"model": {**weights, "label_embed": torch.zeros(2)}}, folder / "ram_swin_large_14m.pth")
    torch.save(adapter, folder / "DAPE.pth")
    tiny = TinyAutoencoder(TinyConfig(encoder_width=4, decoder_widths=(8, 8, 4, 4)))
    torch.save({name: t.half() for name, t in random_weights(tiny).items()}, folder / "taew2_1.pth")
    sizes = {"transformer": {**HEADS, "text_len": 12}, "guidance": {"image_size": 48}}
    (folder / "config.json").write_text(json.dumps(sizes))
    return folder


def instantvir(folder: Path, lean: bool = False) -> Path:
    """As the authors' trainer saves it, with a text encoder and its tokenizer."""
    folder.mkdir(exist_ok=True)
    prefixed = {f"model.{name}": t for name, t in transformer(TEXT).items()}
    torch.save({"generator": prefixed, "critic": {"model.x": torch.zeros(1)}}, folder / "model.pt")
    if lean:
        net = LeanAutoencoder(LeanConfig(l_dim=6, h_dim=10, embedding_dim=16, sep_num_layer=1, fusion_num_layer=1))
        torch.save({"args": None, "state_dict": random_weights(net)}, folder / "LeanVAE-dim16.ckpt")
    else:
        torch.save(autoencoder(), folder / "Wan2.1_VAE.pth")
    text = Umt5Encoder(Umt5Config(vocab=8, dim=TEXT, dim_attn=TEXT, dim_ffn=32, num_heads=2, num_layers=2))
    torch.save(random_weights(text), folder / "models_t5_umt5-xxl-enc-bf16.pth")
    words = {word: i for i, word in enumerate(("<pad>", "</s>", "<unk>", "a", "cat", "tree"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"transformer": {**HEADS, "text_len": 12}}))
    return folder


def flashvsr(folder: Path) -> Path:
    """Both decoders."""
    folder.mkdir(exist_ok=True)
    save_file(transformer(TEXT), folder / "diffusion_pytorch_model_streaming_dmd.safetensors")
    projection = ProjectionConfig(hidden1=6, hidden2=8, out_dim=DIT["dim"])
    torch.save(random_weights(LqProjection(projection)), folder / "LQ_proj_in.ckpt")
    decoder = ConditionalConfig(channels=(8, 8, 6, 6))
    torch.save(random_weights(ConditionalDecoder(decoder)), folder / "TCDecoder.ckpt")
    torch.save(autoencoder(), folder / "Wan2.1_VAE.pth")
    torch.save(torch.randn(1, 12, TEXT).bfloat16(), folder / "posi_prompt.pth")
    (folder / "config.json").write_text(json.dumps({"transformer": HEADS}))
    return folder


def wan22() -> dict[str, torch.Tensor]:
    """The transformer of Wan 2.2, under its native names."""
    return random_weights(WanTransformer(WanConfig(**DIT, text_dim=TEXT, in_dim=48, out_dim=48)))


def swiftvr(folder: Path) -> Path:
    """In the folders of the release, with the names of Diffusers and a prompt file that holds more than rows."""
    (folder / "transformer").mkdir(parents=True)
    theirs = {diffusers_wan(name): tensor for name, tensor in wan22().items()}
    save_file(theirs, folder / "transformer" / "diffusion_pytorch_model.safetensors")
    reae = Reae(ReaeConfig(encoder_width=6, decoder_widths=(12, 8, 8, 6)))
    weights = random_weights(reae)
    weights["decoder.22.bias"] += 0.5  # pictures that are not black
    save_file(weights, folder / "reae.safetensors")
    rows = torch.randn(1, 12, TEXT, generator=torch.Generator().manual_seed(5)).bfloat16()
    save_file({"attention_mask": torch.ones(1, 12), "prompt_emb": rows}, folder / "prompt_embedding.safetensors")
    (folder / "config.json").write_text(json.dumps({"transformer": HEADS}))
    return folder


def fastvr(folder: Path) -> Path:
    """In the files of the release: the transformer in two without an index, native names, a prompt that is a tensor."""
    folder.mkdir(exist_ok=True)
    tensors = {name: tensor.bfloat16() for name, tensor in wan22().items()}
    for number, part in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), 1):
        save_file({name: tensors[name] for name in part}, folder / f"dit-{number:05}-of-00002.safetensors")
    network = FastVae(FastVaeConfig(encoder_width=6, decoder_widths=(12, 8, 6, 6), luma_width=1))
    save_file(random_weights(network), folder / "vae.safetensors")
    torch.save(torch.randn(1, 12, TEXT, generator=torch.Generator().manual_seed(5)), folder / "empty_prompt.pt")
    (folder / "config.json").write_text(json.dumps({"transformer": HEADS}))
    return folder


def streamdiffvsr(folder: Path) -> Path:
    """In Diffusers' folders, each with its config, and torchvision's flow; needs the extra."""
    sizes: dict[str, Any] = {
        "block_out_channels": (8, 16, 16, 24),
        "layers_per_block": 1,
        "cross_attention_dim": TEXT,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
    }
    text: dict[str, Any] = {"num_attention_heads": 2, "hidden_act": "gelu"}
    vae = {"_class_name": "TemporalAutoencoderTiny", "num_encoder_blocks": [1, 3, 3], "scaling_factor": 1.0}
    layers: dict[str, Any] = {"vocab_size": 20, "hidden_size": TEXT, "intermediate_size": 32, "num_hidden_layers": 2}
    networks: dict[str, tuple[nn.Module, dict[str, Any]]] = {
        "unet": (Unet(UnetConfig(**sizes)), {"_class_name": "UNet2DConditionModel", **sizes}),
        "controlnet": (
            ControlNet(ControlConfig(**sizes, conditioning_embedding_out_channels=(4, 8, 12))),
            {"_class_name": "ControlNetModel", **sizes},
        ),
        "vae": (TemporalAutoencoder(TemporalConfig(channels=8)), vae),
        "text_encoder": (TextEncoder(TextConfig(**text, **layers)), {**text, **layers}),
    }
    for name, (network, config) in networks.items():
        (folder / name).mkdir(parents=True)
        stem = "model" if name == "text_encoder" else "diffusion_pytorch_model"
        first = "text_model." if name == "text_encoder" else ""  # as the library named it when the model was published
        tensors = {f"{first}{key}": tensor for key, tensor in random_weights(network).items()}
        save_file(tensors, folder / name / f"{stem}.safetensors")
        (folder / name / "config.json").write_text(json.dumps(config))
    flow = random_weights(Raft(RaftConfig()))
    counters = {name: torch.tensor(1) for name in flow if name.endswith("num_batches_tracked")}
    spreads = {name: tensor.abs() + 0.5 for name, tensor in flow.items() if name.endswith("running_var")}
    torch.save({**flow, **counters, **spreads}, folder / "raft_large_C_T_SKHT_V2-ff5fadd5.pth")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(
        json.dumps({"_class_name": "DDIMScheduler", **PUBLISHED})
    )
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StreamDiffVSRPipeline"}))
    return folder


def instavsr(path: Path) -> Path:
    """One file, in the layout of the published size."""
    config = InstaVsrConfig(widths=(48, 96), layers=1, decoder_widths=(4, 8, 8, 8), decoder_layers=1)
    torch.save(random_weights(InstaVsr(config)), path)
    return path
