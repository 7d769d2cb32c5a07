"""What a plan says of time and memory, against what a run does."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vrx.networks.embedded.degradation import LEVELS
from vrx.networks.embedded.grid import GRID
from vrx.networks.embedded.network import MODES, SMALL, EmbeddedNetwork
from vrx.networks.embedded.recurrent import PIXELS, STANDARD, Neighbors, PreviousFrame, RecurrentNetwork
from vrx.pipeline.cost import operations
from vrx.pipeline.memory import embedded_video_memory
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
        picture, levels = torch.empty(1, 3, HEIGHT * side, WIDTH * side), torch.empty(1, LEVELS)
        motion, features = torch.empty(1, 2, HEIGHT, WIDTH), torch.empty(1, STANDARD.channels, HEIGHT, WIDTH)
        neighbors = Neighbors(PreviousFrame(features, picture), motion, features)
        counter, branch = FlopCounterMode(display=False), FlopCounterMode(display=False)
        with counter:
            network.step(scale, picture, network.shifts(levels), neighbors)
        with branch:
            network.look_back(
                scale,
                picture[:, None].expand(1, 10, *picture.shape[1:]),
                levels,
                motion.expand(1, 10, 2, HEIGHT, WIDTH),
            )
    size = (WIDTH * side * scale, HEIGHT * side * scale)
    counted = counter.get_total_flops() + branch.get_total_flops() / 8
    assert operations(f"upscale{scale}", size) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize(
    ("size", "scale", "measured"),
    [
        ((1920, 1080), 4, 1.31),
        ((1920, 1080), 2, 1.72),
        ((3840, 2160), 4, 1.71),
        ((3840, 2160), 2, 2.55),
        ((4096, 3072), 4, 1.63),
        ((7680, 4320), 4, 2.82),
        ((7680, 4320), 2, 4.1),
    ],
)
def test_memory_is_near_what_runs_were_measured_to_take(size: tuple[int, int], scale: int, measured: float) -> None:
    """Gigabytes, the largest resident size of `vrx upscale`."""
    source = (size[0] // scale, size[1] // scale)
    needed = embedded_video_memory(size, source, 8, Task.UPSCALE)
    assert measured * 0.9 < needed / 1e9 < measured * 1.8
