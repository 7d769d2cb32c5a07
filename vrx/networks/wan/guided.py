"""Wan 2.2 TI2V 5B with the enlarged source as tokens of a projection: what RelayVSR and ReCaVSR have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vrx.networks.published import Given, Shapes, check_required, store_channels_last
from vrx.networks.wan.transformer import TI2V_5B, WanConfig, WanTransformer

COLORS = 3
FOLD = 16  # pixels a side that the projection folds into channels
REQUIRED: Mapping[str, Any] = {  # what the configuration may say, and the only value that is known
    "patch_size": [1, 2, 2],
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
}


@dataclass(frozen=True, kw_only=True)
class GuidedConfig(WanConfig):
    """Sizes; the defaults are those of Wan 2.2 TI2V 5B.  `lq_dims`: widths of the projection of the source."""

    dim: int = TI2V_5B.dim
    ffn_dim: int = TI2V_5B.ffn_dim
    num_heads: int = TI2V_5B.num_heads
    in_dim: int = TI2V_5B.in_dim
    out_dim: int = TI2V_5B.out_dim
    lq_dims: tuple[int, int] = (2048, 3072)


def guided_sizes(shapes: Shapes, given: Given) -> dict[str, Any]:
    """The fields of `GuidedConfig`: see `NetworkConfig.from_tensors`.

    `given` is the published configuration, of which heads and eps count.  Raises ValueError where it asks for what is
    not known here.
    """
    check_required(given, REQUIRED)
    heads = {"num_heads": given["num_attention_heads"]} if "num_attention_heads" in given else {}
    found = WanConfig.from_tensors(shapes, {**heads, "eps": given.get("eps", WanConfig.eps)})
    return {**vars(found), "lq_dims": tuple(shapes[f"lq_proj.conv{number}.weight"][0] for number in (1, 2))}


class GuidedTransformer(WanTransformer):
    """Base of the transformers; `lq_proj` turns the enlarged source into tokens by `conv1` and `conv2`."""

    lq_proj: nn.Module

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """See `PublishedNetwork`; of Wan's own weights none is a convolution whose layout counts."""
        super().place(device, dtype)
        store_channels_last(self.lq_proj)
