import json
from pathlib import Path

import pytest

from vrx.weights.key_mapping import rename, strip_prefixes, to_native_keys, unwrap

TENSORS = Path(__file__).parents[1] / "data" / "tensors"


def published(name: str, layers: int) -> list[str]:
    rows = json.loads((TENSORS / f"{name}.json").read_text())["tensors"]
    return [
        row["name"].replace("{i}", str(i))
        for row in rows
        for i in (range(layers) if "{i}" in row["name"] else range(1))
    ]


def diffusers_wan(name: str) -> str:
    """The table of the Wan team's converter, the other way round."""
    for old, new in (
        ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
        ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
        ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
        ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
        ("time_projection.1", "condition_embedder.time_proj"),
        ("head.modulation", "scale_shift_table"),
        ("head.head", "proj_out"),
        ("self_attn.o", "attn1.to_out.0"),
        ("cross_attn.o", "attn2.to_out.0"),
        ("self_attn.norm", "attn1.norm"),
        ("cross_attn.norm", "attn2.norm"),
        ("self_attn.", "attn1.to_"),
        ("cross_attn.", "attn2.to_"),
        ("norm3", "norm2"),
        ("ffn.0", "ffn.net.0.proj"),
        ("ffn.2", "ffn.net.2"),
    ):
        if old in name:
            return name.replace(old, new)
    return name.replace("modulation", "scale_shift_table")


def test_every_name_of_the_transformer_comes_back_from_diffusers() -> None:
    names = published("wan2.1-t2v-1.3b-dit", 30)
    assert len(names) == len(set(names)) == 825
    theirs = [diffusers_wan(name) for name in names]
    assert len(set(theirs)) == 825
    assert list(to_native_keys(dict.fromkeys(theirs, 0))) == names


def test_the_text_encoder_comes_back_from_transformers() -> None:
    theirs = ["shared.weight", "encoder.final_layer_norm.weight"]
    for i in range(24):
        own = f"encoder.block.{i}.layer"
        theirs += [f"{own}.0.SelfAttention.{p}.weight" for p in ("q", "k", "v", "o", "relative_attention_bias")]
        theirs += [f"{own}.1.DenseReluDense.{p}.weight" for p in ("wi_0", "wi_1", "wo")]
        theirs += [f"{own}.{j}.layer_norm.weight" for j in (0, 1)]
    assert set(to_native_keys(dict.fromkeys(theirs, 0))) == set(published("umt5-xxl-encoder", 24))
    tied = to_native_keys({"encoder.embed_tokens.weight": 0, "shared.weight": 0, "encoder.final_layer_norm.weight": 0})
    assert set(tied) == {"token_embedding.weight", "norm.weight"}


def test_wan_22s_autoencoder_comes_back_from_diffusers() -> None:
    rows = json.loads((TENSORS / "wan2.2-vae.json").read_text())["tensors"]
    theirs, native = {row["diffusers"]: row["name"] for row in rows}, {row["name"]: row["name"] for row in rows}
    assert len(theirs) == len(native) == 196
    assert all(name == new for new, name in to_native_keys(theirs).items())
    assert to_native_keys(native) == native
    assert {
        "decoder.up_blocks.1.upsampler.time_conv.weight": "decoder.upsamples.1.upsamples.3.time_conv.weight",
        "encoder.down_blocks.0.downsampler.resample.1.bias": "encoder.downsamples.0.downsamples.2.resample.1.bias",
        "decoder.up_blocks.2.resnets.0.conv_shortcut.bias": "decoder.upsamples.2.upsamples.0.shortcut.bias",
        "decoder.mid_block.resnets.1.norm2.gamma": "decoder.middle.2.residual.3.gamma",
        "encoder.mid_block.attentions.0.to_qkv.bias": "encoder.middle.1.to_qkv.bias",
        "post_quant_conv.weight": "conv2.weight",
    }.items() <= theirs.items()


@pytest.mark.parametrize(
    "prefix", ["", "model.", "module.", "model._fsdp_wrapped_module.", "_orig_mod.model.", "module.module.model."]
)
def test_what_trainers_add_goes(prefix: str) -> None:
    names = ["blocks.0.self_attn.q.weight", "head.head.bias"]
    assert sorted(strip_prefixes([prefix + name for name in names]).values()) == names


def test_wrappers_inside_a_name_go_too() -> None:
    name = "model.blocks.0._checkpoint_wrapped_module.self_attn._fsdp_wrapped_module.q.weight"
    assert strip_prefixes([name])[name] == "blocks.0.self_attn.q.weight"


def test_a_trainers_box_is_opened() -> None:
    tensors = {"a": 1}
    for content in ({"generator": tensors, "critic": {}}, {"args": 3, "state_dict": tensors}, {"model": tensors}):
        assert unwrap(content) == tensors
    assert unwrap(tensors) == tensors


def test_names_that_no_rule_knows_stay() -> None:
    assert rename("a.b", ((r"a\.c", "d"),)) == "a.b"
