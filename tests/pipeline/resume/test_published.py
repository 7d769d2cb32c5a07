"""Publication records: they recognize their own file only, and are removed."""

import json
from pathlib import Path

import pytest

from vrx.pipeline.resume import published
from vrx.pipeline.resume.workspace import folder_of


@pytest.fixture
def result(tmp_path: Path) -> Path:
    found = tmp_path / "out.mkv"
    found.write_bytes(b"frames")
    folder_of(found).mkdir(0o700)
    published.record(found, found, {"the input": "a"}, (12, 3))
    return found


def test_a_record_tells_the_run(result: Path) -> None:
    found = published.find(result)
    assert found is not None
    assert (found.fingerprint, found.frames, found.scenes) == ({"the input": "a"}, 12, 3)


def test_a_changed_or_missing_result_has_no_record(result: Path) -> None:
    result.write_bytes(b"framez")
    assert published.find(result) is None
    result.unlink()
    assert published.find(result) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"frames": "many"}', "x" * (1 << 21)])
def test_a_record_of_another_kind_counts_as_none(result: Path, text: str) -> None:
    (folder_of(result) / published.NOTE).write_text(text)
    assert published.find(result) is None


def test_counts_must_be_numbers(result: Path) -> None:
    place = folder_of(result) / published.NOTE
    place.write_text(json.dumps({**json.loads(place.read_text()), "frames": "12"}))
    assert published.find(result) is None


def test_a_forgotten_record_takes_its_empty_folder_along(result: Path) -> None:
    published.forget(result)
    assert not folder_of(result).exists()
    published.forget(result)
