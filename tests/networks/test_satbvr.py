"""SATB-VR's networks at a small size with random weights: adapters, order of modules, precision, limits."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.extras import needs_extra
from vrx.networks.satbvr.adapters import SETTINGS, add_adapter, read_ranks, read_settings
from vrx.networks.satbvr.backbone import BackboneConfig, Transformer, from_patches, to_patches
from vrx.networks.satbvr.control import (
    CONTROL_ADAPTER,
    Connector,
    Connectors,
    ConnectorsConfig,
    ControlConfig,
    ControlNet,
    ControlPatchEmbed,
    patch_config,
    state_number,
)
from vrx.networks.satbvr.transformer import Denoiser, Role

SIZES = {
    "num_attention_heads": 6,
    "attention_head_dim": 16,
    "time_embed_dim": 16,
    "text_embed_dim": 12,
    "sample_height": 8,
    "sample_width": 8,
}
TARGET = "transformer_blocks.1.attn1.to_q"


def denoiser(connectors: int = 3) -> Denoiser:
    torch.manual_seed(0)
    config = BackboneConfig(num_layers=3, **SIZES)
    links = Connectors(ConnectorsConfig(count=connectors, width=config.width, inner=8))
    return Denoiser(Transformer(config), links, ControlPatchEmbed(patch_config(config))).eval()


def control() -> ControlNet:
    torch.manual_seed(1)
    return ControlNet(ControlConfig(num_layers=2, **SIZES)).eval()


def inputs(*sides: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy and low-quality latent of (frames, rows, columns), and rows of text."""
    torch.manual_seed(2)
    frames, rows, columns = sides
    shape = (1, frames, 16, rows, columns)
    return torch.randn(shape), torch.randn(shape), torch.randn(1, 5, 12)


def adapter(width: int = 96, rank: int = 4, target: str = TARGET) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {
        f"{target}.lora_A.weight": torch.randn(rank, width),
        f"{target}.lora_B.weight": torch.randn(width, rank),
    }


@needs_extra
@pytest.mark.parametrize(("settings", "scale"), [({}, 1.0), ({"lora_alpha": 8}, 2.0)])
@torch.inference_mode()
def test_an_adapter_changes_the_weight_by_its_product(settings: dict[str, Any], scale: float) -> None:
    small, large = adapter(), adapter(target="transformer_blocks.0.ff.net.2", rank=2)
    large["transformer_blocks.0.ff.net.2.lora_A.weight"] = torch.randn(2, 4 * 96)
    network, changed = denoiser(), denoiser()
    _, lq, text = inputs(2, 4, 4)
    plain = network.predict(lq, text)
    add_adapter(network, "predictor", {**small, **large}, settings)
    for target, ours in ((TARGET, small), ("transformer_blocks.0.ff.net.2", large)):
        down, up = ours.values()
        alpha = scale if not settings else settings["lora_alpha"] / len(down)
        changed.get_submodule(target).weight += alpha * up @ down  # type: ignore[operator]
    add_adapter(network, "denoiser", adapter(rank=3), {})
    found = network.predict(lq, text)
    assert torch.allclose(found, changed.predict(lq, text), atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-2)


@needs_extra
def test_the_adapter_of_the_control_is_always_on() -> None:
    network, (noisy, lq, text) = control(), inputs(2, 4, 4)
    with torch.inference_mode():
        plain = network.control(noisy, lq, 99, text)
        add_adapter(network, "another", adapter(rank=2), {})
        assert torch.equal(network.control(noisy, lq, 99, text)[1], plain[1])
        add_adapter(network, CONTROL_ADAPTER, adapter(), {})
        changed = network.control(noisy, lq, 99, text)
    assert torch.equal(plain[0], changed[0])
    assert not torch.allclose(plain[1], changed[1], atol=1e-3)
    assert not any(parameter.requires_grad for name, parameter in network.named_parameters() if "lora" in name)


