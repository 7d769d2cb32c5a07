import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from vrx.errors import ModelError
from vrx.weights import lock

HOLDER = """
import sys, time, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print(flush=True)
time.sleep(60)
"""


def test_nothing_is_left_and_it_can_be_held_again(tmp_path: Path) -> None:
    for _ in range(2):
        with lock.hold(tmp_path / "x.lock", lambda: 0, 1):
            assert (tmp_path / "x.lock").exists()
        assert not list(tmp_path.iterdir())


def test_a_killed_holders_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        with pytest.raises(ModelError, match="downloading x and makes no progress"), lock.hold(path, lambda: 7, 0.3):
            pass
        child.kill()
    with lock.hold(path, lambda: 7, 0.3):
        pass


def test_one_at_a_time_and_those_who_wait_come_in(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(5):
            with lock.hold(tmp_path / "x.lock", lambda: 0, 30):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.002)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert not list(tmp_path.iterdir())


def test_a_holder_that_gets_on_is_waited_for(tmp_path: Path) -> None:
    path, had = tmp_path / "x.lock", [0]

    def progress() -> int:
        had[0] += 1
        return had[0]

    other = FileLock(path, thread_local=False)
    other.acquire()
    threading.Timer(1.0, other.release).start()
    with lock.hold(path, progress, 0.5):
        assert had[0] > 3


def test_a_file_system_without_locks_has_files_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    path = tmp_path / "x.lock"
    with lock.hold(path, lambda: 0, 1):
        assert path.exists()
        with pytest.raises(ModelError, match="makes no progress"), lock.hold(path, lambda: 0, 0.3):
            pass
    assert not path.exists()
