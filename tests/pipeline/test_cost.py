"""What a plan says of time and memory, against what a run does."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vrx.networks.embedded.degradation import LEVELS
from vrx.networks.embedded.grid import GRID
from vrx.networks.embedded.network import MODES, SMALL, EmbeddedNetwork
from vrx.networks.embedded.recurrent import PIXELS, STANDARD, PreviousFrame, RecurrentNetwork
from vrx.pipeline.cost import operations
from vrx.pipeline.memory import memory_needed
from vrx.settings import Task

HEIGHT, WIDTH = 32, 64  # grid positions; whole windows, so that nothing is padded


@pytest.mark.parametrize("mode", MODES)
def test_operations_are_those_that_torch_counts(mode: str) -> None:
    with torch.device("meta"), torch.inference_mode():
        network = EmbeddedNetwork(SMALL)
        memory = network.allocate(HEIGHT, WIDTH)
        x, levels = torch.empty(1, MODES[mode].inputs, HEIGHT, WIDTH), torch.empty(1, 3)
        for fresh in (True, *[False] * SMALL.memory):  # the last one looks back at a full memory
            counter = FlopCounterMode(display=False)
            with counter:
                network.step(mode, x, levels, memory, fresh)
    assert operations(mode, (WIDTH * GRID, HEIGHT * GRID)) == pytest.approx(counter.get_total_flops(), rel=0.1)


@pytest.mark.parametrize("scale", PIXELS)
def test_operations_of_enlarging_are_those_that_torch_counts(scale: int) -> None:
    side = PIXELS[scale]
    with torch.device("meta"), torch.inference_mode():
        network = RecurrentNetwork(STANDARD)
        picture, shifts = torch.empty(1, 3, HEIGHT * side, WIDTH * side), network.shifts(torch.empty(1, LEVELS))
        previous = PreviousFrame(torch.empty(1, STANDARD.channels, HEIGHT, WIDTH), picture)
        counter = FlopCounterMode(display=False)
        with counter:
            network.step(scale, picture, shifts, previous, torch.empty(1, 2, HEIGHT, WIDTH))
    size = (WIDTH * side * scale, HEIGHT * side * scale)
    assert operations(f"upscale{scale}", size) == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.parametrize(
    ("size", "measured"), [((1920, 1080), 0.92), ((3840, 2160), 2.07), ((4096, 3072), 1.63), ((7680, 4320), 2.82)]
)
def test_memory_is_near_what_runs_were_measured_to_take(size: tuple[int, int], measured: float) -> None:
    """Gigabytes, the largest resident size of `vrx upscale -s 4`."""
    source = (size[0] // 4, size[1] // 4)
    needed = memory_needed(size, source, 8, Task.UPSCALE)
    assert measured * 0.9 < needed / 1e9 < measured * 1.8
