"""What Stream-DiffVSR takes from other libraries, and frames through the whole procedure, streamed and whole."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.extras import needs_extra
from tests.golden.cases import Case, cases, close
from tests.golden.test_diffvsr import autoencoder, fill_by_formula
from vrx.models.base import SceneStart
from vrx.models.streamdiffvsr import MotionChunk, Networks, Restore, RestoreState
from vrx.networks.diffvsr.raft import Raft, RaftConfig
from vrx.networks.diffvsr.schedule import Schedule
from vrx.networks.diffvsr.text import TextConfig, TextEncoder
from vrx.networks.diffvsr.unet import BackboneConfig, ControlConfig, ControlNet, Unet, UnetConfig
from vrx.networks.diffvsr.warp import warp

pytestmark = needs_extra


@pytest.mark.parametrize("case", cases("ddim"))
def test_the_schedule(case: Case) -> None:
    io = case.io()
    for count, rows in case.config["runs"].items():
        schedule, sample = Schedule(int(count), case.config["scheduler"]), io[f"s{count}.start"]
        assert schedule.timesteps == tuple(row["timestep"] for row in rows)
        for k, timestep in enumerate(schedule.timesteps):
            sample = schedule.advance(sample, timestep, scripted(sample, timestep, k))
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
    assert network.library.corr_block.corr_pyramid == []  # gigabytes, which the library would keep


@pytest.mark.parametrize("case", cases("clip_text_empty"))
@torch.inference_mode()
def test_the_rows_of_the_empty_prompt(case: Case) -> None:
    for activation, expected in case.io().items():
        network = TextEncoder(TextConfig(**case.model, hidden_act=activation))
        close(fill_by_formula(network, case.config["weights"]["gain"]).embed_empty(), expected, case.tolerance)


def networks(case: Case) -> Networks:
    """All but the optical flow, filled and guided."""
    config, gains = case.config, case.config["weights"]["gain"]
    unet = fill_by_formula(Unet(UnetConfig(**sizes(UnetConfig, config["unet"]))), gains["unet"])
    control = fill_by_formula(
        ControlNet(ControlConfig(**sizes(ControlConfig, config["controlnet"]))), gains["controlnet"]
    )
    for network in (unet, control):
        network.guide(case.io()["prompt_embeds"])
    tiny = autoencoder(config["autoencoder"], gains["autoencoder"])
    return Networks(unet, control, tiny, Schedule(config["steps"], config["scheduler"]))


def sizes(kind: type[BackboneConfig], table: dict[str, Any]) -> dict[str, Any]:
    """Sizes as the configs have them: lists as tuples, those that are none of ours for the library."""
    stated = {n: tuple(v) if isinstance(v, list) else v for n, v in table.items()}
    known = {item.name for item in fields(kind)}
    others = {n: v for n, v in stated.items() if n not in known}
    return {**{n: v for n, v in stated.items() if n in known}, "others": others}


@pytest.mark.parametrize("case", cases("stream_diffvsr"))
@torch.inference_mode()
def test_every_step_of_every_frame(case: Case) -> None:
    io, parts = case.io(), networks(case)
    previous: Tensor | None = None
    frames = io["frames"].permute(0, 3, 1, 2).float() / 127.5 - 1
    for number, frame in enumerate(frames):
        latent, residuals = io["noise"][number][None], None
        warped = None if previous is None else warp(previous, io["flows"][number - 1][None])
        for k, timestep in enumerate(parts.schedule.timesteps):
            sample = torch.cat([latent, frame[None]], 1)
            if warped is not None:
                residuals = parts.control.control(sample, timestep, warped)
                if (number, k) == (1, 0):
                    for place, residual in enumerate(residuals[0]):
                        close(residual, io[f"controlnet.frame1.step0.down.{place}"], case.tolerance)
                    close(residuals[1], io["controlnet.frame1.step0.mid"], case.tolerance)
            v = parts.unet.denoise(sample, timestep, residuals)
            close(v[0], io["v"][number, k], case.tolerance)
            latent = parts.schedule.advance(latent, timestep, v)
            close(latent[0], io["latents"][number, k], case.tolerance)
        features = None if warped is None else parts.autoencoder.features(warped)
        previous = parts.autoencoder.decode(latent / parts.autoencoder.scaling_factor, features)
        close(previous[0], io["decoded"][number], case.tolerance)


class Given(Restore):
    """The stage with a case's noise in place of a generator's."""

    noises: Sequence[Tensor]

    def noise(self, frame: Tensor, state: RestoreState) -> Tensor:
        noise, *self.noises = self.noises
        return noise[None]


@pytest.mark.parametrize("case", cases("stream_diffvsr"))
@pytest.mark.parametrize("length", [1, 2, None])
@torch.inference_mode()
def test_a_stream_in_chunks_of_any_length(case: Case, length: int | None) -> None:
    io = case.io()
    stage = Given(networks(case), 4, 0)
    stage.noises = list(io["noise"])
    frames = io["frames"].permute(0, 3, 1, 2).float() / 127.5 - 1
    height, width = frames.shape[-2:]
    state, found = stage.start(SceneStart(0, (height, width), (4 * height, 4 * width))), []
    flows = [None, *(flow[None] for flow in io["flows"])]
    for begin in range(0, len(frames), length or len(frames)):
        end = begin + (length or len(frames))
        chunk, state = stage.step(MotionChunk(frames[begin:end], tuple(flows[begin:end])), state)
        found.append(chunk.frames)
    assert state.previous is not None
    close(state.previous[0], io["decoded"][-1], case.tolerance)
    close((torch.cat(found) * 255).permute(0, 2, 3, 1).round(), io["output"].float(), 1)
    close(torch.cat(found), (io["decoded"] / 2 + 0.5).clamp(0, 1), case.tolerance)
