"""Temporary folders: none is left, not even by a process that was killed, and none is taken from one that lives."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import ROOT
from vrx import temporary
from vrx.temporary import LOCK, spare_folder, temporary_folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, as a process finds it that made none yet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary.remove_abandoned.cache_clear()
    return tmp_path


HOLDER = """
import sys, time
from vrx.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "large").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""


def start_holder(place: Path) -> tuple["subprocess.Popen[str]", Path]:
    """Another process with a temporary folder, and that."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def test_a_folder_is_removed_with_all_that_is_in_it(place: Path) -> None:
    with temporary_folder() as folder:
        assert folder.parent == place
        (folder / "a").touch()
    assert not list(place.iterdir())


def test_where_none_can_be_made_that_is_an_error_or_none(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "none"))
    with spare_folder() as folder:
        assert folder is None
    with pytest.raises(FileNotFoundError), temporary_folder():
        pass


def test_a_killed_process_leaves_its_folder_to_the_next_one(place: Path) -> None:
    child, folder = start_holder(place)
    with child:
        with temporary_folder():
            assert (folder / "large").is_dir()  # it lives
        child.send_signal(signal.SIGKILL)
    assert (folder / "large").is_dir()
    with temporary_folder():
        assert folder.exists()  # looked for once a process
    temporary.remove_abandoned.cache_clear()
    with temporary_folder() as own:
        assert [path for path in place.iterdir() if path != own] == []


def test_a_process_that_ends_in_order_leaves_nothing(place: Path) -> None:
    child, folder = start_holder(place)
    child.communicate("")
    assert child.returncode == 0
    assert not folder.exists()


def test_what_is_not_ours_stays(place: Path) -> None:
    for name in ("vrx-unlocked", "other-program"):
        (place / name).mkdir()
    (place / "other-program" / LOCK).touch()
    (place / "vrx-file").touch()
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / LOCK).touch()
    (place / "vrx-link").symlink_to(place / "elsewhere")
    before = sorted(place.rglob("*"))
    with temporary_folder():
        pass
    assert sorted(place.rglob("*")) == before


def test_a_folder_that_another_process_removes_meanwhile_is_no_obstacle(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs that begin at once find the same abandoned folders."""
    for name in ("vrx-first", "vrx-second"):
        (place / name).mkdir()
        (place / name / LOCK).touch()
    owner = temporary.is_own_folder

    def late(folder: Path) -> bool:
        for other in place.glob("vrx-*"):
            shutil.rmtree(other)
        return owner(folder)

    monkeypatch.setattr(temporary, "is_own_folder", late)
    with temporary_folder() as folder:
        assert list(place.iterdir()) == [folder]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_stays(place: Path) -> None:
    (place / "vrx-theirs").mkdir()
    (place / "vrx-theirs" / LOCK).touch()
    os.chown(place / "vrx-theirs", 12345, 12345)
    with temporary_folder():
        pass
    assert (place / "vrx-theirs" / LOCK).exists()


def test_a_folder_that_is_taken_for_abandoned_before_it_is_locked_is_replaced(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tempfile.mkdtemp
    names: list[str] = []

    def taken(prefix: str) -> str:
        names.append(made(prefix=prefix))
        return names[-1]

    acquire = FileLock.acquire

    def late(lock: FileLock) -> object:
        if len(names) == 1:
            Path(names[0]).rmdir()
            names.append("")
        return acquire(lock)

    monkeypatch.setattr(tempfile, "mkdtemp", taken)
    monkeypatch.setattr(FileLock, "acquire", late)
    with temporary_folder() as folder:
        assert list(place.iterdir()) == [folder]
        assert folder.stat().st_mode & 0o777 == 0o700
