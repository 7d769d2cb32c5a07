"""The ffmpeg program: location, capabilities, and running it."""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Thread
from typing import IO
from weakref import WeakSet

import imageio_ffmpeg

from vrx.environment import Environment
from vrx.errors import OutputError
from vrx.temporary import spare_folder

logger = logging.getLogger(__name__)

MESSAGES = "messages.txt"  # of ffmpeg, in a temporary folder
MAX_LINES = 40  # of stderr, stored for error messages
PROBE_SECONDS = 20
PROBE_SIZE = (320, 240)
KILL_SECONDS = 3.0  # a killed process that is still alive then hangs in the kernel
CAUSE_WORDS = (  # substrings of lines that name a cause
    *("No space left", "nrecognized", "nknown", "ailed", "rror", "nvalid", "not ", "Cannot", "denied"),
    *(" only ", "Only ", " must ", "contradict", "ncompatible"),
)


def executable() -> str:
    """The ffmpeg to run: `VRX_FFMPEG` where set, else the one of imageio-ffmpeg."""
    chosen = Environment.read().ffmpeg
    if chosen is None:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    found = shutil.which(chosen)
    if found is None:
        raise OutputError(f"VRX_FFMPEG is {chosen}, which is not a program", "Unset or correct it")
    return str(Path(found).absolute())


