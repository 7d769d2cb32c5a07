"""A real Ray cluster of two raylets on this machine, each with room for one worker; clips and their results."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.clips import ClipMaker
from tests.cluster.batches import LEAST, SIZE, Made, Maker, jobs_of, outputs
from tests.conftest import ROOT
from tests.pipeline.spans.sources import KINDS
from vrx.cluster import batch, files
from vrx.cluster.join import without_services
from vrx.pipeline.spans import result
from vrx.pipeline.spans.result import restore_in_spans

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason='needs pip install "vrx[ray]"')
STARTS = 5  # of a raylet, at most
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
    import ray
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
        head = {**SMALL, "include_dashboard": False}
        with without_services(ray):
            made = persist(lambda: Cluster(initialize_head=True, head_node_args=head))
        try:
            persist(lambda: made.add_node(**SMALL))
            yield made
        finally:
            made.shutdown()


def persist(start: Callable[[], Any]) -> Any:
    """Start a raylet, if need be several times: Ray gives up after half a minute, too soon on a busy machine."""
    for _ in range(STARTS - 1):
        try:
            return start()
        except Exception as error:  # Ray raises no other kind
            if "timed out during startup" not in str(error):
                raise
    return start()


@pytest.fixture
def cluster(raylets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The cluster, two raylets strong; `cluster.address` joins it."""
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "home"))
    return raylets


@pytest.fixture
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (result, files, batch):
        monkeypatch.setattr(module, "SEGMENT_FRAMES", LEAST)


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Clips of some kinds, each made and restored once, in short spans."""

    @cache
    def make_once(kind: str) -> Made:
        folder = tmp_path_factory.mktemp(kind.replace(" ", "-"))
        clip = KINDS[kind](ClipMaker(folder, SIZE))
        (job,) = jobs_of([clip], folder)
        restore_in_spans(job)
        return Made(clip, outputs([job])[0].read_bytes())

    return make_once
