import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.networks.networks import TINY, TINY_ENLARGING, tiny_parts
from vrx.errors import ModelError, OutputError
from vrx.models.embedded.checkpoint import load_networks
from vrx.models.registry import FAMILIES
from vrx.weights import catalogue, checkpoint, hashes


def write_checkpoint(path: Path, **changes: torch.Tensor | None) -> Path:
    parts = tiny_parts()
    tensors = dict(parts.network.state_dict())
    named = {"sharpness": parts.blur, "enlarging": parts.enlarging, "damage": parts.degradation}
    for prefix, network in {**named, "diagnosis": parts.diagnosis, "guard": parts.guard}.items():
        tensors |= {f"{prefix}.{name}": t for name, t in network.state_dict().items()}
    for name, tensor in changes.items():
        if tensor is None:
            del tensors[name.replace("__", ".")]
        else:
            tensors[name.replace("__", ".")] = tensor
    save_file(
        tensors, path, {"family": "embedded", "config": json.dumps({**vars(TINY), "enlarging": vars(TINY_ENLARGING)})}
    )
    return path


def test_a_checkpoint_comes_back_as_the_same_network(tmp_path: Path) -> None:
    found, expected = load_networks(write_checkpoint(tmp_path / "a.safetensors")), tiny_parts()
    assert found.network.config == TINY
    assert found.enlarging.config == TINY_ENLARGING
    for part in ("network", "enlarging"):
        tensors = getattr(expected, part).state_dict()
        assert all(torch.equal(t, tensors[name]) for name, t in getattr(found, part).state_dict().items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"middle__0__first__weight": None}, "1 missing .middle.0.first.weight"),
        ({"enlarging__recall__weight": None}, "tensor .recall.weight. is missing"),
        ({"extra": torch.zeros(1)}, "1 unexpected .extra"),
        ({"middle__0__first__bias": torch.zeros(3)}, "of another shape"),
        ({"middle__0__first__bias": torch.full((16,), float("nan"))}, "contains NaN or Inf"),
    ],
)
def test_what_does_not_fit_is_listed(tmp_path: Path, changes: dict[str, torch.Tensor | None], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_networks(write_checkpoint(tmp_path / "a.safetensors", **changes))


def test_whole_numbers_are_no_weights() -> None:
    network = torch.nn.BatchNorm1d(2)  # counts with an integer, which is meant to be one
    tensors = dict(network.state_dict())
    checkpoint.check_keys(network, tensors, Path("a.pt"))
    with pytest.raises(
        ModelError, match=r"^a\.pt does not match the network: tensors 1 not floating-point \(weight\)$"
    ):
        checkpoint.check_keys(network, {**tensors, "weight": torch.ones(2).int()}, Path("a.pt"))


def test_other_families_and_sizes_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", {"family": "else"})
    with pytest.raises(ModelError, match="not a checkpoint of the embedded family"):
        load_networks(tmp_path / "other.safetensors")
    for config in ('{"full": "x"}', "[]", '{"full": 8}', "no json"):
        save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors", {"family": "embedded", "config": config})
        with pytest.raises(ModelError):
            load_networks(tmp_path / "b.safetensors")


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_give_one_clear_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        checkpoint.load_safetensors(path)


def test_a_huge_header_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelError):
        checkpoint.load_safetensors(path)


def test_size_and_hash_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    hashes.verify_file(path, 5, hashes.sha256(path))
    with pytest.raises(ModelError, match="5 bytes, not 6"):
        hashes.verify_file(path, 6, "")
    with pytest.raises(ModelError, match="hash"):
        hashes.verify_file(path, None, "0" * 64)
    with pytest.raises(ModelError, match="cannot read"):
        hashes.verify_file(tmp_path / "none", None, "")


def test_the_shipped_checkpoint_is_the_one_of_the_catalogue() -> None:
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)["embedded"]
    part = entry.parts[0]
    path = hashes.packaged_path(part.path)
    hashes.verify_file(path, part.size, part.sha256)
    assert part.sha256
    assert path.stat().st_size <= 30_000_000
    parts = load_networks(path)
    assert entry.parameters == parts.parameters
    assert float(checkpoint.read_metadata(path)["hours"]) > 0


def test_a_full_disk_is_a_failure_of_the_output(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match="Free some space"):
            checkpoint.save(tmp_path / "a.safetensors", {"x": torch.zeros(1 << 14)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not any(tmp_path.iterdir())
