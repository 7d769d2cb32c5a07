"""Hidden names fit wherever the result's own name does."""

import os
from pathlib import Path

import pytest

from vrx.media.partial_files import MAX_NAME_BYTES, find_leftovers, partial_folder, partial_path, shorten_name
from vrx.pipeline.resume.workspace import folder_of

NAMES = {
    "one byte": "a" * 251 + ".mp4",
    "two bytes": "ü" * 125 + ".mp4",
    "three bytes": "動" * 83 + ".mp4",
    "four bytes": "🎞" * 62 + ".mp4",
    "mixed": "aé動🎞" * 25 + ".mp4",
    "not UTF-8": os.fsdecode(b"\xff\xe3" * 120) + ".mp4",
}


@pytest.mark.parametrize("name", NAMES)
def test_hidden_names_fit_and_are_real(tmp_path: Path, name: str) -> None:
    result = tmp_path / NAMES[name]
    result.touch()
    for path in (partial_path(result), partial_folder(result), folder_of(result)):
        assert len(os.fsencode(path.name)) <= 143
        path.touch()
        assert path in tmp_path.iterdir()
    assert {path.suffix for path in find_leftovers(result)} == {".mp4"}


def test_no_character_is_split() -> None:
    for length in range(MAX_NAME_BYTES - 8, MAX_NAME_BYTES + 9):
        short = shorten_name("a" * (length % 4) + "動" * 40)
        assert short.encode().decode() == short
        assert len(short.encode()) <= MAX_NAME_BYTES + 9


def test_cut_names_stay_apart() -> None:
    assert shorten_name("a" * MAX_NAME_BYTES) == "a" * MAX_NAME_BYTES
    assert shorten_name("a" * 90 + "1") != shorten_name("a" * 90 + "2")
