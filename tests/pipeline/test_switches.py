"""All that a GPU's run has on at once gives to the bit what a plain run gives, as far as a processor can do it."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.networks.networks import tiny_parts
from tests.networks.test_replay import Tapes
from tests.pipeline.racing import Device
from tests.pipeline.test_streams import chunks_of, output_of, watched
from vrx.media.frame import Frame
from vrx.models import optical_flow
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.embedded.steps import Steps
from vrx.models.embedded.upscale import Encode, Generate
from vrx.models.optical_flow import Motion
from vrx.networks.fusion import take_failures
from vrx.pipeline.convert import FrameConverter
from vrx.pipeline.executor import InFlight, ThreadedExecutor

CPU = torch.device("cpu")
SWITCHES = ("packed", "streams", "graphs", "flow")
FRAMES = 15


def restored(switches: tuple[str, ...], tapes: Tapes) -> Iterator[Frame]:
    """Two scenes, enlarged in threads with these switches on."""
    parts = tiny_parts()
    restorer = EmbeddedRestorer(EmbeddedOptions(task="upscale", scale=2, strength=0.0), parts, CPU, torch.float32)
    encode, steps = restorer.stages["encode"], Steps(parts.enlarging, 2, tapes if "graphs" in switches else None)
    assert isinstance(encode, Encode)
    encode._foreseeing = steps
    encode._motion = Motion(beside="flow" in switches)
    restorer.stages = {**restorer.stages, "generate": Generate(steps)}
    converter = FrameConverter(CPU, output_of(restorer), packed="packed" in switches)
    made = watched(restorer, Device()) if "streams" in switches else {}
    for item in ThreadedExecutor(restorer, converter, streams=made).results(
        chunks_of(restorer, FRAMES, source=(24, 32))
    ):
        if isinstance(item, InFlight):
            yield from item.restored


def test_all_switches_and_flow_alone_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optical_flow, "LEAST_THREADS", 1)
    take_failures()
    usual = list(restored((), Tapes()))
    assert len(usual) == FRAMES
    for switches in (SWITCHES, ("flow",)):
        tapes = Tapes()
        found = list(restored(switches, tapes))
        assert bool(tapes.made) == ("graphs" in switches)
        assert len(found) == len(usual)
        for one, other in zip(found, usual, strict=True):
            assert one.time == other.time
            assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))
    assert take_failures() == []
