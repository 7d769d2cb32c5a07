"""Weights in fp8 at the published sizes, on a device without numbers: what they spare is what footprints state."""

from pathlib import Path

import pytest
import torch

from tests.models.test_wan22_memory import ELSEWHERE, held
from vrx.bench.random_weights import RandomComponents, random_context
from vrx.models.family import BuildRequest
from vrx.models.footprint import Linear
from vrx.models.loader import load_model
from vrx.models.registry import FAMILIES
from vrx.networks.quantized import WeightFormat
from vrx.settings import Decoder, ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue


@pytest.mark.parametrize(("name", "decoder"), [("flashvsr", "auto"), ("instantvir-inpaint-lean", "auto")])
@torch.inference_mode()
def test_footprints_in_fp8_are_less_by_the_weights(name: str, decoder: Decoder) -> None:
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)[name]
    family = FAMILIES[entry.family]

    def bytes_in(kind: WeightFormat | None) -> int:
        components = RandomComponents.of(entry, family, ELSEWHERE, torch.bfloat16)
        settings = ModelSettings(decoder=decoder)
        request = BuildRequest(
            components, settings, ELSEWHERE, torch.bfloat16, random_context(family), 1 << 40, quantized=kind
        )
        task = Task(entry.tasks[0])
        scale = 4 if task is Task.UPSCALE else 1
        mask = None if task is Task.UPSCALE else Path("none")
        return held(load_model(entry, request).restorer(RestoreSettings(task=task, scale=scale, mask=mask)))

    footprint = family.footprint(entry, decoder)
    assert footprint is not None
    assert isinstance(footprint.whole, Linear)
    assert footprint.quantized is not None
    spared = bytes_in(None) - bytes_in("fp8")
    assert 0.95 < (footprint.whole.fixed - footprint.quantized.fixed) / spared <= 1
    assert 0 < footprint.quantized.per_pixel - footprint.whole.per_pixel < 300