@cache
def version(program: str) -> str:
    """The version in its banner, or an empty string where it does not run."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=PROBE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.split()[2] if len(done.stdout.split()) > 2 else ""


@cache
def encoder_error(
    program: str, encoder: str, pix_fmt: str, size: tuple[int, int] = PROBE_SIZE, profile: str | None = None
) -> str:
    """Why an encoder does not work, from encoding one frame: ffmpeg's message, empty where it works.

    `size`: width and height of the frame; `profile` the encoder's, None for its own choice.
    """
    source = f"color=size={size[0]}x{size[1]}:rate=1:duration=1,format={pix_fmt}"
    command = [program, "-hide_banner", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source]
    command += ["-frames:v", "1", "-c:v", encoder]
    command += [*([] if profile is None else ["-profile:v", profile]), "-f", "null", "-"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]


def describe_input(program: str, source: Path) -> list[str]:
    """Lines that ffmpeg prints about a local file and its streams; empty where it does not run."""
    command = [program, "-hide_banner", "-nostdin", "-protocol_whitelist", "file", "-i", f"file:{source}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stderr.decode(errors="replace").splitlines()  # exits with an error, as there is no output


@cache
def has_option(program: str, option: str) -> bool:
    """Whether this ffmpeg has a command-line option, given without its dash."""
    command = [program, "-hide_banner", "-nostdin", "-h", "long"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return re.search(rf"^-{option}\b", done.stdout.decode(errors="replace"), re.MULTILINE) is not None


@cache
def has_filter(program: str, name: str) -> bool:
    """Whether this ffmpeg has a filter."""
    try:
        done = subprocess.run([program, "-hide_banner", "-filters"], capture_output=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return False
    return re.search(rf"^ \S+ {name} ", done.stdout.decode(errors="replace"), re.MULTILINE) is not None


class FilterError(Exception):
    """A filter of ffmpeg that is not there, or that failed: why, for people."""


def vmaf(
    reference: tuple[Path, int], other: tuple[Path, int], size: tuple[int, int], report: Callable[[int], object]
) -> array[float]:
    """VMAF of every frame (libvmaf's default model), both resized to `size`, width and height.

    Each is a file and the number of its stream; `report` gets how many frames are done, now and then.  Frames are
    paired by their numbers: times that containers round differently would pair some with their neighbors.
    Raises FilterError where this ffmpeg cannot compute it.
    """
    program = executable()
    if not has_filter(program, "libvmaf"):
        raise FilterError("this ffmpeg has no libvmaf")
    chain = f"settb=1,setpts=N,scale={size[0]}:{size[1]}:flags=bicubic,format=yuv420p"
    graph = f"[0:{other[1]}]{chain}[other];[1:{reference[1]}]{chain}[reference]"
    graph += ";[other][reference]libvmaf=log_fmt=csv:log_path=log.csv"
    command = [program, "-hide_banner", "-nostdin", "-loglevel", "error", "-progress", "pipe:1"]
    for path, _ in (other, reference):
        command += ["-protocol_whitelist", "file", "-i", f"file:{path.absolute()}"]
    with spare_folder() as folder:
        if folder is None:
            raise FilterError("no folder for temporary files")
        command += ["-lavfi", graph, "-f", "null", "-"]
        status = run_reporting(command, folder, report)
        log = folder / "log.csv"
        if status or not log.exists():
            lines = (folder / MESSAGES).read_text(errors="replace").strip().splitlines()
            raise FilterError(f"ffmpeg failed: {lines[-1] if lines else f'exit status {status}'}")
        with log.open(newline="") as file:
            return array("d", (float(row["vmaf"]) for row in csv.DictReader(file)))


def run_reporting(command: Sequence[str], folder: Path, report: Callable[[int], object]) -> int:
    """Run ffmpeg with `-progress pipe:1` in a folder, where its messages go; returns its exit status.

    An exception here, Ctrl-C included, kills it.
    """
    with (
        (folder / MESSAGES).open("wb") as messages,
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=messages, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                name, _, value = line.strip().partition("=")
                if name == "frame" and value.isdigit():
                    report(int(value))
        except BaseException:
            process.kill()
            raise
    return process.returncode


RUNNING_PROCESSES: WeakSet[FFmpegProcess] = WeakSet()


def kill_all() -> None:
    """Kill every running ffmpeg without waiting: this process is about to exit."""
    for encoder in list(RUNNING_PROCESSES):
        encoder.kill()


class FFmpegProcess:
    """A running ffmpeg that reads a stream from its standard input.

    It leads a session of its own, so that Ctrl-C on the terminal does not make it finish a short file,
    and its stderr is drained all the time, so that it never blocks on it.  `folder` is its working
    directory, by default the current one.
    """

    def __init__(self, arguments: Sequence[str], stdout: IO[bytes] | None = None, folder: Path | None = None) -> None:
        command = [executable(), "-hide_banner", "-nostdin", "-loglevel", "warning", *arguments]
        logger.debug("%s", shlex.join(command))
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=stdout if stdout is not None else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=folder,
                start_new_session=True,
                restore_signals=False,  # so that it reports a file too large or a broken pipe itself
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

    def finish(self) -> None:
        """Close its input and wait; raises OutputError with its message where it failed.

        An exception while waiting, such as from a signal, kills the process.
        """
        try:
            with contextlib.suppress(OSError):  # it has exited; its status is the reason
                self.stdin.close()
            status = self._process.wait()
            self._drain.join()
        except BaseException:
            self.abort()
            raise
        if status:
            raise OutputError(f"ffmpeg {describe_exit(status)}: {self.reason()}")

    def kill(self) -> None:
        """Kill it, even where it is suspended; a blocked write to it fails."""
        self._process.kill()

    def abort(self) -> None:
        """Kill it and wait until it has exited; raises nothing."""
        self.kill()
        with contextlib.suppress(OSError, ValueError):  # a pipe into a process just killed
            os.set_blocking(self.stdin.fileno(), False)
            self.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_SECONDS)
        self._drain.join(KILL_SECONDS)

    def reason(self) -> str:
        """The stderr line that names the cause of a failure, else the last one."""
        for line in self._lines:
            if any(word in line for word in CAUSE_WORDS):
                return strip_address(line)
        return strip_address(self._lines[-1]) if self._lines else "no message"


def describe_exit(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def strip_address(line: str) -> str:
    """A line of stderr without the memory address of its context."""
    return re.sub(r"^\[(\S+) @ 0x[0-9a-f]+\] ", r"\1: ", line.strip(" ."))
