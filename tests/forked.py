"""The real command in a process of its own, without the seconds that its imports take.

A server imports vrx once, and forks for each command.  The fork has the streams, the folder, the environment and, if
wanted, the session that it is given, and a pid that signals reach; it runs what `python -m vrx` runs, and ends as
Python ends.  Tests of how Python starts (closed streams, encodings, what is imported) start it instead.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
COMMAND = "from vrx.cli.app import main; main()"
PARTS = ("cli", "cluster", "media", "models", "pipeline", "scenes", "weights")  # of vrx: what a command may import
CHUNK = 1 << 16  # bytes that are read at once


class Forked:
    """A command that was started, as far as tests need it like `subprocess.Popen`, in bytes.

    A stream is the null device, unless it is a descriptor or, but for `stdin`, PIPE.  `program` is Python code.
    """

    def __init__(
        self,
        words: Sequence[object],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.PIPE,
        new_session: bool = False,
        program: str = COMMAND,
        server: str | None = None,
    ) -> None:
        self.returncode: int | None = None
        request = {"words": [*map(str, words)], "cwd": str(cwd), "new_session": new_session, "program": program}
        request["env"] = {**os.environ, "PYTHONPATH": str(ROOT)} if env is None else dict(env)
        null = os.open(os.devnull, os.O_RDWR)
        own, given = [null], []
        files: list[IO[bytes] | None] = []
        for stream in (stdin, stdout, stderr):
            files.append(None)
            if stream == subprocess.PIPE:
                reading, stream = os.pipe()
                own.append(stream)
                files[-1] = os.fdopen(reading, "rb")
            given.append(null if stream == subprocess.DEVNULL else stream)
        _, self.stdout, self.stderr = files
        self._status = socket.socket(socket.AF_UNIX)
        self._status.connect(server or start_server())
        content = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(self._status, [content], given)
        self._status.sendall(content[sent:])
        for descriptor in own:
            os.close(descriptor)
        self.pid = int(read_line(self._status))

    def poll(self) -> int | None:
        """The exit status, as `subprocess` has it; None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status at its end.  Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("vrx", timeout or 0)
            self.returncode = int(read_line(self._status))
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """All that it writes until its end.  Raises subprocess.TimeoutExpired, and kills it then."""
        with ThreadPoolExecutor(2) as pool:
            texts = [pool.submit(file.read if file else bytes) for file in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            out, err = (text.result() for text in texts)
        self._close()
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def _close(self) -> None:
        for file in (self.stdout, self.stderr):
            if file is not None:
                file.close()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *raised: object) -> None:
        self.wait()
        self._close()


def run(
    words: Sequence[object], *, timeout: float = 120, content: bytes | None = None, **given: Any
) -> subprocess.CompletedProcess[str]:
    """A command from start to end: `stdout` and `stderr` as text.  `content` comes to it through a pipe."""
    reading, writing = os.pipe()
    if content is not None:
        given["stdin"] = reading
    child = Forked(words, **{"stdout": subprocess.PIPE, **given})
    os.close(reading)
    threading.Thread(target=feed, args=(writing, content or b"")).start()
    texts = (text.decode(errors="replace") for text in child.communicate(timeout))
    return subprocess.CompletedProcess([str(word) for word in words], child.wait(), *texts)


def read_line(stream: socket.socket) -> bytes:
    """All up to the end of a line, byte by byte: what follows it is read by the next call.  Raises EOFError."""
    line = b""
    while not line.endswith(b"\n"):
        part = stream.recv(1)
        if not part:
            raise EOFError("the server of commands has ended")
        line += part
    return line


def feed(pipe: int, content: bytes) -> None:
    """Write all into a pipe, as far as it is read."""
    with suppress(BrokenPipeError), os.fdopen(pipe, "wb") as file:
        file.write(content)


def write_command(folder: Path) -> Path:
    """A program `vrx` for shells, in a folder."""
    program = folder / "vrx"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" "{start_server()}" "$@"\n')
    program.chmod(0o755)
    return program


@cache
def start_server() -> str:
    """The address of this test process's server, which ends with it."""
    folder = tempfile.TemporaryDirectory(prefix="vrx-tests-")
    address = str(Path(folder.name) / "server")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forked", address],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.read() == b"ready"

    def end() -> None:
        process.communicate()
        folder.cleanup()

    atexit.register(end)
    return address


def serve(address: str) -> None:
    """Fork for each request until standard input ends; in a fork, return as its command ends."""
    for part in PARTS:
        package = importlib.import_module(f"vrx.{part}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    gc.freeze()  # a collection in a fork would copy all of it
    assert threading.active_count() == 1  # a fork has one thread, and the locks of all
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    os.write(1, b"ready")
    os.dup2(2, 1)
    watched: list[socket.socket | int] = [listener, 0]
    while 0 not in select.select(watched, [], [])[0]:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            attend(client)
            return
        client.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def attend(client: socket.socket) -> None:
    """Fork the command of a request, and tell its pid and at its end its status; return in the command alone."""
    message, streams, _, _ = socket.recv_fds(client, CHUNK, 3)
    if not message.endswith(b"\n"):
        message += read_line(client)
    pid = os.fork()
    if pid == 0:
        client.close()
        become(json.loads(message), streams)
        return
    for stream in streams:
        os.close(stream)
    with suppress(BrokenPipeError):
        client.sendall(f"{pid}\n".encode())
        client.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
    os._exit(0)


def become(request: dict[str, Any], streams: list[int]) -> None:
    """Be the command, in this process."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if request["new_session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["vrx", *request["words"]]
    exec(request["program"], {"__name__": "__main__"})


def relay(address: str, words: Sequence[str]) -> int:
    """The command on this process's streams: its status, as shells give it."""
    child = Forked(words, cwd=Path.cwd(), env=os.environ, stdin=0, stdout=1, stderr=2, server=address)
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    if sys.flags.isolated:
        sys.exit(relay(sys.argv[1], sys.argv[2:]))
    serve(sys.argv[1])
