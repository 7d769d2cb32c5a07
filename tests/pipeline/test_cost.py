"""What a plan says of time and memory, against what a run does."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vrx.models.embedded import MODES, SMALL, EmbeddedNetwork
from vrx.pipeline.cost import operations
from vrx.pipeline.plan import memory_needed

PIXELS_A_SIDE = {"upscale2": 4, "upscale3": 3, "upscale4": 4, "deblur": 4, "inpaint": 4}  # of a grid position


@pytest.mark.parametrize("mode", MODES)
def test_operations_are_those_that_torch_counts(mode: str) -> None:
    height, width = 32, 64  # grid positions; whole windows, so that nothing is padded
    with torch.device("meta"), torch.inference_mode():
        network = EmbeddedNetwork(SMALL)
        memory = network.allocate(mode, height, width)
        x, levels = torch.empty(1, MODES[mode].inputs + MODES[mode].hints, height, width), torch.empty(1, 3)
        for fresh in (True, *[False] * SMALL.memory):  # the last one looks back at a full memory
            counter = FlopCounterMode(display=False)
            with counter:
                network.step(mode, x, levels, memory, fresh)
    side = PIXELS_A_SIDE[mode]
    estimate = operations(SMALL, mode, (width * side, height * side))
    assert estimate == pytest.approx(counter.get_total_flops(), rel=0.1)


@pytest.mark.parametrize(("size", "measured"), [((832, 480), 0.63), ((1280, 720), 0.86), ((1920, 1080), 1.5)])
def test_memory_is_near_what_runs_were_measured_to_take(size: tuple[int, int], measured: float) -> None:
    """Gigabytes, the largest resident size of `vrx upscale -s 4`."""
    source = (size[0] // 4, size[1] // 4)
    assert memory_needed(size, source, 8) / 1e9 == pytest.approx(measured, rel=0.25)
