"""What listens at an address is asked before Ray is, which would wait for minutes or end the process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from types import SimpleNamespace

import pytest

from vrx.cluster import knock as asked
from vrx.cluster.join import join
from vrx.cluster.knock import CONNECT_SECONDS, knock, muted
from vrx.errors import DeviceError, Exit

SETTINGS = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0])


class RayError(Exception):
    """As Ray's."""


class AuthenticationError(RayError):
    """As Ray's."""


RAY = SimpleNamespace(exceptions=SimpleNamespace(RayError=RayError, AuthenticationError=AuthenticationError))


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """The address of a server that answers so, or not at all and keeps the line open."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(answer)
                line.recv(100)

        thread = Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", SETTINGS[:5], b""])
def test_what_is_not_ray_is_said_at_once(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "CONNECT_SECONDS", 0.2)
    with listening(answer) as address, pytest.raises(DeviceError, match="what listens there is not Ray") as caught:
        join(RAY, address, ship=False)
    assert caught.value.message.startswith(f"cannot join a Ray cluster at {address}: ")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AuthenticationError("no"), r"^the Ray cluster at 127.0.0.1:\d+ wants its token\. Set RAY_AUTH_MODE=token"),
        (RayError("too old"), r"^cannot join a Ray cluster at 127.0.0.1:\d+: too old\. "),
    ],
)
def test_a_cluster_that_refuses_is_one_line(error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "greet", raising(error))
    with listening(SETTINGS) as address, pytest.raises(DeviceError, match=words) as caught:
        join(RAY, address, ship=False)
    assert caught.value.exit_code == Exit.DEVICE


@pytest.mark.parametrize(
    ("answer", "error"),
    [(SETTINGS, None), (SETTINGS, ImportError("moved")), (b"\x15\x03\x03\x00\x02\x02\x46\x00\x00", None)],
)
def test_who_may_be_ray_is_left_to_it(answer: bytes, error: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "greet", raising(error))
    with listening(answer) as address:
        knock(RAY, address)


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "http://head:8265", "head:port"])
def test_other_addresses_are_rays_to_understand(address: str) -> None:
    knock(RAY, address)


def test_an_older_ray_has_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "greet", raising(AssertionError()))
    with listening(SETTINGS) as address:
        knock(SimpleNamespace(exceptions=SimpleNamespace(RayError=RayError)), address)


def test_an_answer_has_five_seconds() -> None:
    assert CONNECT_SECONDS == 5


def test_nothing_is_printed_meanwhile(capfd: pytest.CaptureFixture[str]) -> None:
    with muted():
        os.write(2, b"noise")
    os.write(2, b"words")
    assert capfd.readouterr().err == "words"


def raising(error: Exception | None) -> Callable[[str], None]:
    """What raises an error, if it is one."""

    def act(_: str) -> None:
        if error is not None:
            raise error

    return act
