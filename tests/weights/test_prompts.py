"""The disk cache of prompt embeddings."""

import os
from pathlib import Path

import pytest
import torch

from vrx.weights import prompts


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "text.safetensors"
    path.write_bytes(b"weights")
    return path


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = torch.randn(1, 3, 8).to(torch.bfloat16)
    prompts.save(tmp_path / "prompts", "name", rows)
    found = prompts.load(tmp_path / "prompts", "name")
    assert found is not None
    assert torch.equal(found, rows)
    assert prompts.load(tmp_path / "prompts", "other") is None


def test_the_key_depends_on_prompt_and_checkpoint(checkpoint: Path) -> None:
    key = prompts.cache_key("a street", checkpoint)
    assert key == prompts.cache_key("a street", checkpoint.parent / "." / checkpoint.name)
    assert key != prompts.cache_key("a street.", checkpoint)
    os.utime(checkpoint, ns=(1, 1))
    touched = prompts.cache_key("a street", checkpoint)
    checkpoint.write_bytes(b"other weights")
    os.utime(checkpoint, ns=(1, 1))
    assert len({key, touched, prompts.cache_key("a street", checkpoint)}) == 3


def test_a_corrupt_file_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "name.safetensors"
    path.write_bytes(b"broken")
    assert prompts.load(tmp_path, "name") is None
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    prompts.save(tmp_path / "blocked", "name", torch.zeros(1, 1, 1))
    assert prompts.load(tmp_path / "blocked", "name") is None
