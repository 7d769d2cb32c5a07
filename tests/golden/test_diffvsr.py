"""Stream-DiffVSR's own network and warp; no library but torch is needed."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.golden.cases import Case, cases, close, sines
from vrx.networks.diffvsr.autoencoder import TemporalAutoencoder, TemporalConfig
from vrx.networks.diffvsr.warp import warp


def fill_by_formula(network: nn.Module, gain: float) -> Any:
    """The network with the weights that the configs of these cases describe."""
    state = network.state_dict()
    floating = {name: list(value.shape) for name, value in state.items() if value.is_floating_point()}
    network.load_state_dict({**state, **described_weights(floating, gain)})
    return network.eval()


def described_weights(shapes: dict[str, list[int]], gain: float) -> dict[str, Tensor]:
    tensors = {}
    for n, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        v = sines(int(np.prod(shape)), n)
        if name.endswith("mix_factor"):
            v = 2 * v
        elif len(shape) > 1:
            v = gain * (3 / (v.size // shape[0])) ** 0.5 * v
        elif not shape:
            v = 0.5 + 0.3 * v
        else:
            v = (1 if name.endswith((".weight", "running_var")) else 0) + 0.1 * v
        tensors[name] = torch.from_numpy(v.astype(np.float32)).view(shape)
    return tensors


def autoencoder(sizes: dict[str, Any], gain: float) -> TemporalAutoencoder:
    stated = {name: sizes[name] for name in ("latent_channels", "scaling_factor", "latent_magnitude") if name in sizes}
    config = TemporalConfig(channels=sizes["decoder_block_out_channels"][0], **stated)
    return fill_by_formula(TemporalAutoencoder(config), gain)


@pytest.mark.parametrize("case", cases("temporal_tiny_autoencoder"))
@torch.inference_mode()
def test_the_temporal_autoencoder(case: Case) -> None:
    network, io = autoencoder(case.model, case.config["weights"]["gain"]), case.io()
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == case.config["tensors"]
    close(network.encode(io["previous"]), io["encode.latent"], case.tolerance)
    features = network.features(io["previous"])
    for number, feature in enumerate(reversed(features)):
        close(feature, io[f"features.{number}"], case.tolerance)
    close(network.decode(io["latent0"]), io["decode0.video"], case.tolerance)
    close(network.decode(io["latent1"]), io["decode1.plain"], case.tolerance)
    close(network.decode(io["latent1"], features), io["decode1.video"], case.tolerance)


@pytest.mark.parametrize("case", cases("flow_warp"))
def test_the_warp_is_the_published_one(case: Case) -> None:
    io = case.io()
    image, flow = io["image"], io["flow"]
    for mode in ("bilinear", "nearest"):
        close(warp(image, flow, mode), io[mode], case.tolerance)
    still = torch.zeros_like(flow)
    close(warp(image, still), io["zero_flow"], case.tolerance)
    close(warp(torch.ones_like(io["ones_zero_flow"]), still[:1]), io["ones_zero_flow"], case.tolerance)


@pytest.mark.parametrize("case", cases("stream_diffvsr"))
@torch.inference_mode()
def test_frames_but_for_the_denoiser(case: Case) -> None:
    """Every part of a stream that is ours, given what the denoiser predicted."""
    config, io = case.config, case.io()
    network = autoencoder(config["autoencoder"], config["weights"]["gain"]["autoencoder"])
    frames = io["frames"].permute(0, 3, 1, 2).float() / 127.5 - 1
    close(F.interpolate(frames, scale_factor=4, mode="bicubic"), io["upscaled"], case.tolerance)
    for number in range(len(frames)):
        features = None
        if number:
            warped = warp(io["decoded"][number - 1][None], io["flows"][number - 1][None])
            close(warped[0], io["warped"][number - 1], case.tolerance)
            features = network.features(warped)
        latent = io["latents"][number, -1][None] / network.scaling_factor
        close(network.decode(latent, features)[0], io["decoded"][number], case.tolerance)
