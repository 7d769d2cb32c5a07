"""The embedded model continues from a state file with the same bits."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vrx.models.base import DeviceChunk, RestoredChunk, SceneStart
from vrx.models.embedded.checkpoint import load_networks, load_sharp
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.runner import StageRunner
from vrx.pipeline.executor import StreamState
from vrx.pipeline.resume import stream_state

CHECKPOINT = Path(stream_state.__file__).parents[2] / "data" / "embedded.safetensors"
SIZE = (24, 32)


def restore(runners: dict[str, StageRunner], frames: Tensor) -> Tensor:
    value: object = DeviceChunk(frames.clone(), None, frozenset(), None)
    for runner in runners.values():
        value = runner.step(value)
    assert isinstance(value, RestoredChunk)
    return value.frames.clone()


@pytest.mark.parametrize(
    ("task", "scale", "look"),
    [("upscale", 2, "faithful"), ("upscale", 4, "faithful"), ("upscale", 2, "sharp"), ("deblur", 1, "faithful")],
)
def test_a_loaded_state_gives_the_same_bits(tmp_path: Path, task: str, scale: int, look: str) -> None:
    options, networks = EmbeddedOptions(task=task, scale=scale, look=look), load_networks(CHECKPOINT)
    networks = load_sharp(CHECKPOINT, networks) if look == "sharp" else networks
    restorer = EmbeddedRestorer(options, networks, torch.device("cpu"), torch.float32)
    scene = SceneStart(0, SIZE, (SIZE[0] * scale, SIZE[1] * scale))
    # as decoded pictures are: channels next to each other
    video = torch.rand(24, *SIZE, 3, generator=torch.Generator().manual_seed(1)).permute(0, 3, 1, 2)
    running, resumed = ({name: StageRunner(stage) for name, stage in restorer.stages.items()} for _ in range(2))
    with torch.inference_mode():
        for runner in running.values():
            runner.start(scene)
        for begin in range(0, 8, 4):
            restore(running, video[begin : begin + 4])
        saved = {name: runner.save() for name, runner in running.items()}
        stream_state.write(StreamState(scene, 2, 8, saved), tmp_path / "state")
        state = stream_state.read(tmp_path / "state")
        for name, runner in resumed.items():
            runner.load(state.scene, state.stages[name])
        for begin in range(8, 24, 4):
            frames = video[begin : begin + 4]
            assert torch.equal(restore(running, frames), restore(resumed, frames))
