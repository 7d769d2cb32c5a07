"""Which number type a processor gets."""

import threading

import cv2
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


def test_threads_are_limited_in_threads_that_begin_meanwhile_and_only_then() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    found = []
    with devices.limit_threads(1):
        worker = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        worker.start()
        worker.join()
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    assert found == [1]
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    with devices.limit_threads(None):
        assert (torch.get_num_threads(), cv2.getNumThreads()) == before
