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
from vrx.models.footprint import SPARE, Fit, Linear
from vrx.models.loader import load_model
from vrx.models.offload import SLOTS
from vrx.models.registry import FAMILIES
from vrx.models.runner import StageRunner
from vrx.networks import fusion
from vrx.networks.flashvsr import attention as sparse
from vrx.networks.published import PublishedNetwork
from vrx.networks.wan.transformer import WanTransformer
from vrx.settings import Decoder, ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

__all__ = ["attention"]  # a fixture


@pytest.mark.parametrize(
    ("name", "decoder", "size", "chunks"),
    [
        ("infvsr", "auto", (1280, 720), 2),
        ("infvsr", "tiny", (832, 480), 2),
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
    """All stages at their peaks at once, which is a little more than a GPU was measured to take."""
    for kernel in ("normalize", "add"):  # one pass each, as on a GPU
        monkeypatch.setattr(fusion, kernel, lambda *_: None)
    monkeypatch.setattr(infvsr, "content_change", lambda *_: 0.0)  # asks for a number
    monkeypatch.setattr(sparse, "attend_gathered", lambda q, k, v, keep: torch.empty_like(q))  # fused on a GPU
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)[name]
    restorer = load(name, decoder)
    footprint = FAMILIES[entry.family].footprint(entry, decoder)
    assert footprint is not None
    used = held(restorer) + sum(peaks(restorer, size, chunks).values())
    assert 0.9 < used / footprint.whole.at(size[0] * size[1]) < 1.05


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


@pytest.mark.parametrize(("name", "decoder"), [("infvsr", "auto"), ("infvsr", "tiny"), ("flashvsr", "auto")])
@torch.inference_mode()
def test_weights_that_wait_on_the_host_are_left_out(name: str, decoder: Decoder) -> None:
    footprint = FAMILIES[name].capabilities.footprints[-1 if decoder == "auto" else 0]
    network = next(part for part in parts_of(load(name, decoder)) if isinstance(part, WanTransformer))
    waiting = [sum(p.nbytes for module in layer for p in module.parameters()) for layer in network.waiting_layers()]
    spared = (sum(waiting) - SLOTS * max(waiting)) / SPARE
    assert isinstance(footprint.whole, Linear)
    assert footprint.offloaded is not None
    assert 0.95 < (footprint.whole.fixed - footprint.offloaded.fixed) / spared <= 1
    assert footprint.offloaded.per_pixel == footprint.whole.per_pixel
    if footprint.tiled is not None:
        assert footprint.tiled_offloaded is not None
        assert footprint.tiled.fixed - footprint.tiled_offloaded.fixed == pytest.approx(2.1e9)


@pytest.mark.parametrize(
    ("name", "size", "free", "fit"),
    [
        ("infvsr", (1280, 720), 16e9, Fit(offload=True)),
        ("infvsr", (1280, 720), 17.1e9, Fit()),
        ("infvsr", (832, 480), 10.2e9, Fit()),
        ("flashvsr", (1280, 720), 12.1e9, Fit()),
        ("flashvsr", (1408, 768), 13.4e9, Fit()),
        ("flashvsr", (1408, 768), 11.1e9, Fit(offload=True)),
        ("flashvsr", (1920, 1080), 24e9, Fit()),
    ],
)
def test_what_fits_without_tiles(name: str, size: tuple[int, int], free: float, fit: Fit) -> None:
    footprint = FAMILIES[name].capabilities.footprints[-1]
    pixels = size[0] * size[1]
    assert footprint.fit(int(free), pixels) == fit
    assert footprint.in_one_piece(fit).within(int(free)) >= pixels
