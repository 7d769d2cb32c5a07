"""Matrices in 8 bits, alone and in a transformer."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks import quantized
from vrx.networks.quantized import (
    FP8,
    GROUP,
    Fp8Linear,
    Int8Linear,
    QuantizedLinear,
    WeightFormat,
    quantize,
    round_rows,
)
from vrx.networks.wan.transformer import WanConfig, WanTransformer, after_attention, before_attention

CPU = torch.device("cpu")
STEP = 1 / 16  # of e4m3: half the distance of two neighbors, of the smaller one


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def test_a_matrix_in_8_bits_is_a_quarter_and_within_half_a_level() -> None:
    weight = torch.randn(48, 3 * GROUP, generator=torch.Generator().manual_seed(2))
    layer = Int8Linear(weight, None)
    assert layer.weight.dtype is torch.int8
    assert layer.weight.shape == (48, 3, 128)
    half = layer.scale.flatten(1).repeat_interleave(GROUP, 1) / 2
    assert ((layer.matrix(torch.float32) - weight).abs() <= half * 1.0001).all()
    error = (layer.matrix(torch.float32) - weight).square().mean().sqrt() / weight.std()
    assert float(error) < 0.0075  # of the weights' deviation; bfloat16: 0.0017
    uneven = Int8Linear(torch.randn(4, 10), torch.zeros(4))
    assert uneven.weight.shape == (4, 1, 10)
    assert torch.isfinite(Int8Linear(torch.zeros(2, 4), None).matrix(torch.bfloat16)).all()


def test_sides_of_a_matrix_in_fp8_are_multiples_of_16_as_the_kernels_of_gpus_need() -> None:
    shapes = [(16, 48), (24, 16), (16, 24)]
    assert [quantized.accepts("fp8", torch.Size(shape)) for shape in shapes] == [True, False, False]
    assert all(quantized.accepts("int8", torch.Size(shape)) for shape in shapes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_in_fp8_fill_its_range_and_are_within_half_a_step(dtype: torch.dtype) -> None:
    x = (random(5, 64) * torch.tensor([1e-6, 0.1, 1, 300, 1e6])[:, None]).to(dtype)
    rounded, scale = round_rows(x)
    assert rounded.dtype is FP8
    assert (rounded.float().abs().amax(1) == 448).all()
    largest = (rounded.float() * scale).abs().amax(1)
    torch.testing.assert_close(largest, x.float().abs().amax(1), rtol=0.005, atol=0)
    error = (rounded.float() * scale - x.float()).abs()
    assert (error <= x.float().abs() * (STEP + 0.005) + scale * 2.0**-10).all()
    zero, scale = round_rows(torch.zeros(2, 16, dtype=dtype))
    assert torch.equal(zero.float() * scale, torch.zeros(2, 16))


def test_fp8_multiplies_what_is_rounded_row_by_row() -> None:
    layer, x = Fp8Linear(random(48, 64), random(48)), random(2, 7, 64) * 3
    x[0, 0] *= 1000  # takes nothing from the others
    assert layer.weight.dtype is FP8
    rows, scale = round_rows(x.flatten(0, 1))
    assert layer.bias is not None
    expected = F.linear(rows.float() * scale, layer.weight.float() * layer.scale, layer.bias)
    found = layer(x)
    assert found.shape == (2, 7, 48)
    torch.testing.assert_close(found, expected.view(2, 7, 48), rtol=1e-5, atol=1e-4)
    exact = F.linear(x, random(48, 64), layer.bias)
    for one, other in zip(found.flatten(0, 1), exact.flatten(0, 1), strict=True):
        assert 0.01 < float((one - other).norm() / other.norm()) < 0.06  # int8: 0.006


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so_in_its_row_alone(value: float) -> None:
    x = random(3, 32)
    x[1, 5] = value
    finite = torch.isfinite(Fp8Linear(random(16, 32), None)(x)).all(1)
    assert finite.tolist() == [True, False, True]


@pytest.mark.parametrize(("kind", "count"), [("int8", 3), ("fp8", 1)])
def test_layers_that_a_format_does_not_take_stay_as_they_are(kind: WeightFormat, count: int) -> None:
    modules = nn.Sequential(nn.Linear(32, 48), nn.Sequential(nn.Linear(48, 20), nn.Linear(20, 16, bias=False)))
    x, before = random(4, 32), [layer.weight for layer in modules.modules() if isinstance(layer, nn.Linear)]
    exact = modules(x)
    quantize([modules], kind, CPU)
    assert sum(isinstance(layer, QuantizedLinear) for layer in modules.modules()) == count
    left = [layer.weight for layer in modules.modules() if isinstance(layer, nn.Linear)]
    assert all(any(weight is one for one in before) for weight in left)
    torch.testing.assert_close(modules(x), exact, rtol=0, atol=0.15)


@torch.inference_mode()
def test_the_input_is_rounded_in_one_compiled_pass_where_chains_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def compiled(x: Tensor) -> tuple[Tensor, Tensor]:
        passes.append(x.shape)
        return round_rows(x)

    monkeypatch.setattr(quantized, "ROUND", compiled)
    net, x = block_network("fp8"), random(2, 5, 64).bfloat16()
    layer = net.get_submodule("blocks.0.ffn.0")
    expected = layer(x)
    assert not passes
    net.fuse()
    assert torch.equal(layer(x), expected)
    assert passes == [(10, 64)]


def block_network(kind: WeightFormat) -> WanTransformer:
    torch.manual_seed(0)
    net = WanTransformer(WanConfig(dim=64, ffn_dim=96, num_heads=2, num_layers=1, text_dim=16, freq_dim=32)).eval()
    net.quantize(kind, CPU)
    net.place(CPU, torch.bfloat16)
    return net


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_only_matrices_of_blocks_are_in_8_bits_and_stay_so_when_placed(kind: WeightFormat) -> None:
    net = block_network(kind)
    names = {name for name, layer in net.named_modules() if isinstance(layer, QuantizedLinear)}
    attentions = {f"blocks.0.{part}_attn.{side}" for part in ("self", "cross") for side in "qkvo"}
    assert names == attentions | {"blocks.0.ffn.0", "blocks.0.ffn.2"}
    for name in names:
        layer = net.get_submodule(name)
        assert isinstance(layer, QuantizedLinear)
        assert layer.weight.element_size() == 1
        assert layer.scale.dtype is torch.float32
        assert layer.bias is not None
        assert layer.bias.dtype is torch.bfloat16


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@torch.inference_mode()
def test_a_block_in_8_bits_is_compiled_in_one_piece(kind: WeightFormat) -> None:
    net, tokens = block_network(kind), 24
    net.fuse()
    block = net.blocks[0]
    x, time, table = random(1, tokens, 64), random(1, 6, 64), random(tokens, 16, 2)
    context = tuple(random(1, 2, 9, 32).bfloat16() for _ in range(2))
    torch._dynamo.reset()
    _, _, values = before_attention(block, x, time, table)  # type: ignore[arg-type]
    for part, rest in ((before_attention, (time, table)), (after_attention, (values, time, context))):
        found = torch._dynamo.explain(part)(block, x, *rest)
        assert (found.graph_break_count, found.graph_count) == (0, 1)
