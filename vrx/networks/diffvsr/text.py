"""The text encoder of Stable Diffusion 2 (OpenCLIP ViT-H), under the names of its published file, for one prompt.

Stream-DiffVSR only knows the empty prompt; so there is no tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries

ROOT = "text_model."  # before every name
HEAD = 64  # channels of a head where the config does not give their number


@dataclass(frozen=True, kw_only=True)
class TextConfig(NetworkConfig):
    """Sizes under their published names; the defaults are the published ones."""

    vocab_size: int = 49408
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 23
    num_attention_heads: int = 16
    max_position_embeddings: int = 77
    hidden_act: str = "gelu"

    COUNTS: ClassVar[frozenset[str]] = frozenset({"num_hidden_layers"})

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> TextConfig:
        """See `NetworkConfig`; heads and activation are not in the tensors."""
        vocabulary, width = shapes[f"{ROOT}embeddings.token_embedding.weight"]
        return cls(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=shapes[f"{ROOT}encoder.layers.0.mlp.fc1.weight"][0],
            num_hidden_layers=count_entries(shapes, f"{ROOT}encoder.layers."),
            num_attention_heads=given.get("num_attention_heads", max(1, width // HEAD)),
            max_position_embeddings=shapes[f"{ROOT}embeddings.position_embedding.weight"][0],
            hidden_act=given.get("hidden_act", "gelu"),
        )

    def validate(self, tensors: int) -> None:
        """Refuse what no file can mean.  Raises ValueError."""
        super().validate(tensors)
        if self.hidden_act not in ("gelu", "quick_gelu"):
            raise ValueError(f"hidden_act is {self.hidden_act!r}")
        if not self.num_attention_heads or self.hidden_size % self.num_attention_heads:
            raise ValueError(f"{self.num_attention_heads} heads do not share {self.hidden_size} channels")


class Attention(nn.Module):
    """Causal self-attention; tokens are [B, L, D]."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(found.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two layers."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.quick = config.hidden_act == "quick_gelu"
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x) if self.quick else F.gelu(x))


class Layer(nn.Module):
    """A transformer layer, normalized first."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layer_norm1, self.self_attn = nn.LayerNorm(config.hidden_size), Attention(config)
        self.layer_norm2, self.mlp = nn.LayerNorm(config.hidden_size), FeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Embeddings(nn.Module):
    """Tokens and their places."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.token_embedding(tokens) + self.position_embedding.weight[None]


class TextEncoder(PublishedNetwork):
    """Tokens to the rows that guide the UNet; in float32."""

    CONFIG = TextConfig
    SIGNATURE = f"{ROOT}embeddings.token_embedding.weight"

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self._config = config
        self.text_model = nn.ModuleDict(
            {
                "embeddings": Embeddings(config),
                "encoder": nn.ModuleDict({"layers": nn.ModuleList(map(Layer, [config] * config.num_hidden_layers))}),
                "final_layer_norm": nn.LayerNorm(config.hidden_size),
            }
        )

    def embed_empty(self) -> Tensor:
        """Rows [1, L, D] of the empty prompt, float32.

        Its tokens are begin and end, the last two of the vocabulary, and padding with the first.
        """
        size, length = self._config.vocab_size, self._config.max_position_embeddings
        tokens = torch.tensor([[size - 2, size - 1, *[0] * (length - 2)]])
        x = self.text_model["embeddings"](tokens)
        for layer in self.layers:
            x = layer(x)
        return self.text_model["final_layer_norm"](x)

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer's layers."""
        layers = self.text_model.get_submodule("encoder.layers")
        assert isinstance(layers, nn.ModuleList)
        return layers