@needs_extra
@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"proj_out.weight": torch.ones(2, 2)}, r"the tensor proj_out\.weight is not an adapter's"),
        ({f"{TARGET}.lora_A.weight": torch.ones(2, 96, dtype=torch.long)}, "is not an adapter's"),
        ({f"{TARGET}.lora_A.weight": torch.ones(2, 96)}, "has ranks 2 and None"),
        ({}, "it holds no adapter"),
        (adapter(target="unet.to_q"), r"no layer unet\.to_q for an adapter"),
        (adapter(target="transformer_blocks.1"), r"no layer transformer_blocks\.1 for"),
        (adapter(width=64), r"lora_A\.weight has the shape \(4, 64\), not \(4, 96\)"),
    ],
)
def test_a_damaged_or_foreign_adapter_is_one_line(tensors: dict[str, Tensor], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        add_adapter(denoiser(), "predictor", tensors, {})
    assert "\n" not in str(caught.value)


def test_ranks_come_from_the_tensors() -> None:
    assert read_ranks({**adapter(rank=3), **adapter(rank=7, target="a.b")}) == {TARGET: 3, "a.b": 7}


def test_settings_of_an_adapter() -> None:
    table = {"r": 4, "lora_alpha": 8, "alpha_pattern": {}, "use_rslora": False, "peft_type": "LORA"}
    expected = {"lora_alpha": 8, "alpha_pattern": {}, "use_rslora": False}
    assert read_settings({SETTINGS: json.dumps(table), "format": "pt"}) == expected
    assert read_settings({"format": "pt"}) == {}
    for wrong, words in (
        ("{", "cannot be read"),
        ("3", "cannot be read"),
        ('{"lora_alpha": "x"}', "lora_alpha is 'x'"),
        ('{"lora_alpha": NaN}', "lora_alpha is nan"),
        ('{"alpha_pattern": {"(": 1}}', "alpha_pattern is"),
        ('{"alpha_pattern": {"x": "1"}}', "alpha_pattern is"),
    ):
        with pytest.raises(ValueError, match=words):
            read_settings({SETTINGS: wrong})


@needs_extra
@pytest.mark.parametrize("role", ["predictor", "denoiser"])
def test_the_sequence_is_the_order_in_which_large_modules_run(role: Role) -> None:
    network, net, (noisy, lq, text) = denoiser(), control(), inputs(2, 4, 4)
    expected, calls = [*network.sequence(role), *net.sequence()], list[nn.Module]()
    for module in [*network.sequence("denoiser"), *net.sequence()]:
        module.register_forward_pre_hook(lambda module, args: calls.append(module))
    with torch.inference_mode():
        states = [torch.zeros(1, 4, 96)]
        network.predict(lq, text) if role == "predictor" else network.denoise(noisy, lq, 9, text, states)
        net.control(noisy, lq, 9, text)
    assert [id(module) for module in calls] == [id(module) for module in expected]


class Largest(TorchDispatchMode):
    """Remembers how large the largest tensor is that an operation returned."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in found if isinstance(found, tuple | list) else (found,):
            self.elements = max(self.elements, value.numel() if isinstance(value, Tensor) else 0)
        return found


@torch.inference_mode()
def test_connectors_attend_without_a_matrix_of_scores() -> None:
    connector, tokens = Connector(96, 8), 300
    with Largest() as largest:
        connector(torch.randn(1, tokens, 96), torch.randn(1, tokens, 96))
    assert largest.elements < 2 * tokens * 96 < tokens**2


@needs_extra
@torch.inference_mode()
def test_bfloat16_stays_near_float32() -> None:
    network, net, (noisy, lq, text) = denoiser(), control(), inputs(2, 4, 4)

    def run(dtype: torch.dtype) -> Tensor:
        x, low, rows = (value.to(dtype) for value in (noisy, lq, text))
        return network.to(dtype).denoise(x, low, 199, rows, net.to(dtype).control(x, low, 199, rows))

    exact, rough = run(torch.float32), run(torch.bfloat16)
    assert rough.dtype == torch.bfloat16
    assert (exact - rough.float()).abs().max() < 0.05 * exact.abs().max()


@needs_extra
def test_sizes_that_cannot_be_are_refused() -> None:
    network = denoiser()
    with pytest.raises(ValueError, match="3 latent frames of 4 x 4 are not multiples of 2"):
        network.predict(*inputs(3, 4, 4)[1:])
    with pytest.raises(ValueError, match="4 x 10 latents are more than the 8 x 8"):
        network.predict(*inputs(2, 4, 10)[1:])
    with pytest.raises(ValueError, match="2 connectors for a transformer of 3 blocks"):
        denoiser(connectors=2)
    with pytest.raises(ValueError, match="a width of 100 cannot be split among 48 heads"):
        Connectors(ConnectorsConfig(width=100))


def test_sizes_of_the_config_file_are_numbers() -> None:
    shapes = {
        "transformer_blocks.0.attn1.norm_q.weight": (64,),
        "patch_embed.text_proj.weight": (3072, 4096),
        "patch_embed.proj.weight": (3072, 128),
        "time_embedding.linear_1.weight": (512, 3072),
    }
    given = {"num_layers": 42, "sample_height": 96, "_class_name": "X", "patch_bias": False}
    assert BackboneConfig.from_tensors(shapes, given) == BackboneConfig(num_layers=1, sample_height=96)
    with pytest.raises(ValueError, match="sample_height is 'x'"):
        BackboneConfig.from_tensors(shapes, {"sample_height": "x"})


def test_patches_turn_back_into_the_latent() -> None:
    latent = torch.randn(2, 4, 16, 6, 8)
    tokens = to_patches(latent)
    assert torch.equal(from_patches(tokens, latent.shape), latent)
    assert torch.equal(tokens[0, 1, :8], latent[0, :2, 0, :2, 2:4].flatten())  # channel 0 of the second patch


@pytest.mark.parametrize(
    ("blocks", "states", "expected"),
    [(5, 2, [0, 0, 0, 1, 1]), (42, 6, [block // 7 for block in range(42)]), (4, 1, [0] * 4)],
)
def test_blocks_in_a_row_share_a_state(blocks: int, states: int, expected: list[int]) -> None:
    assert [state_number(block, blocks, states) for block in range(blocks)] == expected
