"""Maps the tensor names of a checkpoint's publisher or trainer to those of our networks, by tables of patterns.

Knows names; does not know networks, files or tensors' contents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")
Rule = tuple[str, str]  # a regular expression for the whole name, and its replacement

PREFIXES = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.", "module.")
WRAPPER_KEYS = ("generator", "state_dict", "model", "params")  # keys under which trainers put the tensors

DIFFUSERS_WAN: tuple[Rule, ...] = (
    (r"condition_embedder\.text_embedder\.linear_1\.(.+)", r"text_embedding.0.\1"),
    (r"condition_embedder\.text_embedder\.linear_2\.(.+)", r"text_embedding.2.\1"),
    (r"condition_embedder\.time_embedder\.linear_1\.(.+)", r"time_embedding.0.\1"),
    (r"condition_embedder\.time_embedder\.linear_2\.(.+)", r"time_embedding.2.\1"),
    (r"condition_embedder\.time_proj\.(.+)", r"time_projection.1.\1"),
    (r"blocks\.(\d+)\.scale_shift_table", r"blocks.\1.modulation"),
    (r"blocks\.(\d+)\.attn1\.to_(q|k|v)\.(.+)", r"blocks.\1.self_attn.\2.\3"),
    (r"blocks\.(\d+)\.attn1\.to_out\.0\.(.+)", r"blocks.\1.self_attn.o.\2"),
    (r"blocks\.(\d+)\.attn1\.norm_(q|k)\.weight", r"blocks.\1.self_attn.norm_\2.weight"),
    (r"blocks\.(\d+)\.attn2\.to_(q|k|v)\.(.+)", r"blocks.\1.cross_attn.\2.\3"),
    (r"blocks\.(\d+)\.attn2\.to_out\.0\.(.+)", r"blocks.\1.cross_attn.o.\2"),
    (r"blocks\.(\d+)\.attn2\.norm_(q|k)\.weight", r"blocks.\1.cross_attn.norm_\2.weight"),
    (r"blocks\.(\d+)\.norm2\.(.+)", r"blocks.\1.norm3.\2"),
    (r"blocks\.(\d+)\.ffn\.net\.0\.proj\.(.+)", r"blocks.\1.ffn.0.\2"),
    (r"blocks\.(\d+)\.ffn\.net\.2\.(.+)", r"blocks.\1.ffn.2.\2"),
    (r"scale_shift_table", r"head.modulation"),
    (r"proj_out\.(.+)", r"head.head.\1"),
)
DIFFUSERS_UMT5: tuple[Rule, ...] = (
    (r"(?:shared|encoder\.embed_tokens)\.weight", r"token_embedding.weight"),
    (r"encoder\.final_layer_norm\.weight", r"norm.weight"),
    (r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.(q|k|v|o)\.weight", r"blocks.\1.attn.\2.weight"),
    (
        r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.relative_attention_bias\.weight",
        r"blocks.\1.pos_embedding.embedding.weight",
    ),
    (r"encoder\.block\.(\d+)\.layer\.0\.layer_norm\.weight", r"blocks.\1.norm1.weight"),
    (r"encoder\.block\.(\d+)\.layer\.1\.layer_norm\.weight", r"blocks.\1.norm2.weight"),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_0\.weight", r"blocks.\1.ffn.gate.0.weight"),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_1\.weight", r"blocks.\1.ffn.fc1.weight"),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wo\.weight", r"blocks.\1.ffn.fc2.weight"),
)
DIFFUSERS_RESIDUAL_BLOCK = {  # of Wan's autoencoders: theirs, and ours
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
DIFFUSERS_WAN22_AUTOENCODER: tuple[Rule, ...] = (
    (r"quant_conv\.(.+)", r"conv1.\1"),
    (r"post_quant_conv\.(.+)", r"conv2.\1"),
    (r"(encoder|decoder)\.conv_in\.(.+)", r"\1.conv1.\2"),
    (r"(encoder|decoder)\.norm_out\.(.+)", r"\1.head.0.\2"),
    (r"(encoder|decoder)\.conv_out\.(.+)", r"\1.head.2.\2"),
    (r"(encoder|decoder)\.mid_block\.attentions\.0\.(.+)", r"\1.middle.1.\2"),
    (r"encoder\.down_blocks\.(\d+)\.downsampler\.(.+)", r"encoder.downsamples.\1.downsamples.2.\2"),
    (r"decoder\.up_blocks\.(\d+)\.upsampler\.(.+)", r"decoder.upsamples.\1.upsamples.3.\2"),
    *(
        (rf"{block}\.{theirs}\.(.+)", rf"{place}.{ours}.\{last}")
        for theirs, ours in DIFFUSERS_RESIDUAL_BLOCK.items()
        for block, place, last in (
            (r"(encoder|decoder)\.mid_block\.resnets\.0", r"\1.middle.0", 2),
            (r"(encoder|decoder)\.mid_block\.resnets\.1", r"\1.middle.2", 2),
            (r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)", r"encoder.downsamples.\1.downsamples.\2", 3),
            (r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)", r"decoder.upsamples.\1.upsamples.\2", 3),
        )
    ),
)
FORMATS: tuple[tuple[str, tuple[Rule, ...]], ...] = (  # a name that only that format has, and its table
    ("condition_embedder.time_proj.weight", DIFFUSERS_WAN),
    ("encoder.final_layer_norm.weight", DIFFUSERS_UMT5),
    ("decoder.up_blocks.0.upsampler.resample.1.weight", DIFFUSERS_WAN22_AUTOENCODER),
)


def rename(name: str, rules: Iterable[Rule]) -> str:
    """A name by the first rule that matches; unchanged where none does."""
    for pattern, replacement in rules:
        new, count = re.subn(rf"^{pattern}$", replacement, name)
        if count:
            return new
    return name


def unwrap(content: Mapping[str, object]) -> Mapping[str, object]:
    """The dictionary of tensors inside a trainer's file."""
    for box in WRAPPER_KEYS:
        inner = content.get(box)
        if isinstance(inner, Mapping):
            return inner
    return content


def strip_prefixes(names: Iterable[str]) -> dict[str, str]:
    """Each name without the prefixes of wrappers and trainers, and without a `model.` that all share."""
    stripped = {}
    for name in names:
        short = name
        for wrapper in PREFIXES:
            short = short.replace(wrapper, "")
        stripped[name] = short
    if stripped and all(short.startswith("model.") for short in stripped.values()):
        stripped = {name: short.removeprefix("model.") for name, short in stripped.items()}
    return stripped


def to_native_keys(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Tensors under our names, whichever publisher's format they came in.

    Two names that map to one (tied embeddings) are taken once.
    """
    short = {new: tensors[old] for old, new in strip_prefixes(tensors).items()}
    for sign, rules in FORMATS:
        if sign in short:
            return {rename(name, rules): value for name, value in short.items()}
    return short
