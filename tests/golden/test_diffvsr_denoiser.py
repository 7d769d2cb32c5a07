"""Stream-DiffVSR's denoiser, which is diffusers': frames through the whole procedure."""

from typing import Any

import pytest
import torch

from tests.golden.cases import Case, cases, close
from tests.golden.test_diffvsr import autoencoder, fill_by_formula
from vrx.models.streamdiffvsr import Networks
from vrx.networks.diffvsr.schedule import ddim_steps
from vrx.networks.diffvsr.unet import ControlConfig, ControlNet, Unet, UnetConfig
from vrx.networks.diffvsr.warp import warp

pytest.importorskip("diffusers", reason='needs pip install "vrx[diffusers]"')


@pytest.mark.parametrize("case", cases("stream_diffvsr"))
@torch.inference_mode()
def test_frames_with_the_denoiser(case: Case) -> None:
    config, io = case.config, case.io()
    gains = config["weights"]["gain"]
    network = autoencoder(config["autoencoder"], gains["autoencoder"])
    unet = fill_by_formula(Unet(UnetConfig(**sizes(config["unet"]))), gains["unet"])
    control = fill_by_formula(ControlNet(ControlConfig(**sizes(config["controlnet"]))), gains["controlnet"])
    rows, previous = io["prompt_embeds"], None
    networks = Networks(unet, control, network, rows)
    frames = io["frames"].permute(0, 3, 1, 2).float() / 127.5 - 1
    for number, frame in enumerate(frames):
        latent, residuals = io["noise"][number][None], None
        warped = None if previous is None else warp(previous, io["flows"][number - 1][None])
        for k, step in enumerate(ddim_steps(config["steps"])):
            sample = torch.cat([latent, frame[None]], 1)
            if warped is not None:
                residuals = control.control(sample, step.timestep, rows, warped)
                if (number, k) == (1, 0):
                    for place, residual in enumerate(residuals[0]):
                        close(residual, io[f"controlnet.frame1.step0.down.{place}"], case.tolerance)
                    close(residuals[1], io["controlnet.frame1.step0.mid"], case.tolerance)
            v = unet.denoise(sample, step.timestep, rows, residuals)
            close(v[0], io["v"][number, k], case.tolerance)
            latent = step.advance(latent, v)
        restored = networks.restore(frame[None], io["noise"][number][None], warped)
        previous = network.decode(latent, None if warped is None else network.features(warped))
        close(previous[0], io["decoded"][number], case.tolerance)
        close(restored, previous, 1e-6)  # the model's own loop does the same


def sizes(table: dict[str, Any]) -> dict[str, Any]:
    """Sizes as the configs have them: lists as tuples, without what is no size of ours."""
    return {n: tuple(v) if isinstance(v, list) else v for n, v in table.items() if n != "sample_size"}
