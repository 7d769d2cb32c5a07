"""What the list of models says of the device here."""

import pytest
import torch

from vrx.models.registry import FAMILIES
from vrx.pipeline import model_use
from vrx.pipeline.model_use import ModelUse, describe
from vrx.pipeline.select_model import least_entry_memory
from vrx.weights.catalogue import load_all


@pytest.mark.parametrize(
    ("use", "fits"),
    [
        (ModelUse(True, False, 5, 5), True),
        (ModelUse(True, False, 6, 5), False),
        (ModelUse(True, True, 5, 9), False),
        (ModelUse(False, False, 5, 9), False),
        (ModelUse(True, False, None, 9), None),
        (ModelUse(True, False, 5, None), None),
    ],
)
def test_a_model_fits_where_its_memory_is_free(use: ModelUse, fits: bool | None) -> None:
    assert use.fits is fits


def test_a_large_model_is_slow_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = load_all(FAMILIES)
    monkeypatch.setattr(model_use, "free_of", lambda device: 7 if device.type == "cuda" else 3)
    found = {}
    for name in ("cpu", "cuda"):
        monkeypatch.setattr(model_use, "pick_device", lambda _, name=name: torch.device(name))
        found[name] = describe(entries["infvsr"])
    assert found["cpu"] == ModelUse(True, True, least_entry_memory(entries["infvsr"], 1280 * 720, processor=True), 3)
    on_gpu = least_entry_memory(entries["infvsr"], 1280 * 720)
    assert found["cuda"] == ModelUse(True, False, on_gpu, 7)
    assert not describe(entries["embedded"]).slow
