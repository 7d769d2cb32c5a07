"""SATB-VR's stage against a whole run of its release: pixels to pixels, with the recorded noise."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.extras import needs_extra
from tests.golden import test_satbvr as networks
from tests.golden.cases import Case, cases, close
from tests.golden.test_diffvsr import fill_by_formula
from tests.golden.test_satbvr_autoencoder import autoencoder, enlarged
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.layouts import to_frames, to_video
from vrx.models.satbvr.memory import Memory
from vrx.models.satbvr.stage import Options, Restore, RestoreState
from vrx.networks.satbvr.backbone import BackboneConfig, Transformer
from vrx.networks.satbvr.sampler import Prompts, Sampler
from vrx.networks.satbvr.solver import Schedule

pytestmark = needs_extra
CPU = torch.device("cpu")


@pytest.mark.parametrize("case", [case for case in cases("satb_pipeline") if not case.values[0].config["tiling"]])
@torch.inference_mode()
def test_a_scene_of_one_window_is_that_of_the_release(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    io, config = case.io(), BackboneConfig(**networks.sizes(case))
    network, predictor = fill_by_formula(networks.denoiser(config), networks.gain(case)), networks.denoiser(config)
    predictor.load_state_dict(fill_by_formula(Transformer(config), networks.gain(case)).state_dict(), strict=False)
    monkeypatch.setattr(network, "predict", predictor.predict)  # the case's roles have different bases
    control = networks.control(case)
    sampler = Sampler(
        denoiser=network,
        control=control,
        prompts=Prompts(io["prompt"], io["negative"]),
        schedule=Schedule.from_config(case.config["scheduler"]),
        steps=case.config["steps"],
        guidance=case.config["guidance_scale"],
    )
    options = Options(scale=1, seed=0, color="none")
    stage = Restore(autoencoder(case.config), sampler, options, Memory(network, control, CPU))
    recorded, posterior = networks.replay(io), [io["posterior.noise"]]

    def draw(state: Any, shape: torch.Size) -> Tensor:
        return posterior.pop().view(shape) if posterior else recorded(shape)

    monkeypatch.setattr(RestoreState, "draw", draw)
    monkeypatch.setattr(stage, "_enlarge", lambda frames, state: to_video(frames))  # the case is not clipped here
    frames = (enlarged(io["video"])[0].transpose(0, 1) + 1) / 2
    size = (frames.shape[-2], frames.shape[-1])
    restored, state = stage.step(DeviceChunk(frames), stage.start(SceneStart(0, size, size)))
    shown = case.config.get("decoded_frames", list(range(len(frames))))
    close(restored.frames[shown], to_frames(io["decoded"]), case.tolerance)
    assert state.restored is not None
    close(state.restored, io["latent"][:, -3:], case.tolerance)
