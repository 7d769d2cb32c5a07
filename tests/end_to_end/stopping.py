"""Stop a child process of vrx at a place that it can continue from."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.clips import read
from tests.conftest import ROOT, Command
from tests.forked import COMMAND, Forked
from tests.held import HeldEncoder, hold_encoder
from vrx.pipeline.resume import opening, writer

SHORT_SEGMENTS = """
from vrx.pipeline.resume import opening, writer
writer.SEGMENT_FRAMES = opening.SEGMENT_FRAMES = {}
"""


def launch(folder: Path, *words: object, held: HeldEncoder, segment: int | None = None) -> Forked:
    """The command, in a session of its own; it waits for its encoder.

    `segment`: after so many frames it saves its state, rather than after those that users have.
    """
    return Forked(
        words,
        cwd=folder,
        env={**os.environ, **held.env, "PYTHONPATH": str(ROOT), "VRX_HOME": str(folder / ".vrx")},
        new_session=True,
        program=COMMAND if segment is None else SHORT_SEGMENTS.format(segment) + COMMAND,
    )


def stop_once_saved(child: Forked, workspace: Path, seconds: float, number: signal.Signals = signal.SIGINT) -> bytes:
    """Send a signal to a run whose workspace has a journal, which must be within `seconds`; what it said at its end.

    The encoder of the next part must be held, or the run may end first.  An interrupted run ends with 130.
    """
    deadline = time.monotonic() + seconds
    while not (workspace / "journal.json").exists():
        if child.poll() is not None or time.monotonic() > deadline:
            child.kill()  # or it would wait for its encoder
            raise AssertionError(child.communicate())
        time.sleep(0.01)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == (130 if number is signal.SIGINT else -number), stderr
    return stderr


def check_interruption(vrx: Command, folder: Path, *words: object, segment: int, saved: int) -> None:
    """A command that is interrupted continues after `saved` frames, and ends with the frames of an uninterrupted one.

    It saves its state once it has `segment` frames.
    """
    child = launch(folder, *words, "-o", "parts.mkv", held=hold_encoder(folder, free=1), segment=segment)
    stop_once_saved(child, folder / ".parts.mkv.vrx", 120)
    assert not (folder / "parts.mkv").exists()
    with pytest.MonkeyPatch.context() as patch:
        for module in (opening, writer):
            patch.setattr(module, "SEGMENT_FRAMES", segment)
        continued, whole = (vrx(*words, "-o", f"{name}.mkv") for name in ("parts", "whole"))
    for done, notes in ((continued, 1), (whole, 0)):
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(f"({saved} from an earlier run)") == notes, done.stderr
    parts, uninterrupted = (read(folder / f"{name}.mkv") for name in ("parts", "whole"))
    assert parts.times == uninterrupted.times
    difference = np.abs(parts.frames.astype(int) - uninterrupted.frames)
    assert difference.max() <= 1  # another process may round apart, with as many threads
    assert difference.mean() < 0.001
