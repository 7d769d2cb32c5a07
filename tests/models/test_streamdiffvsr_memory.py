"""Stream-DiffVSR at its published size, on a device without numbers: parameters, and memory by size."""

from collections.abc import Mapping

import pytest
import torch

from tests.extras import needs_extra
from tests.models.alive import Alive
from vrx.bench.random_weights import RandomComponents
from vrx.bench.stages import weights
from vrx.models import streamdiffvsr
from vrx.models.base import AnyStage, DeviceChunk, SceneStart
from vrx.models.family import BuildRequest
from vrx.models.loader import load_model
from vrx.models.registry import FAMILIES
from vrx.models.runner import StageRunner
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

ELSEWHERE = torch.device("meta")


@needs_extra
@torch.inference_mode()
def test_the_full_size_model_takes_no_more_memory_than_is_said() -> None:
    entry, family = (
        catalogue.load_file(catalogue.packaged_path(), FAMILIES)["stream-diffvsr"],
        FAMILIES["stream-diffvsr"],
    )
    with ELSEWHERE:
        parts = [part.network(part.network.CONFIG()) for part in family.components.values() if part.network]
    counts = [sum(p.numel() for p in part.parameters()) for part in parts]
    assert sum(counts) == entry.parameters
    assert counts == [pytest.approx(millions * 1e6, rel=0.005) for millions in (472, 207.7, 2.05, 5.2575, 340)]
    components = RandomComponents.of(entry, family, ELSEWHERE, torch.bfloat16)
    model = load_model(
        entry, BuildRequest(components, ModelSettings(), ELSEWHERE, torch.bfloat16, torch.zeros(1, 77, 1024))
    )
    stages = model.restorer(RestoreSettings(task=Task.UPSCALE, scale=4)).stages
    held = sum(tensor.nbytes for stage in stages.values() for tensor in weights(stage))
    assert held == pytest.approx(streamdiffvsr.WEIGHTS, rel=0.01)
    for width, height in ((640, 360), (1920, 1088), (2560, 1440)):
        most = sum(peaks(stages, width, height).values())
        assert 0.8 < most / (streamdiffvsr.peak_bytes(width, height) - streamdiffvsr.WEIGHTS) <= 1
        assert family.capabilities.footprints[0].minimum(width * height) > held + most


def peaks(stages: Mapping[str, AnyStage], width: int, height: int) -> dict[str, int]:
    """The most bytes that each stage holds while it works on a second frame, inputs and weights not counted."""
    found = {}
    scene = SceneStart(0, (height // 4, width // 4), (height, width))
    runners = {name: StageRunner(stage) for name, stage in stages.items()}
    for number in range(2):
        value: object = DeviceChunk(torch.empty(1, 3, *scene.source, device="meta"))
        for name, runner in runners.items():
            if not number:
                runner.start(scene)
            with Alive() as alive:
                value = runner.step(value)
            found[name] = alive.peak
    return found
