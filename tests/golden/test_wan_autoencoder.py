from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.golden.cases import Case, cases, close, filled
from vrx.networks.causal_conv import ConvCache
from vrx.networks.wan.autoencoder import WanAutoencoder, WanAutoencoderConfig

pytestmark = pytest.mark.parametrize("case", cases("wan_vae"))
Step = Callable[[Tensor, ConvCache], tuple[Tensor, ConvCache]]
ENCODE = {"whole": (999, 999), "release": (1, 4), "long": (9, 8), "longer": (5, 12)}
DECODE = {"whole": (999, 999), "release": (1, 1), "long": (3, 2), "longer": (1, 3)}


def network(case: Case) -> WanAutoencoder:
    config = WanAutoencoderConfig(**case.model)
    return filled(WanAutoencoder(config, case.config["latents_mean"], case.config["latents_std"]), case.weights())


def streamed(step: Step, x: Tensor, first: int, after: int) -> Tensor:
    out, cache = step(x[:, :, :first], ConvCache())
    parts = [out]
    for begin in range(first, x.shape[2], after):
        out, cache = step(x[:, :, begin : begin + after], cache)
        parts.append(out)
    return torch.cat(parts, 2)


@pytest.mark.parametrize("sizes", ENCODE.values(), ids=ENCODE)
@torch.inference_mode()
def test_encoding(case: Case, sizes: tuple[int, int]) -> None:
    net, io = network(case), case.io()
    close(streamed(net.encode_step, io["video"], *sizes), io["encode.latent"], case.tolerance)


@torch.inference_mode()
def test_moments(case: Case) -> None:
    net, io = network(case), case.io()
    moments = net.moments(io["video"], ConvCache())
    close(moments.chunk(2, 1)[0], io["encode.mean"], case.tolerance)
    if "encode.moments" in io:
        close(moments, io["encode.moments"], case.tolerance)


@pytest.mark.parametrize("sizes", DECODE.values(), ids=DECODE)
@torch.inference_mode()
def test_decoding(case: Case, sizes: tuple[int, int]) -> None:
    net, io = network(case), case.io()
    close(streamed(net.decode_step, io["latent"], *sizes), io["decode.video"], case.tolerance)


@torch.inference_mode()
def test_decoding_latents_as_they_are(case: Case) -> None:
    net, io = network(case), case.io()
    close(net.decode_raw(io["latent"], ConvCache()), io["decode.raw"], case.tolerance)


@torch.inference_mode()
def test_a_step_leaves_the_old_state_good(case: Case) -> None:
    net, io = network(case), case.io()
    latent = io["latent"][:, :, :1]
    _, cache = net.decode_step(latent, ConvCache())
    first, _ = net.decode_step(latent, cache)
    again, _ = net.decode_step(latent, cache)
    assert torch.equal(first, again)
