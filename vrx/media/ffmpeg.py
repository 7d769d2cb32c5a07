"""The ffmpeg program: where it is, what it can do, and the only place that starts a process."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Thread
from typing import IO
from weakref import WeakSet

import imageio_ffmpeg

from vrx.errors import OutputError
from vrx.settings import Environment

MAX_LINES = 40  # of what ffmpeg says, for error messages
PROBE_SECONDS = 20
KILL_SECONDS = 3.0  # a killed process that is still there then hangs in the kernel; nobody can wait for it
CAUSE_WORDS = (  # words of lines that name a cause
    *("No space left", "nrecognized", "nknown", "ailed", "rror", "nvalid", "not ", "Cannot", "denied"),
    *(" only ", "Only ", " must ", "contradict", "ncompatible"),
)


def executable() -> str:
    """The ffmpeg to run: `VRX_FFMPEG` where set, else the one that imageio-ffmpeg brings."""
    chosen = Environment.read().ffmpeg
    if chosen is None:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    found = shutil.which(chosen)
    if found is None:
        raise OutputError(f"VRX_FFMPEG is {chosen}, which is not a program", "Unset or correct it")
    return str(Path(found).absolute())


@cache
def version(program: str) -> str:
    """The version word of its banner, or an empty string where it does not run."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=PROBE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.split()[2] if len(done.stdout.split()) > 2 else ""


@cache
def encoder_error(program: str, encoder: str, pix_fmt: str) -> str:
    """Try one small frame; an empty string when it works, else what ffmpeg said last."""
    source = f"color=size=320x240:rate=1:duration=1,format={pix_fmt}"
    command = [program, "-hide_banner", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source]
    command += ["-frames:v", "1", "-c:v", encoder, "-f", "null", "-"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]


def describe_input(program: str, source: Path) -> list[str]:
    """What ffmpeg prints about a local file and its streams, a line each; empty where it does not run."""
    command = [program, "-hide_banner", "-nostdin", "-protocol_whitelist", "file", "-i", f"file:{source}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stderr.decode(errors="replace").splitlines()  # its status says only that no output was named


@cache
def has_option(program: str, option: str) -> bool:
    """Whether this ffmpeg knows a command-line option, given without its dash."""
    command = [program, "-hide_banner", "-nostdin", "-h", "long"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return re.search(rf"^-{option}\b", done.stdout.decode(errors="replace"), re.MULTILINE) is not None


RUNNING_PROCESSES: WeakSet[FFmpegProcess] = WeakSet()


def kill_all() -> None:
    """End every encoder at once, without waiting: the process is about to leave."""
    for encoder in list(RUNNING_PROCESSES):
        encoder.kill()


class FFmpegProcess:
    """A running ffmpeg that takes a stream on its standard input.

    It leads a session of its own, so that Ctrl-C on the terminal does not make it finish a short file,
    and its messages are drained all the time, so that it never waits for a reader.  `folder` is its
    working directory, where that is not ours.
    """

    def __init__(self, arguments: Sequence[str], stdout: IO[bytes] | None = None, folder: Path | None = None) -> None:
        command = [executable(), "-hide_banner", "-nostdin", "-loglevel", "warning", *arguments]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=stdout if stdout is not None else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=folder,
                start_new_session=True,
                restore_signals=False,  # so that it says itself that a file is too large, or a pipe broken
            )
        except OSError as error:
            raise OutputError(f"cannot start ffmpeg: {error}", "Check it with: vrx doctor") from error
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self.stdin: IO[bytes] = self._process.stdin
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._drain = Thread(target=self._read, args=(self._process.stderr,), name="ffmpeg messages", daemon=True)
        self._drain.start()
        RUNNING_PROCESSES.add(self)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._lines.append(line.decode(errors="replace").rstrip())

    @property
    def messages(self) -> list[str]:
        """The last lines it said."""
        return list(self._lines)

    def finish(self) -> None:
        """Close its input and wait; raise OutputError with what it said where it failed.

        Whatever ends the wait early, a signal above all, ends the process too.
        """
        try:
            with contextlib.suppress(OSError):  # it is gone; its exit status says why
                self.stdin.close()
            status = self._process.wait()
            self._drain.join()
        except BaseException:
            self.abort()
            raise
        if status:
            raise OutputError(f"ffmpeg {describe_exit(status)}: {self.reason()}")

    def kill(self) -> None:
        """End it at once, even where it has been stopped; what waits to write to it fails."""
        self._process.kill()

    def abort(self) -> None:
        """End it at once and wait until it is gone; no exception."""
        self.kill()
        with contextlib.suppress(OSError, ValueError):  # a pipe into a process just killed
            os.set_blocking(self.stdin.fileno(), False)
            self.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_SECONDS)
        self._drain.join(KILL_SECONDS)

    def reason(self) -> str:
        """The line that says most about a failure."""
        for line in self._lines:
            if any(word in line for word in CAUSE_WORDS):
                return strip_address(line)
        return strip_address(self._lines[-1]) if self._lines else "no message"


def describe_exit(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def strip_address(line: str) -> str:
    """A line of ffmpeg's without the address of who says it."""
    return re.sub(r"^\[(\S+) @ 0x[0-9a-f]+\] ", r"\1: ", line.strip(" ."))
