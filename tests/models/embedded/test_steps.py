"""Steps of the enlarging network, recorded and replayed as on a GPU, give what single steps give."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.networks.networks import tiny_parts
from tests.networks.test_replay import Tapes
from vrx.bench.gpu.driver import restore
from vrx.models.embedded import steps
from vrx.models.embedded.checkpoint import EmbeddedNetworks
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.embedded.steps import Steps
from vrx.models.embedded.upscale import Encode, Generate
from vrx.networks.fusion import take_failures
from vrx.networks.replay import Record

CPU = torch.device("cpu")


def restorer_with(parts: EmbeddedNetworks, scale: int, record: Record | None) -> EmbeddedRestorer:
    restorer = EmbeddedRestorer(EmbeddedOptions(task="upscale", scale=scale, strength=0.0), parts, CPU, torch.float32)
    steps = Steps(parts.enlarging, scale, record)
    encode = restorer.stages["encode"]
    assert isinstance(encode, Encode)
    encode._foreseeing = steps
    restorer.stages = {**restorer.stages, "generate": Generate(steps)}
    return restorer


@pytest.fixture
def parts() -> EmbeddedNetworks:
    return tiny_parts()


def clip(frames: int) -> Tensor:
    """A picture that passes by."""
    picture = torch.rand(1, 3, 12, 15, generator=torch.Generator().manual_seed(2))
    large = F.interpolate(picture, (24, 30), mode="bicubic").clamp(0, 1)
    return torch.cat([torch.roll(large, (-t, t), (-2, -1)) for t in range(frames)])


@pytest.mark.parametrize("scale", [2, 4])
def test_replayed_steps_give_the_same_video(scale: int, parts: EmbeddedNetworks) -> None:
    take_failures()
    video, tapes = clip(40), Tapes()
    usual = restore(restorer_with(parts, scale, None), video)
    assert torch.equal(restore(restorer_with(parts, scale, tapes), video), usual)
    assert len(tapes.made) >= 2  # forward, and backward
    assert sum(tape.replays for tape in tapes.made) > 20
    assert take_failures() == []


def test_large_pictures_are_not_recorded(parts: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "MOST_RECORDED", 100)
    tapes = Tapes()
    restore(restorer_with(parts, 4, tapes), clip(12))
    assert tapes.made == []


def test_only_a_gpu_records(parts: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VRX_GRAPHS", raising=False)
    assert Steps.on(CPU, parts.enlarging, 2)._forward is None
    assert Steps.on(torch.device("cuda"), parts.enlarging, 2)._forward is not None
    monkeypatch.setenv("VRX_GRAPHS", "off")
    assert Steps.on(torch.device("cuda"), parts.enlarging, 2)._forward is None
