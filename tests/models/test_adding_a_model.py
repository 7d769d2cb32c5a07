"""What vrx/models/README.md says about adding a model: a network, a model's file, a registry line, weights.toml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import vrx
from tests.clips import ClipMaker
from vrx import api
from vrx.models.base import AnyStage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.components import Component
from vrx.models.family import Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.loader import detect_family
from vrx.models.registry import FAMILIES
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes
from vrx.pipeline.select_model import DeviceInfo, select_model
from vrx.settings import ModelSettings, RestoreSettings, Task

SCHEDULE = ChunkSchedule(first=2, next=3)


# ---------------------------------------------------------------- vrx/networks/toy.py


@dataclass(frozen=True, kw_only=True)
class ToyConfig(NetworkConfig):
    """Sizes of the network."""

    width: int = 6

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> "ToyConfig":
        """See `NetworkConfig`."""
        return cls(**{"width": shapes["shrink.weight"][0], **given})


class ToyNetwork(PublishedNetwork):
    """A frame and the one restored before it to the restored frame."""

    CONFIG = ToyConfig
    SIGNATURE = "shrink.weight"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.shrink = nn.Conv2d(6, config.width, 1, bias=False)
        self.grow = nn.Conv2d(config.width, 3, 1, bias=False)

    def forward(self, frame: Tensor, previous: Tensor) -> Tensor:
        """[1, 3, H, W] both, in 0..1."""
        out: Tensor = self.grow(self.shrink(torch.cat([frame, previous], 1)))
        return out


# ---------------------------------------------------------------- vrx/models/toy.py


class Restore(Stage[DeviceChunk, RestoredChunk, Tensor | None]):
    """The only stage, as what is decoded goes into the next frame; its state is the latest restored frame."""

    def __init__(self, network: ToyNetwork) -> None:
        self._network = network

    def start(self, scene: SceneStart) -> Tensor | None:
        return None

    def step(self, chunk: DeviceChunk, state: Tensor | None) -> tuple[RestoredChunk, Tensor | None]:
        frames = []
        for frame in chunk.frames.to(self._network.grow.weight.dtype).split(1):
            state = self._network(frame, frame if state is None else state).clamp(0, 1)
            frames.append(state.float())
        return RestoredChunk(torch.cat(frames)), state

    def save(self, state: Tensor | None) -> dict[str, Tensor]:
        return {} if state is None else {"latest": state}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> Tensor | None:
        return tensors.get("latest")


class ToyRestorer:
    def __init__(self, network: ToyNetwork) -> None:
        self.schedule, self.scale = SCHEDULE, 1
        self.stages: Mapping[str, AnyStage] = {"restore": Restore(network)}


@dataclass(frozen=True)
class ToyModel:
    network: ToyNetwork

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> ToyRestorer:
        return ToyRestorer(self.network)


FAMILY = Family(
    name="toy",
    capabilities=Capabilities(
        tasks=("deblur",),
        scales=(),
        schedule=SCHEDULE,
        resumes_in_scene=True,
        footprints=(Footprint(Linear(1e6, 100)),),
    ),
    components={"network": Component(network=ToyNetwork, files=("toy.*",))},
    needs=("network",),
    load=lambda request: ToyModel(request.load("network", ToyNetwork)),
)

# ---------------------------------------------------------------- weights.toml

ENTRY = """
[models.toy]
family = "toy"
tasks = ["deblur"]
license = "MIT"
source = "a test"
available = true
[[models.toy.parts]]
role = "network"
path = "toy.safetensors"
"""


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The family in the registry, its entry in a catalogue, and a checkpoint that averages two frames."""
    monkeypatch.setitem(FAMILIES, FAMILY.name, FAMILY)
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VRX_WEIGHTS_FILE", str(tmp_path / "own.toml"))
    (tmp_path / "own.toml").write_text(ENTRY)
    path = tmp_path / "toy.safetensors"
    halves = torch.cat([torch.eye(3), torch.eye(3)], 1)[..., None, None] / 2
    save_file({"shrink.weight": torch.eye(6)[..., None, None], "grow.weight": halves.contiguous()}, path)
    return path


def test_it_is_listed_imported_and_found(weights: Path) -> None:
    assert api.model_state(api.list_models()["toy"]).word == "download yourself"
    api.import_checkpoint("toy", weights)
    entry = api.list_models()["toy"]
    assert api.model_state(entry).word == "ready"
    deblur, model = RestoreSettings(task=Task.DEBLUR), ModelSettings()
    card = DeviceInfo(gpu_memory=8_000_000_000, on_disk=frozenset({"toy"}))
    assert select_model(model, {"embedded": api.list_models()["embedded"], "toy": entry}, deblur, card).entry is entry
    with pytest.raises(vrx.errors.UsageError, match="--decoder has no effect with model toy"):
        select_model(ModelSettings(name="toy", decoder="tiny"), {"toy": entry}, deblur, card)
    assert detect_family(weights) == "toy"


@pytest.mark.parametrize("by_path", [False, True])
def test_frames_run_through_it(weights: Path, by_path: bool) -> None:
    if not by_path:
        api.import_checkpoint("toy", weights)
    model = vrx.load_model(str(weights) if by_path else "toy", device="cpu", dtype="fp32")
    levels = [0, 100, 200, 200, 40, 40, 40]
    frames = [np.full((4, 6, 3), level, np.uint8) for level in levels]
    found = [int(frame[0, 0, 0]) for frame in model.deblur(frames, scenes="off")]
    expected, latest = [], float(levels[0])
    for level in levels:
        latest = (level + latest) / 2
        expected.append(latest)
    assert found == pytest.approx(expected, abs=1)


def test_a_video_runs_through_it(weights: Path, clip: ClipMaker, tmp_path: Path) -> None:
    source = clip("a.mkv", frames=5, size=(32, 24))
    result = vrx.deblur(source, tmp_path / "b.mkv", model=str(weights), device="cpu")
    assert result.frames == 5
