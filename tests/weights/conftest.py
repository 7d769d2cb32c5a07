"""A Hub on loopback, and the real command that takes it for the Hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.conftest import Command, run_here
from tests.weights.hub_server import BLOB, REPO, Hub, Pull, catalogue, serving

IN_PROCESS = {"HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE"}  # the client reads them once, into its constants


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as server:
        server.files[f"{REPO}/x.bin"] = BLOB
        yield server


def configure_client(patch: pytest.MonkeyPatch, home: Path, endpoint: str, offline: bool) -> None:
    """Set the constants that the Hub's client makes of its variables."""
    patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    patch.setattr(constants, "ENDPOINT", endpoint)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}")
    patch.setattr(constants, "HF_HUB_OFFLINE", offline)


@pytest.fixture
def command(vrx: Command, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pull:
    """`vrx` with that server as the Hub; the catalogue's only part is x.bin unless `parts` are given.

    It runs in this process, where the client's constants stand for its variables; a variable that has no
    constant here needs a child process.
    """

    def run(*words: object, parts: list[dict[str, object]] | None = None, **env: str) -> object:
        chosen = parts if parts is not None else [{"role": "transformer", "repo": REPO, "path": "x.bin"}]
        own = {"HF_ENDPOINT": hub.address, "VRX_WEIGHTS_FILE": str(catalogue(tmp_path, *chosen)), **env}
        if {name for name in own if name.startswith("HF_")} - IN_PROCESS:
            return vrx(*words, env=own)
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            home = tmp_path / own.get("HF_HOME", ".hub")
            configure_client(patch, home, own["HF_ENDPOINT"], own.get("HF_HUB_OFFLINE") == "1")
            for name, value in {"VRX_HOME": str(tmp_path / ".vrx"), **own}.items():
                patch.setenv(name, value)
            return run_here([str(word) for word in words], patch)

    return run  # type: ignore[return-value]
