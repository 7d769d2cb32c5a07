"""Golden cases: folders that hold `config.json`, `io.safetensors` and weights of one reference run.

They stand in tests/data/golden; VRX_FIXTURES names another folder, whose cases of the same kinds then
run instead.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

HERE = Path(__file__).resolve().parents[1] / "data" / "golden"
HASH_MULTIPLIER = 73244475


@dataclass(frozen=True)
class Case:
    folder: Path
    config: dict[str, Any]

    @property
    def model(self) -> dict[str, Any]:
        return dict(self.config["model"])

    @property
    def tolerance(self) -> float:
        return float(self.config["tolerance"])

    def io(self) -> dict[str, Tensor]:
        return load_file(self.folder / "io.safetensors")

    def weights(self, name: str = "weights") -> dict[str, Tensor]:
        path = self.folder / f"{name}.safetensors"
        return load_file(path) if path.exists() else formula_weights(self.config["tensors"], self.config["weights"])


def folder() -> Path:
    return Path(os.environ.get("VRX_FIXTURES") or HERE)


def cases(kind: str) -> list[Any]:
    """All cases of a kind, as test parameters named after their folders."""
    found = []
    for path in sorted(folder().rglob("config.json")):
        config = json.loads(path.read_text())
        if config.get("kind") == kind:
            name = path.parent.relative_to(folder()).as_posix()
            found.append(pytest.param(Case(path.parent, config), id=name))
    return found


def formula_weights(shapes: dict[str, list[int]], rule: dict[str, Any]) -> dict[str, Tensor]:
    """Weights that are given by a formula over the element's place instead of a file."""
    tensors = {}
    for n, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        count = int(np.prod(shape))
        v = hashed(count, n, rule["seed"]) if rule.get("scheme") == "hash32" else sines(count, n)
        fan_in = count // shape[0]
        scale = 0.05 if len(shape) == 1 else rule["gain"] * (3 / fan_in) ** 0.5
        tensors[name] = torch.from_numpy((v * scale).astype(np.float32)).view(shape)
    return tensors


def sines(count: int, n: int) -> np.ndarray:
    u = np.sin(12.9898 * (np.arange(count, dtype=np.float64) + 1) + 78.233 * (n + 1)) * 43758.5453
    return 2 * (u - np.floor(u)) - 1


def hashed(count: int, n: int, seed: int) -> np.ndarray:
    start = (16777259 * (n + 1) + 40503 * seed) % 2**32
    x = np.arange(count, dtype=np.uint32) + np.uint32(start)
    for _ in range(2):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(HASH_MULTIPLIER)
    x = x ^ (x >> np.uint32(16))
    return x.astype(np.float64) / 2**31 - 1


def filled(network: nn.Module, weights: dict[str, Tensor]) -> Any:
    """The network with the published names filled in, none left and none over."""
    network.load_state_dict(weights, strict=True)
    return network.eval()


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    assert actual.shape == expected.shape
    difference = float((actual - expected).abs().max())
    assert difference <= tolerance, f"differs by {difference:.2e}"
