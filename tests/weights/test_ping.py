"""Whether there is a Hub at all."""

import socket
from pathlib import Path

import pytest

from tests.weights.conftest import configure_client
from tests.weights.hub_server import Hub
from vrx.weights import hub as module
from vrx.weights.http import UnavailableError


@pytest.mark.parametrize("status", [200, 404, 503])
def test_whatever_the_hub_says_it_answers(
    status: int, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_client(monkeypatch, tmp_path, hub.address, offline=False)
    hub.status = [status]
    assert module.ping() == hub.address
    assert [method for method, *_ in hub.asked] == ["HEAD"]


def test_no_hub_is_an_error_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # bound, so that nobody else listens there
        closed.bind(("127.0.0.1", 0))
        configure_client(monkeypatch, tmp_path, f"http://127.0.0.1:{closed.getsockname()[1]}", offline=False)
        with pytest.raises(UnavailableError, match="cannot download anything from http://127"):
            module.ping()
    configure_client(monkeypatch, tmp_path, "http://127.0.0.1:9", offline=True)
    with pytest.raises(UnavailableError, match="HF_HUB_OFFLINE is set"):
        module.ping()
