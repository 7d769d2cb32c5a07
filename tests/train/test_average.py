"""Weights between two states of a network."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vrx.train import average
from vrx.weights import checkpoint


def test_a_share_of_the_way_with_the_notes_of_the_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after, out = (tmp_path / name for name in ("before", "after", "out"))
    save_file({"w": torch.tensor([0.0, 2.0])}, before, {"steps": "1", "family": "toy"})
    save_file({"w": torch.tensor([1.0, 4.0])}, after, {"steps": "2", "family": "toy"})
    words = ["average", str(before), str(after), "--out", str(out), "--share", "0.25", "--note", "steps=1 and 2"]
    monkeypatch.setattr("sys.argv", words)
    average.main()
    assert load_file(out)["w"].tolist() == [0.25, 2.5]
    assert checkpoint.read_metadata(out) == {"steps": "1 and 2", "family": "toy"}


def test_different_networks_have_no_average() -> None:
    with pytest.raises(ValueError, match="different networks"):
        average.average({"w": torch.ones(2)}, {"w": torch.ones(3)}, 0.5)
