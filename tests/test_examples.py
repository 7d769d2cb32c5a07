"""The Python examples run as they stand."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.conftest import EXAMPLES


def test_frames(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, result = clip("in.mkv", frames=3, audio=True), tmp_path / "out.mp4"
    monkeypatch.setattr(sys, "argv", ["frames.py", str(source), str(result)])
    runpy.run_path(str(EXAMPLES / "frames.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("0.00 s: mean brightness ")
    assert read(result).kinds == ["video", "audio"]
    assert read(result).frames.shape[1:3] == (96, 128)
