"""A Hub on loopback, and the real command that takes it for the Hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.weights.hub_server import BLOB, REPO, Hub, Pull, catalogue, serving


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as server:
        server.files[f"{REPO}/x.bin"] = BLOB
        yield server


@pytest.fixture
def command(vrx: Command, hub: Hub, tmp_path: Path) -> Pull:
    """`vrx` with that server as the Hub; the catalogue's only part is x.bin unless `parts` are given."""

    def run(*words: object, parts: list[dict[str, object]] | None = None, **env: str) -> object:
        chosen = parts if parts is not None else [{"role": "transformer", "repo": REPO, "path": "x.bin"}]
        surroundings = {"HF_ENDPOINT": hub.address, "VRX_WEIGHTS_FILE": str(catalogue(tmp_path, *chosen))}
        return vrx(*words, env={**surroundings, **env})

    return run  # type: ignore[return-value]
