"""How large a network is, read off the shapes of its tensors.  What shapes do not tell may be given.

Every function takes shapes by name and sizes that are known otherwise, which win.  Raises KeyError for
tensors that are not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vrx.networks.flashvsr.projection import ProjectionConfig
from vrx.networks.leanvae import LeanConfig
from vrx.networks.ram import RamConfig
from vrx.networks.taehv import ConditionalConfig, TinyConfig
from vrx.networks.umt5 import Umt5Config
from vrx.networks.wan.autoencoder import WanAutoencoderConfig
from vrx.networks.wan.transformer import WanConfig

Shapes = Mapping[str, tuple[int, ...]]
Sizes = Mapping[str, Any]
HEAD = 128  # width of a head in every published Wan transformer


COUNTS = {
    "num_layers",
    "layers",
    "depths",
    "num_res_blocks",
    "ista_iter_num",
    "ista_layer_num",
    "sep_num_layer",
    "fusion_num_layer",
    "before",
    "middle",
    "after",
}
LIMITS = {"window_size": 32, "window": 32, "reference": 32, "memory": 64, "image_size": 1024, "num_buckets": 4096}
CANNOT_BE = (TypeError, ValueError, IndexError, ArithmeticError, RuntimeError)  # what impossible sizes lead to
LARGEST = 1 << 20  # of any other size: a vocabulary has 256,384


def sane(config: object, tensors: int) -> None:
    """Refuse sizes that no file of so many tensors can mean, before a network is built.  Raises ValueError."""
    for name, value in vars(config).items():
        most = tensors if name in COUNTS else LIMITS.get(name, LARGEST)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not 0 <= number <= most:
                raise ValueError(f"{name} is {number}")


def count(shapes: Shapes, prefix: str) -> int:
    """How many numbered entries stand under a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})


def transformer(shapes: Shapes, given: Sizes) -> WanConfig:
    """Of Wan's transformer; a head is 128 wide unless `num_heads` is given."""
    dim, in_dim, *patch = shapes["patch_embedding.weight"]
    values = patch[0] * patch[1] * patch[2]
    found = {
        "dim": dim,
        "in_dim": in_dim,
        "patch_size": tuple(patch),
        "num_heads": max(1, dim // HEAD),
        "ffn_dim": shapes["blocks.0.ffn.0.weight"][0],
        "num_layers": count(shapes, "blocks."),
        "freq_dim": shapes["time_embedding.0.weight"][1],
        "text_dim": shapes["text_embedding.0.weight"][1],
        "out_dim": shapes["head.head.weight"][0] // values,
    }
    return WanConfig(**{**found, **given})


def autoencoder(shapes: Shapes, given: Sizes) -> WanAutoencoderConfig:
    """Of Wan's autoencoder."""
    found = {"dim": shapes["encoder.conv1.weight"][0], "z_dim": shapes["conv2.weight"][0]}
    return WanAutoencoderConfig(**{**found, **given})


def tiny(shapes: Shapes, given: Sizes) -> TinyConfig:
    """Of TAEHV."""
    widths = tuple(shapes[f"decoder.{place}.weight"][0] for place in (1, 8, 14, 20))
    found = {
        "latent_channels": shapes["decoder.1.weight"][1],
        "encoder_width": shapes["encoder.0.weight"][0],
        "decoder_widths": widths,
    }
    return TinyConfig(**{**found, **given})


def conditional(shapes: Shapes, given: Sizes) -> ConditionalConfig:
    """Of FlashVSR's conditional decoder."""
    channels = tuple(shapes[f"decoder.{place}.weight"][0] for place in (1, 10, 16, 22))
    found = {"channels": channels, "latent_channels": shapes["decoder.1.weight"][1]}
    return ConditionalConfig(**{**found, **given})


def projection(shapes: Shapes, given: Sizes) -> ProjectionConfig:
    """Of FlashVSR's LQ projection; its version cannot be seen and is 1.1 unless given."""
    found = {
        "hidden1": shapes["conv1.weight"][0],
        "hidden2": shapes["conv2.weight"][0],
        "out_dim": shapes["linear_layers.0.weight"][0],
        "layers": count(shapes, "linear_layers."),
    }
    return ProjectionConfig(**{**found, **given})


def lean(shapes: Shapes, given: Sizes) -> LeanConfig:
    """Of LeanVAE."""
    latent, width = shapes["latent_bottleneck.phi"]
    found = {
        "l_dim": shapes["encoder.video_low_proj.1.weight"][0],
        "h_dim": shapes["encoder.video_high_proj.1.weight"][0],
        "embedding_dim": width,
        "latent_dim": latent,
        "ista_iter_num": count(shapes, "latent_bottleneck.forward_l."),
        "ista_layer_num": count(shapes, "latent_bottleneck.forward_l.0.dconv_layer."),
        "sep_num_layer": count(shapes, "encoder.low_layer.dconv_layer."),
        "fusion_num_layer": count(shapes, "encoder.fusion_layer.dconv_layer."),
    }
    return LeanConfig(**{**found, **given})


def guidance(shapes: Shapes, given: Sizes) -> RamConfig:
    """Of RAM's Swin encoder; the size of its picture cannot be seen and is 384 unless given."""
    stages = range(count(shapes, "visual_encoder.layers."))
    tables = [shapes[f"visual_encoder.layers.{i}.blocks.0.attn.relative_position_bias_table"] for i in stages]
    found = {
        "embed_dim": shapes["visual_encoder.patch_embed.proj.weight"][0],
        "patch_size": shapes["visual_encoder.patch_embed.proj.weight"][-1],
        "depths": tuple(count(shapes, f"visual_encoder.layers.{i}.blocks.") for i in stages),
        "num_heads": tuple(table[1] for table in tables),
        "window_size": (round(tables[0][0] ** 0.5) + 1) // 2,
        "out_dim": shapes["image_proj.weight"][0],
    }
    return RamConfig(**{**found, **given})


def text(shapes: Shapes, given: Sizes) -> Umt5Config:
    """Of the UMT5 encoder."""
    vocabulary, dim = shapes["token_embedding.weight"]
    shared = "pos_embedding.embedding.weight" in shapes
    bias = shapes["pos_embedding.embedding.weight" if shared else "blocks.0.pos_embedding.embedding.weight"]
    found = {
        "vocab": vocabulary,
        "dim": dim,
        "dim_attn": shapes["blocks.0.attn.q.weight"][0],
        "dim_ffn": shapes["blocks.0.ffn.fc1.weight"][0],
        "num_heads": bias[1],
        "num_buckets": bias[0],
        "num_layers": count(shapes, "blocks."),
        "shared_position_bias": shared,
    }
    return Umt5Config(**{**found, **given})
