"""A prompt to the rows of text that CogVideoX takes: T5's encoder (arXiv 1910.10683, version 1.1), padding included."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vrx.models.components import Components
from vrx.models.prompts import cut_tokens, run_encoder
from vrx.networks.umt5 import Umt5Config, Umt5Encoder
from vrx.weights import prompts

LENGTH = 226  # tokens, padding among them
T5 = Umt5Config(vocab=32128, shared_position_bias=True)  # XXL; wider ones differ in nothing but these two
SHARED, FIRST = "pos_embedding.embedding.weight", "blocks.0.pos_embedding.embedding.weight"


def load_encoder(components: Components) -> Umt5Encoder:
    """T5's encoder: UMT5's with one table of distances, which its files have in the first layer.  Raises ModelError."""
    tensors = components.tensors("text")
    if FIRST in tensors and "blocks.1.pos_embedding.embedding.weight" not in tensors:
        tensors[SHARED] = tensors.pop(FIRST)
    return components.fill("text", Umt5Encoder, tensors)


def encode_prompt(components: Components, prompt: str, device: torch.device, folder: Path) -> Tensor:
    """Rows [1, 226, D] of a prompt, float32, from `folder` where they were cached; nothing is masked.

    The encoder is loaded only when they were not, and is gone afterwards.  Raises ModelError.
    """

    def encode() -> Tensor:
        ids = cut_tokens(components.tokenizer(), prompt.strip(), LENGTH)
        row = torch.tensor([[*ids, *[0] * (LENGTH - len(ids))]])
        with torch.inference_mode():
            return run_encoder(load_encoder(components), row, torch.ones_like(row), device).float().cpu()

    return prompts.cached(folder, prompts.cache_key(prompt, components.where("text")), encode).to(device)
