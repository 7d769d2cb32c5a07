import os
import subprocess
import sys
from pathlib import Path

import pytest

from vrx.errors import ModelError
from vrx.weights import lock


def dead() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_dead_owners_lock_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text(str(dead()))
    with lock.held(path, lambda: 0, 1):
        assert path.read_text() == str(os.getpid())
    assert not list(tmp_path.iterdir())


def test_a_living_owners_lock_is_never_cleared(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text(str(os.getppid()))
    lock.clear(path)
    assert path.read_text() == str(os.getppid())
    assert [p.name for p in tmp_path.iterdir()] == ["x.lock"]


def test_an_owner_that_stands_still_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text(str(os.getppid()))
    with pytest.raises(ModelError, match=f"process {os.getppid()}"), lock.held(path, lambda: 7, 0.3):
        pass
    assert path.exists()
