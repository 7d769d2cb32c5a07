"""The text encoder of Stable Diffusion 2 (OpenCLIP ViT-H), which is transformers', for one prompt: the empty one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vrx.networks.libraries import LibraryNetwork, construct, load
from vrx.networks.published import Given, NetworkConfig, Shapes, count_entries

ROOT = "text_model."  # before every name in files of some versions of the library
HEAD = 64  # channels of a head where the config does not give their number
STATED = ("num_attention_heads", "hidden_act", "layer_norm_eps")  # that tensors do not give


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
    layer_norm_eps: float = 1e-5

    COUNTS: ClassVar[frozenset[str]] = frozenset({"num_hidden_layers"})

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> TextConfig:
        """See `NetworkConfig`; what is not in the tensors is in the config file."""
        vocabulary, width = shapes[TextEncoder.SIGNATURE]
        stated = {name: given[name] for name in STATED if name in given}
        return cls(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=shapes["encoder.layers.0.mlp.fc1.weight"][0],
            num_hidden_layers=count_entries(shapes, "encoder.layers."),
            max_position_embeddings=shapes["embeddings.position_embedding.weight"][0],
            **{"num_attention_heads": max(1, width // HEAD), **stated},
        )

    @property
    def empty_prompt(self) -> list[int]:
        """The tokens of the empty prompt as the published tokenizer gives them, as many as there are positions.

        Begin and end, the last two of CLIP's vocabulary, then padding with the first (`!`: Stable Diffusion 2's).
        """
        return [self.vocab_size - 2, self.vocab_size - 1, *[0] * (self.max_position_embeddings - 2)]


class TextEncoder(LibraryNetwork):
    """transformers' CLIP text encoder (Apache-2.0), in float32.  Raises ImportError without transformers."""

    CONFIG = TextConfig
    SIGNATURE = "embeddings.token_embedding.weight"

    def __init__(self, config: TextConfig) -> None:
        settings = construct(load("transformers", "CLIPTextConfig"), vars(config))
        network = load("transformers", "CLIPTextModel")(settings)
        super().__init__(network, getattr(network, ROOT.rstrip("."), None))
        self._tokens = config.empty_prompt

    def embed_empty(self) -> Tensor:
        """Rows [1, L, D] of the empty prompt: the last hidden state, normalized."""
        tokens = torch.tensor([self._tokens], device=self.device)
        rows: Tensor = self.library(input_ids=tokens).last_hidden_state
        return rows
