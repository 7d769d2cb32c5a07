"""Which number type a processor gets."""

import pytest
import torch

from vrx.pipeline import devices
from vrx.pipeline.devices import pick_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("units", "gain", "expected"),
    [
        (True, 0.5, torch.bfloat16),  # believed, however busy the machine is
        (False, 0.4, torch.float32),
        (False, 1.05, torch.float32),
        (False, 1.5, torch.bfloat16),
    ],
)
def test_bf16_is_taken_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, units: bool, gain: float, expected: torch.dtype
) -> None:
    monkeypatch.setattr(devices, "bf16_units", lambda: units)
    monkeypatch.setattr(devices, "bf16_gain", lambda: gain)
    assert pick_dtype("auto", CPU) is expected


def test_an_explicit_type_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "bf16_gain", lambda: pytest.fail("measured"))
    assert pick_dtype("fp32", CPU) is torch.float32
    assert pick_dtype("fp16", CPU) is torch.float16
