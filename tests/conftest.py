"""What all tests share: made clips, the real command, and the rule that CUDA tests may not vanish."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from tests import browser, forked
from tests.clips import ClipMaker

# the same cases in every run, however slow the machine is
hypothesis.settings.register_profile("vrx", deadline=None, derandomize=True)
hypothesis.settings.load_profile("vrx")

ROOT = forked.ROOT
EXAMPLES = ROOT / "examples"


def pytest_configure() -> None:
    """Tests that run side by side take one core each, and so do the commands they start.

    Those can be interrupted, too: what a shell starts in the background would inherit that it cannot.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of what is not here, a CUDA device or a browser, unless a variable says that is a failure."""
    lacking = {"cuda": "no CUDA device"} if not torch.cuda.is_available() else {}
    lacking |= {"browser": "no Chromium"} if browser.find() is None else {}
    for item in items:
        for marker, reason in lacking.items():
            # `keywords` has the names of folders, too
            if item.get_closest_marker(marker) and not os.environ.get(f"VRX_REQUIRE_{marker.upper()}"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def no_error_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A passing test logs no error."""
    yield
    errors = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert not errors, errors


@pytest.fixture
def clip(tmp_path: Path) -> ClipMaker:
    """Makes small videos in the test's folder."""
    return ClipMaker(tmp_path)


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def vrx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in the test's folder, with caches of its own.

    It runs in this process.  With `stdin` or --debug it runs in another: pipes are pipes there, and logging is set
    up.  Variables of the Hub's client or of Python are read once: they have no effect here.
    """
    homes = {"VRX_HOME": str(tmp_path / ".vrx"), "HF_HOME": str(tmp_path / ".hub")}

    def run(*words: object, stdin: bytes | None = None, env: dict[str, str] | None = None) -> object:
        arguments = [str(word) for word in words]
        assert not any(name.startswith(("HF_", "PYTHON")) for name in env or {})
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **homes, **(env or {})}
        if stdin is None and "--debug" not in arguments:
            with monkeypatch.context() as patch:
                patch.chdir(tmp_path)
                for name, value in {**homes, **(env or {})}.items():
                    patch.setenv(name, value)
                return run_here(arguments, patch)
        return forked.run(arguments, cwd=tmp_path, env=variables, content=stdin, timeout=300)

    return run  # type: ignore[return-value]


def run_here(arguments: list[str], patch: pytest.MonkeyPatch) -> subprocess.CompletedProcess[str]:
    """The command in this process, its streams captured."""
    from vrx.cli import app

    streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for name in ("stdout", "stderr")}
    for name, stream in {**streams, "stdin": io.TextIOWrapper(io.BytesIO())}.items():
        patch.setattr(sys, name, stream)
    code = app.run_guarded(arguments, debug=False)
    texts = [stream.buffer.getvalue().decode(errors="replace") for stream in streams.values()]
    return subprocess.CompletedProcess(arguments, code, *texts)
