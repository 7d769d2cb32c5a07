"""A real Ray cluster of two raylets on this machine, each with room for one worker."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from tests.conftest import ROOT

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason='needs pip install "vrx[ray]"')
START_SECONDS = 180.0  # that a raylet may take to start
SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20, "memory": 2 << 30}


@pytest.fixture(autouse=True)
def quiet_libraries() -> Iterator[None]:
    """Ray leaves sockets and files to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def raylets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The cluster of all tests: it takes a while to start."""
    from ray._private import services
    from ray.cluster_utils import Cluster

    values = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_worker_niceness": "0",  # 15 by default: on a busy machine workers would hardly get on
    }
    values |= {"VRX_HOME": str(tmp_path_factory.mktemp("home"))}
    values |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in values.items():
            patch.setenv(name, value)
        patch.setattr(services, "get_node", patient(services.get_node))
        made = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
        try:
            made.add_node(**SMALL)
            yield made
        finally:
            made.shutdown()


def patient(get_node: Callable[..., Any]) -> Callable[..., Any]:
    """Ray's question whether a raylet has started, which it gives up after 30 seconds: too soon on a busy machine."""

    def ask(*words: Any) -> Any:
        end = monotonic() + START_SECONDS
        while True:
            try:
                return get_node(*words)
            except RuntimeError:
                if monotonic() > end:
                    raise
                sleep(0.5)

    return ask


@pytest.fixture
def cluster(raylets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The cluster, two raylets strong; `cluster.address` joins it."""
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "home"))
    return raylets
