"""A Hub on loopback, and the real command that takes it for the Hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.conftest import run_here
from tests.weights.hub_server import BLOB, REPO, Hub, Pull, catalogue, client_constants, serving
from vrx.weights import hub as backend
from vrx.weights import transfer

CONSTANTS = {"HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE"}  # the client reads them once, into its constants


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Queries and downloads are tried again at once."""
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    monkeypatch.setattr(backend, "QUERY_PAUSE", 0.0)
    with serving() as server:
        server.files[f"{REPO}/x.bin"] = BLOB
        yield server


def configure_client(patch: pytest.MonkeyPatch, home: Path, endpoint: str, offline: bool) -> None:
    """Set the constants that the Hub's client makes of its variables."""
    for name, value in client_constants(home, endpoint, offline).items():
        patch.setattr(constants, name, value)


@pytest.fixture
def command(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pull:
    """`vrx` with that server as the Hub; the catalogue's only part is x.bin unless `parts` are given.

    It runs in this process, where the client's constants stand for its variables.
    """

    def run(*words: object, parts: list[dict[str, object]] | None = None, **env: str) -> object:
        chosen = parts if parts is not None else [{"role": "transformer", "repo": REPO, "path": "x.bin"}]
        own = {"HF_ENDPOINT": hub.address, "VRX_WEIGHTS_FILE": str(catalogue(tmp_path, *chosen)), **env}
        assert {name for name in own if name.startswith("HF_")} <= CONSTANTS
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            home = tmp_path / own.get("HF_HOME", ".hub")
            configure_client(patch, home, own["HF_ENDPOINT"], own.get("HF_HUB_OFFLINE") == "1")
            for name, value in {"VRX_HOME": str(tmp_path / ".vrx"), **own}.items():
                patch.setenv(name, value)
            return run_here([str(word) for word in words], patch)

    return run  # type: ignore[return-value]
