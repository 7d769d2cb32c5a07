"""Chains compiled into one pass give what they give uncompiled, and run as they are where compiling fails."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vrx.networks import fusion
from vrx.networks.causal_conv import ConvCache
from vrx.networks.fusion import Compiled
from vrx.networks.wan import transformer
from vrx.networks.wan.autoencoder import WanAutoencoder, WanAutoencoderConfig, add_into
from vrx.networks.wan.transformer import WanConfig, WanTransformer


def doubled(x: Tensor) -> Tensor:
    return x * 2


def backend(fails: type[Exception] | None, graphs: list[int]) -> Callable[..., object]:
    def build(module: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        graphs.append(len(graphs))
        if fails is not None:
            raise fails("Failed to find C compiler\nsecond line")
        return module.forward

    return build


def compiled(function: Callable[..., object], build: Callable[..., object]) -> Compiled:
    torch._dynamo.reset()
    return Compiled(function, backend=build)  # type: ignore[arg-type]


@torch.inference_mode()
def test_one_compilation_serves_every_number_of_rows() -> None:
    graphs: list[int] = []
    double = compiled(doubled, backend(None, graphs))
    for rows in (3, 7, 40):
        x = torch.rand(rows, 8)
        assert torch.equal(double(x), x * 2)
    assert len(graphs) == 1
    double(torch.rand(3, 16))
    assert len(graphs) == 2


@torch.inference_mode()
def test_a_compiler_that_fails_is_asked_once() -> None:
    fusion.take_failures()
    graphs: list[int] = []
    double = compiled(doubled, backend(RuntimeError, graphs))
    x = torch.rand(3, 8)
    assert torch.equal(double(x), x * 2)
    assert torch.equal(double(x), x * 2)
    assert len(graphs) == 1
    (told,) = fusion.take_failures()
    assert told.code == "not-compiled"
    assert told.text.startswith("doubled runs uncompiled: ")
    assert "Failed to find C compiler" in told.text
    assert fusion.take_failures() == []


@torch.inference_mode()
def test_operations_are_counted_uncompiled() -> None:
    graphs: list[int] = []
    product = compiled(lambda x: x @ x.T, backend(None, graphs))
    with FlopCounterMode(display=False) as counter:
        product(torch.rand(3, 8))
    assert counter.get_total_flops() == 2 * 3 * 8 * 3
    assert not graphs


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    ],
    ids=["torch", "cuBLAS", "cuDNN"],
)
@torch.inference_mode()
def test_running_out_of_memory_is_no_reason_to_stop_compiling(error: Exception) -> None:
    def full(x: Tensor) -> Tensor:
        raise error

    double = compiled(doubled, backend(None, []))
    double._compiled = full
    with pytest.raises(type(error)):
        double(torch.rand(3, 8))
    assert not double._fails


def steps(network: WanAutoencoder, dtype: torch.dtype) -> list[Tensor]:
    """Two streamed steps of either direction."""
    generator = torch.Generator().manual_seed(1)
    video = (torch.rand(1, 3, 5, 16, 24, generator=generator) * 2 - 1).to(dtype)
    out, cache = [], ConvCache()
    for part in video.split([1, 4], 2):
        latent, cache = network.encode_step(part, cache)
        out.append(latent)
    cache = ConvCache()
    for part in torch.cat(out, 2).split(1, 2):
        frames, cache = network.decode_step(part, cache)
        out.append(frames)
    return out


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.05)], ids=["float32", "bfloat16"]
)
@torch.inference_mode()
def test_a_fused_autoencoder_gives_what_it_gives_unfused(
    dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def normalize(*tensors: Tensor) -> None:
        passes.append(tensors)
        fusion.normalize_rows(*tensors)

    monkeypatch.setattr(fusion, "normalize", normalize)
    monkeypatch.setattr(fusion, "add", fusion.add_rows)
    torch.manual_seed(0)
    network = WanAutoencoder(WanAutoencoderConfig(dim=16, num_res_blocks=1)).eval()
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.contiguous(memory_format=torch.channels_last_3d)
        elif parameter.ndim == 1:
            parameter.data.normal_(std=0.1)
    network.to(dtype)
    expected = steps(network, dtype)
    assert not passes
    network.fuse()
    for found, wanted in zip(steps(network, dtype), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=tolerance, rtol=tolerance)
    assert len(passes) == 2 * (2 * 6 + 1 + 2 * 10 + 1)  # two steps: two norms a block, one a head


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@torch.inference_mode()
def test_a_bias_and_a_shortcut_are_added_in_one_pass(
    layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion, "add", fusion.add_rows)
    y, x = (torch.rand(1, 8, 2, 3, 4).contiguous(memory_format=layout) for _ in range(2))
    bias, expected = torch.rand(8), y + x
    assert torch.equal(add_into(y.clone(), None, x), expected)
    found = add_into(y, bias, x)
    assert found is y
    torch.testing.assert_close(found, expected + bias.view(-1, 1, 1, 1))


@torch.inference_mode()
def test_blocks_of_a_transformer_are_compiled_once_and_give_what_they_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[int] = []
    torch._dynamo.reset()
    for name, function, rows in (
        ("BEFORE", transformer.before_attention, (None, 1, None, 0)),
        ("AFTER", transformer.after_attention, (None, 1, 2, None, None)),
    ):
        assert getattr(transformer, name)._rows == rows
        monkeypatch.setattr(transformer, name, Compiled(function, backend(None, graphs), rows))  # type: ignore[arg-type]
    torch.manual_seed(0)
    config = WanConfig(dim=48, ffn_dim=64, num_layers=3, num_heads=2, freq_dim=32, text_dim=24)
    network = WanTransformer(config).eval()
    conditions = network.conditions(399.0, torch.randn(1, 8, 24), pad=False)
    latents = [torch.randn(1, 16, frames, *size) for size in ((4, 6), (8, 6)) for frames in (3, 3, 2)]

    def streamed() -> list[Tensor]:
        caches = [network.allocate(*size, 3, 3) for size in ((4, 6), (8, 6))]
        return [network.step(latent, conditions, caches[number // 3]) for number, latent in enumerate(latents)]

    expected = streamed()
    assert not graphs
    network.compile_layers()
    for found, wanted in zip(streamed(), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-6, rtol=2e-6)
    assert len(graphs) == 2  # for three blocks, three lengths and two sizes
    assert not transformer.BEFORE._fails
    assert not transformer.AFTER._fails


@pytest.mark.skipif(not os.environ.get("VRX_TEST_COMPILER"), reason="compiling takes a minute: VRX_TEST_COMPILER=1")
@torch.inference_mode()
def test_the_compiler_of_a_processor_gives_what_the_networks_give_uncompiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the compiler that --compile on takes there: in float32 within 1e-4."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    torch.manual_seed(0)
    config = WanConfig(dim=48, ffn_dim=64, num_layers=1, num_heads=2, freq_dim=32, text_dim=24)
    network = WanTransformer(config).eval()
    conditions = network.conditions(399.0, torch.randn(1, 8, 24), pad=False)
    latent, results = torch.randn(1, 16, 3, 8, 8), []
    monkeypatch.setattr(transformer, "BEFORE", Compiled(transformer.before_attention, rows=(None, 1, None, 0)))
    monkeypatch.setattr(transformer, "AFTER", Compiled(transformer.after_attention, rows=(None, 1, 2, None, None)))
    fusion.take_failures()
    with warnings.catch_warnings(action="ignore"):  # of the compiler's own parts
        for _ in range(2):
            results.append(network.step(latent, conditions, network.allocate(8, 8, 3, 3)))
            network.compile_layers()
    assert fusion.take_failures() == []
    assert any(tmp_path.iterdir())
    assert not torch.equal(*results)  # it did compile: sums are rounded elsewhere
    torch.testing.assert_close(*results, atol=1e-4, rtol=0)
