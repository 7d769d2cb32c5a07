"""Another input of the same name, size and time is another input."""

import os
from pathlib import Path

import pytest

from vrx.pipeline.resume import fingerprint
from vrx.pipeline.resume.fingerprint import describe_files, sample_ranges


@pytest.mark.parametrize("sample", [1 << 18, 4])
def test_content_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: int) -> None:
    monkeypatch.setattr(fingerprint, "SAMPLE", sample)
    path = tmp_path / "in.mkv"
    marks = set()
    for content in (b"a" * 1000, b"b" * 1000, b"a" * 999 + b"b", b"b" + b"a" * 999):
        path.write_bytes(content)
        os.utime(path, ns=(10**18, 10**18))
        marks.add(describe_files(path))
        assert describe_files(path) in marks
    assert len(marks) == 4


@pytest.mark.parametrize("size", [0, 1, 64 << 18, (64 << 18) + 1, 10**12])
def test_samples_reach_from_end_to_end(size: int) -> None:
    found = sample_ranges(size)
    assert found[0][0] == 0
    assert sum(found[-1]) == size
    assert sum(length for _, length in found) <= 64 << 18
