"""Inf does not pass for white: it is NaN in what networks give, by which a run notices it."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.models import small
from vrx.models.autoencoders import LEAN_RANGE, LeanVideoAutoencoder, decode_one_by_one
from vrx.models.layouts import to_frames
from vrx.models.recavsr.decoding import GeneratedChunk, restore
from vrx.networks.causal_conv import ConvCache
from vrx.networks.overflow import clamp_finite, clamp_to_unit, overflow_mark
from vrx.networks.swiftvr.autoencoder import Reae, ReaeConfig
from vrx.networks.taehv import Limit

INF = float("inf")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_limit_keeps_what_is_finite_and_shows_what_is_not(dtype: torch.dtype) -> None:
    x = torch.tensor([[-1.0, 0.25, 3.0, 60_000.0], [60_000.0] * 4]).to(dtype)  # whose sum no float16 holds
    assert torch.equal(clamp_to_unit(x.clone()), x.clamp(0, 1))
    assert float(overflow_mark(x)) == 0
    for value in (INF, -INF, float("nan")):
        x[1, 2] = value
        assert clamp_to_unit(x.clone()).isnan().all()
    x[1, 2] = 0
    assert torch.equal(clamp_finite(x.clone(), -0.5, 2), x.clamp(-0.5, 2))


def test_frames_of_a_video_that_overflowed_are_not_white() -> None:
    video = torch.zeros(1, 3, 2, 4, 4)
    video[0, 1, 1, 2, 2] = INF
    assert not torch.isfinite(to_frames(video).sum())


def overflowed(*_: object) -> tuple[Tensor, ConvCache]:
    """Of a decoder in its last layer."""
    video = torch.zeros(1, 3, 1, 4, 4)
    video[..., 0, 0] = INF
    return video, ConvCache()


def test_autoencoders_show_what_overflowed_in_their_last_layer() -> None:
    latents, cache = torch.zeros(1, 16, 2, 1, 1), ConvCache()
    assert not torch.isfinite(decode_one_by_one(overflowed, latents, cache)[0].sum())

    class Network:
        latent_bottleneck = torch.nn.Module()
        decode_step = staticmethod(overflowed)

    Network.latent_bottleneck.phi = torch.zeros(1)
    lean = LeanVideoAutoencoder(cast(Any, Network()))
    assert not torch.isfinite(lean.decode_step(latents, cache)[0].sum())
    Network.decode_step = staticmethod(lambda *_: (torch.tensor([-3.0, LEAN_RANGE / 2]), cache))
    assert lean.decode_step(latents, cache)[0].tolist() == [-1, 0.5]


@pytest.mark.parametrize("color", ["auto", "adain", "wavelet"])
def test_recavsr_shows_what_overflowed_in_every_color(color: str) -> None:
    chunk = GeneratedChunk(torch.zeros(1, 48, 1, 1, 1), torch.zeros(1, 3, 1, 4, 4), torch.zeros(1, 3, 2, 2))
    assert not torch.isfinite(restore(chunk, (4, 4), color, [overflowed()[0]]).frames.sum())


def test_latents_that_overflowed_do_not_vanish_in_the_decoder_s_limit() -> None:
    x = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(Limit()(x), 3 * torch.tanh(x / 3))
    x[0, 0, 0, 0] = -INF
    assert not torch.isfinite(Limit()(x)).any()


@torch.inference_mode()
@pytest.mark.parametrize("layer", ["decoder.20", "decoder.22"])
def test_swiftvr_s_decoder_shows_what_overflowed_in_its_last_layers(layer: str) -> None:
    net = Reae(ReaeConfig(encoder_width=6, decoder_widths=(12, 8, 8, 6))).eval()
    net.load_state_dict(small.random_weights(net))

    def overflow(_: object, __: object, out: Tensor) -> Tensor:
        out = out.clone()
        out[(0,) * out.ndim] = INF
        return out

    latents = torch.randn(1, 2, 48, 2, 2)
    assert torch.isfinite(net.decode_step(latents, ConvCache())[0]).all()
    net.get_submodule(layer).register_forward_hook(overflow)
    assert not torch.isfinite(net.decode_step(latents, ConvCache())[0].sum())
