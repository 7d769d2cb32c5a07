import errno
import os
from pathlib import Path

import pytest

from vrx.errors import OutputError
from vrx.media.atomic import commit, make_folder, write_error


def test_a_file_gets_its_name_and_none_is_replaced_unasked(tmp_path: Path) -> None:
    partial, path = tmp_path / ".a.part", tmp_path / "a"
    partial.write_text("new")
    commit(partial, path, overwrite=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    partial.write_text("newer")
    with pytest.raises(OutputError, match="a was created by someone else meanwhile") as raised:
        commit(partial, path, overwrite=False)
    assert raised.value.hint == "Add -y to replace it"
    assert path.read_text() == "new"
    commit(partial, path, overwrite=True)
    assert path.read_text() == "newer"


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / ".a.part").write_text("new")
    commit(tmp_path / ".a.part", tmp_path / "a", overwrite=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_disk_errors_become_one_line(tmp_path: Path) -> None:
    full = write_error(tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert full.message == f"cannot write {tmp_path}: No space left on device"
    assert full.hint == "Free some space and run the same command again"
    assert write_error(tmp_path, OSError(errno.EACCES, "Permission denied")).hint == ""
    with pytest.raises(OutputError, match=r"cannot write .*: File exists"):
        make_folder(tmp_path)
    with pytest.raises(OutputError, match=r"cannot write .*: No such file"):
        commit(tmp_path / "none", tmp_path / "a", overwrite=True)
