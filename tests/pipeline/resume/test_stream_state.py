"""Stream states in files: exact, and refused where they are anything else."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vrx.errors import InputError, ModelError
from vrx.models.base import SceneStart
from vrx.pipeline.executor import StreamState
from vrx.pipeline.resume import stream_state


def test_a_state_comes_back_bit_by_bit(tmp_path: Path) -> None:
    tensors = {"bf16": torch.randn(5).bfloat16(), "strided": torch.randn(3, 4).T, "one": torch.tensor(2)}
    state = StreamState(SceneStart(3, (4, 6), (8, 12)), 7, 250, {"encode": tensors, "generate": {}})
    stream_state.write(state, tmp_path / "state")
    found = stream_state.read(tmp_path / "state")
    assert (found.scene, found.index, found.frame) == (state.scene, 7, 250)
    assert list(found.stages) == ["encode", "generate"]
    assert all(torch.equal(tensor, found.stages["encode"][name]) for name, tensor in tensors.items())
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_memory_layouts_come_back(tmp_path: Path) -> None:
    tensors = {"last": torch.randn(1, 8, 3, 5).contiguous(memory_format=torch.channels_last), "first": torch.ones(2, 8)}
    state = StreamState(SceneStart(0, (3, 5), (6, 10)), 1, 4, {"generate": tensors})
    stream_state.write(state, tmp_path / "state")
    found = stream_state.read(tmp_path / "state").stages["generate"]
    assert {name: tensor.stride() for name, tensor in found.items()} == {n: t.stride() for n, t in tensors.items()}


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"not a state at all")
    with pytest.raises(ModelError):
        stream_state.read(tmp_path / "state")


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", json.dumps({"scene": 0, "source": 3, "target": [1, 1], "stages": []})]
)
def test_metadata_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    save_file({"encode.x": torch.zeros(1)}, tmp_path / "state", {"state": text})
    with pytest.raises(InputError, match="no stream state"):
        stream_state.read(tmp_path / "state")
