"""The systems on Wan 2.1 at their published sizes, on a device without numbers: memory by size, as it is stated."""

from pathlib import Path

import pytest
import torch

from tests.models.alive import Alive
from tests.models.test_wan22_memory import ELSEWHERE, attention, held, parts_of
from vrx.bench.random_weights import RandomComponents, random_context
from vrx.models import infvsr
from vrx.models.base import DeviceChunk, Restorer, SceneStart
from vrx.models.family import BuildRequest
from vrx.models.loader import load_model
from vrx.models.registry import FAMILIES
from vrx.models.runner import StageRunner
from vrx.networks import fusion
from vrx.networks.flashvsr import attention as sparse
from vrx.networks.published import PublishedNetwork
from vrx.settings import Decoder, ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

__all__ = ["attention"]  # a fixture


@pytest.mark.parametrize(
    ("name", "decoder", "size", "chunks"),
    [
        ("infvsr", "tiny", (1280, 720), 2),
        ("instantvir-inpaint", "auto", (1280, 720), 7),  # a cache of seven chunks
        ("instantvir-inpaint-lean", "auto", (1280, 720), 7),
        ("flashvsr", "auto", (1920, 1088), 2),
        ("flashvsr", "full", (1280, 720), 2),
    ],
)
@torch.inference_mode()
def test_what_full_size_networks_hold_is_what_is_stated(
    name: str, decoder: Decoder, size: tuple[int, int], chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All stages at their peaks at once, which is up to a sixth more than a GPU was measured to take."""
    for kernel in ("normalize", "add"):  # one pass each, as on a GPU
        monkeypatch.setattr(fusion, kernel, lambda *_: None)
    monkeypatch.setattr(infvsr, "content_change", lambda *_: 0.0)  # asks for a number
    monkeypatch.setattr(sparse, "attend_gathered", lambda q, k, v, keep: torch.empty_like(q))  # fused on a GPU
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)[name]
    restorer = load(name, decoder)
    footprint = FAMILIES[entry.family].footprint(entry, decoder)
    assert footprint is not None
    used = held(restorer) + sum(peaks(restorer, size, chunks).values())
    assert 0.85 < used / footprint.whole.at(size[0] * size[1]) < 1.15


def load(name: str, decoder: Decoder) -> Restorer:
    """A model on a GPU with room for everything in one piece."""
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)[name]
    family, task = FAMILIES[entry.family], Task(entry.tasks[0])
    components = RandomComponents.of(entry, family, ELSEWHERE, torch.bfloat16)
    settings = ModelSettings(decoder=decoder, tile="off")
    request = BuildRequest(components, settings, ELSEWHERE, torch.bfloat16, random_context(family))
    upscales = task is Task.UPSCALE
    restore = RestoreSettings(task=task, scale=4 if upscales else 1, mask=None if upscales else Path("none"))
    restorer = load_model(entry, request).restorer(restore)
    for network in parts_of(restorer):
        if isinstance(network, PublishedNetwork):
            network.fuse()
    return restorer


def peaks(restorer: Restorer, size: tuple[int, int], chunks: int) -> dict[str, int]:
    """The most bytes that each stage holds in so many chunks, its state among them, inputs and weights not counted."""
    source = size[1] // restorer.scale, size[0] // restorer.scale
    runners = {name: StageRunner(stage) for name, stage in restorer.stages.items()}
    alive = {name: Alive() for name in runners}
    for number in range(chunks):
        count, ahead = restorer.schedule.size(number), restorer.schedule.ahead
        frames = torch.empty(count + ahead, 3, *source, device=ELSEWHERE)
        masks = torch.empty(count, 1, *source, device=ELSEWHERE) if restorer.scale == 1 else None
        begins = frozenset(() if number else {0})
        value: object = DeviceChunk(frames[:count], masks, begins, frames[count:] if ahead else None)
        for name, runner in runners.items():
            with alive[name]:
                if not number:
                    runner.start(SceneStart(0, source, size[::-1]))
                value = runner.step(value)
    return {name: counted.peak for name, counted in alive.items()}
