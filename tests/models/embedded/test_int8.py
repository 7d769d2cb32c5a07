"""The embedded model in 8 bits: when it is, and when it cannot be."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.networks.networks import needs_int8_units
from vrx.errors import ModelError
from vrx.models.components import Components
from vrx.models.embedded import model as embedded
from vrx.models.embedded.checkpoint import FAMILY_NAME, PEAKS, load_networks
from vrx.models.family import BuildRequest
from vrx.networks.embedded.int8 import Int8Block, Int8Conv2d
from vrx.networks.embedded.recurrent import RecurrentNetwork
from vrx.settings import ModelSettings
from vrx.weights import checkpoint
from vrx.weights.hashes import packaged_path

SHIPPED = packaged_path("embedded.safetensors")


def request(path: Path = SHIPPED, device: str = "cpu") -> BuildRequest:
    components = Components({FAMILY_NAME: path})
    return BuildRequest(components, ModelSettings(), torch.device(device), torch.bfloat16, quantized="int8")


def narrowed(network: RecurrentNetwork) -> list[bool]:
    """Of all layers but the first ones, whether it is in 8 bits."""
    assert network.later is not None
    layers = [network.recall, network.combine, network.later.recall, *network.heads.values()]
    blocks = [*network.blocks, *network.later.blocks]
    return [isinstance(layer, Int8Conv2d) for layer in layers] + [isinstance(block, Int8Block) for block in blocks]


@needs_int8_units
def test_all_but_the_first_layers_are_in_8_bits() -> None:
    loaded = embedded.load(request())
    assert all(narrowed(loaded.networks.enlarging))
    assert not any(narrowed(embedded.load(replace(request(), quantized=None)).networks.enlarging))
    assert {parameter.dtype for parameter in loaded.networks.enlarging.stems.parameters()} == {torch.bfloat16}


def without(folder: Path, *names: str) -> Path:
    path = folder / "embedded.safetensors"
    tensors = {name: tensor for name, tensor in load_file(SHIPPED).items() if not name.startswith(names)}
    save_file(tensors, path, checkpoint.read_metadata(SHIPPED))
    return path


def test_a_checkpoint_without_peaks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "multiplies_rightly", lambda: True)
    path = without(tmp_path, PEAKS)
    assert load_networks(path).peaks is None
    assert not any(narrowed(embedded.load(replace(request(path), quantized=None)).networks.enlarging))
    with pytest.raises(ModelError, match=r"lacks what vrx.train.peaks measures for 8 bits"):
        embedded.load(request(path))


def test_a_checkpoint_with_some_of_the_peaks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tensor peaks\.later\.raised is missing"):
        load_networks(without(tmp_path, f"{PEAKS}later.raised"))


def test_devices_that_do_not_multiply_so_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="in 8 bits on processors with units for that"):
        embedded.load(request(device="cuda"))
    monkeypatch.setattr(embedded, "multiplies_rightly", lambda: False)
    with pytest.raises(ModelError, match="in 8 bits on processors with units for that"):
        embedded.load(request())


def test_peaks_of_another_network_are_refused(tmp_path: Path) -> None:
    path, name = tmp_path / "embedded.safetensors", f"{PEAKS}trunk.stream"
    tensors = load_file(SHIPPED)
    tensors[name] = tensors[name][:, :32].contiguous()
    save_file(tensors, path, checkpoint.read_metadata(SHIPPED))
    with pytest.raises(ModelError, match=r"tensor peaks\.trunk\.stream has the shape \[7, 32\] and not \[7, 64\]"):
        load_networks(path)
