"""Channels last stays channels last between convolutions: no map is turned and turned back."""

import pytest
import torch
from torch import Tensor, nn

from vrx.networks.causal_conv import CausalConv3d, ConvCache, join
from vrx.networks.taehv import ConditionalConfig, ConditionalDecoder, TinyAutoencoder, TinyConfig, grown_first

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def watched(network: nn.Module, turned: list[str]) -> None:
    """Store kernels channels last, and note convolutions whose input is not."""

    def note(name: str) -> None:
        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if not inputs[0].is_contiguous(memory_format=LAYOUTS[inputs[0].ndim]):
                turned.append(name)

        network.get_submodule(name).register_forward_pre_hook(look)

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            module.weight.data = module.weight.contiguous(memory_format=LAYOUTS[module.weight.ndim])
            note(name)


@torch.inference_mode()
def test_tahv_decodes_without_turning_maps() -> None:
    turned: list[str] = []
    network = TinyAutoencoder(TinyConfig(decoder_widths=(32, 32, 16, 16)))
    watched(network, turned)
    cache = ConvCache(inplace=True)
    for _ in range(2):
        network.decode_step(torch.rand(1, 2, 16, 8, 8), cache)
    assert turned == ["decoder.1"] * 2  # the latents themselves


@torch.inference_mode()
def test_the_conditional_decoder_does_not_turn_them_either() -> None:
    turned: list[str] = []
    network = ConditionalDecoder(ConditionalConfig(channels=(32, 32, 16, 16)))
    watched(network, turned)
    network.decode_step(torch.rand(1, 2, 16, 8, 8), torch.rand(1, 3, 5, 64, 64), ConvCache(inplace=True))
    assert turned == ["decoder.1"]


@torch.inference_mode()
def test_growing_before_enlarging_changes_nothing() -> None:
    torch.manual_seed(0)
    layers = TinyAutoencoder(TinyConfig(decoder_widths=(32, 32, 16, 16))).decoder
    ordered = grown_first(layers)
    assert sorted(map(id, ordered)) == sorted(map(id, layers))
    place = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.Upsample))
    enlarge, grow = layers[place], layers[place + 1]
    assert ordered[place : place + 2] == [grow, enlarge]
    x = torch.rand(2, 3, 32, 4, 6)

    def enlarged(x: Tensor) -> Tensor:
        return enlarge(x.flatten(0, 1)).unflatten(0, (2, -1))

    torch.testing.assert_close(enlarged(grow(x)), grow(enlarged(x)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@torch.inference_mode()
def test_frames_before_are_joined_in_the_layout_of_those_after(layout: torch.memory_format) -> None:
    before = torch.rand(2, 3, 2, 4, 5)
    x = torch.rand(2, 3, 4, 4, 5).contiguous(memory_format=layout)
    both = join(before, x)
    assert torch.equal(both, torch.cat([before, x], 2))
    assert both.is_contiguous(memory_format=layout)


@torch.inference_mode()
def test_a_causal_convolution_takes_and_gives_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    layer = CausalConv3d(16, 16, 3)
    layer.key, cache = "layer", ConvCache(inplace=True)
    whole = torch.rand(1, 16, 5, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    expected = layer(whole)
    forward = layer._conv_forward

    def noted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(x)
        return forward(x, weight, bias)

    monkeypatch.setattr(layer, "_conv_forward", noted)
    out = torch.cat([layer(whole[:, :, :1], cache), layer(whole[:, :, 1:], cache)], 2)
    torch.testing.assert_close(out, expected)
    assert all(x.is_contiguous(memory_format=torch.channels_last_3d) for x in seen)
    assert torch.equal(cache.store["layer"], whole[:, :, -2:])
