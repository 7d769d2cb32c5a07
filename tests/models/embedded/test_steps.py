"""Steps of the enlarging network, recorded and replayed as on a GPU, give what single steps give."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.networks.networks import tiny_parts
from tests.networks.test_replay import Tapes
from vrx.bench.gpu.driver import restore
from vrx.models.embedded import steps
from vrx.models.embedded.checkpoint import EmbeddedNetworks
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.embedded.steps import Steps
from vrx.models.embedded.upscale import Encode, Generate
from vrx.networks.embedded.degradation import LEVELS
from vrx.networks.embedded.recurrent import STANDARD, Neighbors, PreviousFrame, RecurrentNetwork
from vrx.networks.fusion import take_failures
from vrx.networks.replay import Record

CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")


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


@pytest.mark.parametrize(("rows", "recorded"), [(256, True), (257, False)])
def test_pictures_of_up_to_131072_positions_are_recorded(
    rows: int, recorded: bool, parts: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, ways = Steps(parts.enlarging, 4, Tapes()), (torch.zeros(1), torch.ones(1))
    monkeypatch.setattr(steps, "_walk_back", lambda *_: ways[:1])
    monkeypatch.setattr(steps, "_backward", lambda *_: ways[1:])
    motion = torch.zeros(1, 1, 2, 1, 1).expand(1, 3, 2, rows, 512)
    (found,) = steps.backward(torch.zeros(1), torch.zeros(1), motion)
    assert bool(found) == recorded


def test_only_a_gpu_records(parts: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VRX_GRAPHS", raising=False)
    assert Steps.on(CPU, parts.enlarging, 2)._forward is None
    assert Steps.on(torch.device("cuda"), parts.enlarging, 2)._forward is not None
    monkeypatch.setenv("VRX_GRAPHS", "off")
    assert Steps.on(torch.device("cuda"), parts.enlarging, 2)._forward is None


class Host(TorchDispatchMode):
    """Operations that give something on the host, or need it there: none of them can be in a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        places = [leaf.device.type for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if "cpu" in places or "_local_scalar" in str(func):
            self.found.append(str(func))
        return result


@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.inference_mode()
def test_steps_ask_nothing_of_the_host(scale: int) -> None:
    with ELSEWHERE:
        network = RecurrentNetwork(STANDARD).eval()
        side = 2 if scale == 2 else 1
        small, large = (40, 24), (40 * side, 24 * side)
        picture, features = torch.empty(1, 3, *large), torch.empty(1, STANDARD.channels, *small)
        levels, motion = torch.empty(1, LEVELS), torch.empty(1, 2, *small)
        neighbors = Neighbors(PreviousFrame(features, picture), motion, features)
        block = torch.empty(1, 10, 3, *large), levels, torch.empty(1, 10, 2, *small)
    walked = Steps(network, scale)
    with Host() as host:
        residual, _ = walked.forward(picture, levels, network.shifts(levels), neighbors)
        found = walked.backward(*block)
    assert (residual.device, len(found)) == (ELSEWHERE, 10)
    assert host.found == []
