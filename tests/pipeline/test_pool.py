"""The models of a batch: selected and loaded once, dropped after a failure."""

from pathlib import Path

import pytest

from vrx.models.family import BuildRequest, LoadedModel
from vrx.models.loader import load_model
from vrx.pipeline import pool
from vrx.pipeline.pool import ModelPool
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights.catalogue import Entry
from vrx.weights.download import Downloader

CPU = ModelSettings(device="cpu", dtype="fp32")
X2 = RestoreSettings(task=Task.UPSCALE, scale=2)
DEBLUR = RestoreSettings(task=Task.DEBLUR)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def load(entry: Entry, request: BuildRequest) -> LoadedModel:
        found.append(entry.name)
        return load_model(entry, request)

    monkeypatch.setattr(pool, "load_model", load)
    return found


def test_a_model_is_loaded_once_for_all_its_tasks(loads: list[str]) -> None:
    models, downloader = ModelPool(), Downloader(models=Path("none"), offline=True, notify=print)
    assert models.select(CPU, X2).entry.name == "embedded"
    assert models.restorer(CPU, X2, downloader).scale == 2
    assert models.restorer(CPU, DEBLUR, downloader).scale == 1
    assert loads == ["embedded"]
    models.drop()
    models.restorer(CPU, X2, downloader)
    assert loads == ["embedded"] * 2


def test_other_settings_load_anew_and_make_room_first(loads: list[str]) -> None:
    models, downloader = ModelPool(), Downloader(models=Path("none"), offline=True, notify=print)
    models.restorer(CPU, X2, downloader)
    models.restorer(ModelSettings(device="cpu", dtype="bf16"), X2, downloader)
    models.restorer(CPU, X2, downloader)
    assert loads == ["embedded"] * 3
