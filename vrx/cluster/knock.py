"""Whether a Ray cluster listens at an address, and lets this process in: asked first, as Ray itself is slow to say.

Its client waits for many minutes for an answer of something else, tries for half a minute where it lacks the token,
and may end the process where nothing listens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from vrx.errors import DeviceError

CONNECT_SECONDS = 5.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113, 3.4; empty settings
HEADER = 9  # bytes before a frame's content; the fourth is its type
SETTINGS = 4  # the type of the frame that a server of HTTP/2, thus of gRPC, begins with
ALERT = b"\x15"  # how a server that wants TLS answers
STDERR = 2


def knock(ray: Any, address: str) -> None:
    """Ask at HOST:PORT; other addresses are for Ray to understand.

    Raises DeviceError where a token is missing or wrong, and OSError where no cluster answers.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "//" in address:
        return
    with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as line:
        line.sendall(PREFACE)
        answer = receive(line)
    if answer.startswith(ALERT):
        return
    if len(answer) < HEADER or answer[3] != SETTINGS:
        raise ConnectionError("what listens there is not Ray")
    check_token(ray, address)


def receive(line: socket.socket) -> bytes:
    """The first bytes of an answer, as many as a frame's header has; fewer where no more come in time."""
    answer = b""
    with suppress(OSError):
        while len(answer) < HEADER and (piece := line.recv(HEADER - len(answer))):
            answer += piece
    return answer


def check_token(ray: Any, address: str) -> None:
    """See whether a cluster takes the token of this process, or wants none.  Raises DeviceError, ConnectionError."""
    refusal = getattr(ray.exceptions, "AuthenticationError", None)
    if refusal is None:  # a Ray without tokens
        return
    try:
        with suppress(ImportError, AttributeError):  # its private parts have another form
            greet(address)
    except refusal as error:
        raise DeviceError(
            f"the Ray cluster at {address} wants its token",
            "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what `ray get-auth-token` prints on its first machine",
        ) from error
    except ray.exceptions.RayError as error:
        raise ConnectionError(str(error)) from error


def greet(address: str) -> None:
    """Make Ray's client of a cluster, as its own commands do.  Raises Ray's errors."""
    tokens: Any = import_module("ray._private.authentication.authentication_token_setup")
    raylet: Any = import_module("ray._raylet")
    tokens.ensure_token_if_auth_enabled(create_token_if_missing=False)  # without, the client ends the process
    with muted():
        raylet.GcsClient(address=address)


@contextmanager
def muted() -> Iterator[None]:
    """Standard error goes nowhere meanwhile, also what libraries in C++ write there."""
    before = os.dup(STDERR)
    try:
        with Path(os.devnull).open("w") as sink:
            os.dup2(sink.fileno(), STDERR)
        yield
    finally:
        os.dup2(before, STDERR)
        os.close(before)
