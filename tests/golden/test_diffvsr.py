"""Stream-DiffVSR's own networks and arithmetic; no library but torch is needed."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.golden.cases import Case, cases, close, sines
from vrx.networks.diffvsr.autoencoder import TemporalAutoencoder, TemporalConfig
from vrx.networks.diffvsr.raft import Raft, RaftConfig
from vrx.networks.diffvsr.schedule import alphas_cumprod, ddim_steps
from vrx.networks.diffvsr.text import TextConfig, TextEncoder
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
    config = TemporalConfig(channels=sizes["decoder_block_out_channels"][0], latent_channels=sizes["latent_channels"])
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


@pytest.mark.parametrize("case", cases("ddim"))
def test_the_schedule(case: Case) -> None:
    io = case.io()
    close(alphas_cumprod(), io["alphas_cumprod"], 1e-6)
    for count, rows in case.config["runs"].items():
        sample = io[f"s{count}.start"]
        for k, (step, row) in enumerate(zip(ddim_steps(int(count)), rows, strict=True)):
            assert step.timestep == row["timestep"]
            assert step.alpha == pytest.approx(row["alpha_bar"], abs=1e-6)
            assert step.next_alpha == pytest.approx(row["alpha_bar_previous"], abs=1e-6)
            v = scripted(sample, step.timestep, k)
            close(step.clean(sample, v), io[f"s{count}.x0"][k], case.tolerance)
            sample = step.advance(sample, v)
            close(sample, io[f"s{count}.samples"][k], case.tolerance)


def scripted(x: Tensor, t: int, k: int) -> Tensor:
    """The denoiser of the case, which its config describes."""
    return 0.35 * x - 0.2 * x.roll(1, -1) + 0.1 * torch.tanh(x.flip(-2)) + 0.05 * np.cos(t / 100) + 0.02 * k


@pytest.mark.parametrize("case", cases("raft_large"))
@torch.inference_mode()
def test_the_optical_flow(case: Case) -> None:
    network, io = fill_by_formula(Raft(RaftConfig()), case.config["weights"]["gain"]), case.io()
    assert sum(p.numel() for p in network.parameters()) == case.config["parameters"]
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    assert len(names) == case.config["tensors_count"]
    current, previous = io["current"].float(), io["previous"].float()
    close(network.flow(current, previous, 1), io["flow.first"], case.tolerance)
    close(network.flow(current, previous), io["flow.last"], case.tolerance)


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
        latent = io["noise"][number][None]
        for k, step in enumerate(ddim_steps(config["steps"])):
            latent = step.advance(latent, io["v"][number, k][None])
            close(latent[0], io["latents"][number, k], case.tolerance)
        close(network.decode(latent, features)[0], io["decoded"][number], case.tolerance)


@pytest.mark.parametrize("case", cases("clip_text_empty"))
@torch.inference_mode()
def test_the_rows_of_the_empty_prompt(case: Case) -> None:
    for activation, expected in case.io().items():
        network = TextEncoder(TextConfig(**case.model, hidden_act=activation))
        close(fill_by_formula(network, case.config["weights"]["gain"]).embed_empty(), expected, case.tolerance)
