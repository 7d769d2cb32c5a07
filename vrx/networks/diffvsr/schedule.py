"""The few steps of denoising: diffusers' DDIM scheduler, without noise, set up by the config that is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vrx.networks.libraries import construct, load

PUBLISHED: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,  # not Stable Diffusion's
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,  # the last step leaves the noise of training step 0
    "steps_offset": 1,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}
MOST_STEPS = 100_000  # of training, in a table


class Schedule:
    """Steps from noise to a clean latent; it holds no state of a video.

    `timesteps`: what the network is told at each step.  Raises ImportError without diffusers, ValueError and
    others of `CONFIG_ERRORS` for a config that cannot be.
    """

    def __init__(self, steps: int, config: Mapping[str, Any] = PUBLISHED) -> None:
        trained = config.get("num_train_timesteps", MOST_STEPS)
        if not isinstance(trained, int) or not steps <= trained <= MOST_STEPS:
            raise ValueError(f"num_train_timesteps is {trained!r}")
        self._library = construct(load("diffusers", "DDIMScheduler"), config)
        self._library.set_timesteps(steps)
        self.timesteps: tuple[int, ...] = tuple(self._library.timesteps.tolist())

    def advance(self, sample: Tensor, timestep: int, prediction: Tensor) -> Tensor:
        """The sample after a step, from what the network predicted for it."""
        found: Tensor = self._library.step(prediction, timestep, sample, return_dict=False)[0]
        return found
