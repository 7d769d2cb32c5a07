"""Several GPUs of one machine: what is asked for, what they are told, and what they cannot do."""

import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import vrx as package
from tests.clips import ClipMaker
from tests.cluster.conftest import needs_ray
from vrx import api
from vrx.batches import BatchSettings
from vrx.cluster import batch as cluster_batch
from vrx.cluster import connect, join, reaper, start
from vrx.cluster.connect import Node, plan_workers
from vrx.cluster.gpus import share_gpus
from vrx.cluster.join import MARK, NICENESS, VISIBLE, environment_of_workers, start_node, without_services
from vrx.errors import DeviceError, InputError, UsageError, VrxError
from vrx.pipeline import devices
from vrx.pipeline.jobs import JobResult
from vrx.pipeline.run import RestoreResult
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task

GPU_NODE = Node("id", "here", cpus=16, gpus=2, memory=64 << 30)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has two, as far as a driver asks."""

    def fault(device: torch.device) -> str:
        return "" if (device.index or 0) < 2 else "there are two"

    monkeypatch.setattr(devices, "device_fault", fault)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def jobs_on(*names: str) -> list[Job]:
    return [
        Job(
            source=f"{number}.mp4",
            model=ModelSettings(device=name),
            restore=RestoreSettings(task=Task.UPSCALE),
            selection=SelectionSettings(),
            output=OutputSettings(path=f"{number}.mkv"),
        )
        for number, name in enumerate(names)
    ]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["all", "cuda:0,cuda:1", "cuda:1,cuda:0"])
def test_several_gpus_are_a_cluster_of_this_machine(name: str) -> None:
    jobs, settings = share_gpus(jobs_on(name, name), None)
    assert settings == BatchSettings(ray="local", gpus=(0, 1))
    assert [job.model.device for job in jobs] == ["cuda", "cuda"]


@pytest.mark.usefixtures("two_gpus")
def test_one_gpu_needs_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_on("cuda:1", "auto")
    assert share_gpus(jobs, None) == (jobs, None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    (job,), settings = share_gpus(jobs_on("all"), BatchSettings(jobs=2))
    assert (job.model.device, settings) == ("cuda:0", BatchSettings(jobs=2))


@pytest.mark.usefixtures("two_gpus")
def test_a_local_cluster_may_have_one_of_the_gpus_alone() -> None:
    (job,), settings = share_gpus(jobs_on("cuda:1"), BatchSettings(ray="local"))
    assert (job.model.device, settings) == ("cuda", BatchSettings(ray="local", gpus=(1,)))


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("names", "settings", "error", "text"),
    [
        (("cuda:0,cuda:2",), BatchSettings(), DeviceError, "the device cuda:2 is not available: there are two"),
        (("all", "cpu"), BatchSettings(), UsageError, "jobs of one batch are to run on all and on cpu"),
        (("all",), BatchSettings(ray="10.0.0.1:6379"), UsageError, "--device all and --ray 10.0.0.1:6379 are mutually"),
        (("cuda:1",), BatchSettings(ray="auto"), UsageError, "--device cuda:1 and --ray auto are mutually"),
        (("all",), BatchSettings(trace=Path("t.json")), UsageError, "--trace and --device all are mutually exclusive"),
        (("all",), BatchSettings(jobs=2), UsageError, "--device with several GPUs and --jobs are mutually exclusive"),
    ],
)
def test_what_several_gpus_cannot_do_is_one_line(
    names: Sequence[str], settings: BatchSettings, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        api.batch(jobs_on(*names), settings=settings)


@pytest.mark.parametrize("name", ["cuda:0,cuda:x", "cuda:0,", "cpu,cpu", "cuda,cuda:1", "all,cuda:0"])
def test_names_of_several_gpus_are_checked(name: str) -> None:
    with pytest.raises(UsageError, match="--device is"):
        ModelSettings(device=name)


def test_without_a_gpu_all_of_them_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(DeviceError, match="the device cuda is not available"):
        api.batch(jobs_on("all"))


@pytest.mark.usefixtures("two_gpus")
def test_a_single_device_is_wanted_elsewhere() -> None:
    with pytest.raises(DeviceError, match="--device all is for runs that restore"):
        devices.pick_device("all")


@pytest.mark.usefixtures("two_gpus")
def test_without_ray_several_gpus_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match="several GPUs need Ray, which is not installed"):
        api.batch(jobs_on("all"))


def test_workers_take_a_gpu_each_but_for_a_run_on_the_processor() -> None:
    assert plan_workers([GPU_NODE], 1 << 30, None, "cuda").gpus == 1
    assert plan_workers([GPU_NODE], 1 << 30, None).gpus == 1
    assert plan_workers([GPU_NODE], 1 << 30, None, "cpu").gpus == 0


@pytest.mark.parametrize(("view", "seen"), [(None, "1,2"), ("4,5,6", "5,6")])
def test_only_the_named_gpus_are_seen(monkeypatch: pytest.MonkeyPatch, view: str | None, seen: str) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    if view is not None:
        monkeypatch.setenv(VISIBLE, view)
    with environment_of_workers((1, 2)):
        assert os.environ[VISIBLE] == seen
    assert os.environ.get(VISIBLE) == view


@pytest.mark.usefixtures("two_gpus")
def test_python_shares_gpus_too(monkeypatch: pytest.MonkeyPatch, clip: ClipMaker) -> None:
    """The result of the one job, or its error."""
    outcomes: list[RestoreResult | VrxError] = [
        RestoreResult(path=Path("a.mkv"), frames=1, scenes=1, seconds=1.0),
        InputError("cannot read in.mkv"),
    ]

    class OneJob(cluster_batch.ClusterBatch):
        def __init__(self, jobs: Sequence[Job], _watch: object, settings: BatchSettings, _: object) -> None:
            assert ([job.model.device for job in jobs], settings.gpus) == (["cuda"], (0, 1))

        def restore_all(self) -> dict[int, JobResult]:
            return {0: JobResult(outcomes.pop(0), 1.0)}

    monkeypatch.setattr(start, "connect", lambda *_: nullcontext("this machine"))
    monkeypatch.setattr(cluster_batch, "ClusterBatch", OneJob)
    path = clip("in.mkv", frames=2)
    assert package.upscale(path, device="all").path == Path("a.mkv")
    with pytest.raises(InputError, match="cannot read"):
        package.upscale(path, device="cuda:0,cuda:1")
    with pytest.raises(DeviceError, match="cuda:2 is not available"):
        package.preview(path, device="cuda:0,cuda:2")


@pytest.mark.parametrize(("wanted", "seen"), [(None, "0"), ("7", "7")])
def test_workers_have_the_priority_of_a_plain_run(
    monkeypatch: pytest.MonkeyPatch, wanted: str | None, seen: str
) -> None:
    monkeypatch.delenv(NICENESS, raising=False)
    if wanted is not None:
        monkeypatch.setenv(NICENESS, wanted)
    with environment_of_workers():
        assert os.environ[NICENESS] == seen
        assert VISIBLE not in os.environ
    assert os.environ.get(NICENESS) == wanted


def test_what_serves_many_users_is_started_again_after_a_local_cluster() -> None:
    def make(**given: object) -> dict[str, object]:
        return given

    def serve(*_: object, **__: object) -> tuple[str, str]:
        return "address", "process"

    parameter, services = SimpleNamespace(RayParams=make), SimpleNamespace(start_api_server=serve)
    ray = SimpleNamespace(_private=SimpleNamespace(parameter=parameter, services=services))
    with pytest.raises(KeyError), without_services(ray):
        assert parameter.RayParams(num_cpus=2) == {"num_cpus": 2, "no_monitor": True, "include_log_monitor": False}
        assert services.start_api_server("host", port=1) == (None, None)
        raise KeyError
    assert parameter.RayParams is make
    assert services.start_api_server is serve
    for other in (SimpleNamespace(), SimpleNamespace(_private=SimpleNamespace(parameter=SimpleNamespace()))):
        with without_services(other):
            pass


def test_a_ray_whose_parts_have_another_form_starts_with_all_services() -> None:
    def make(**values: object) -> dict[str, object]:
        if "no_monitor" in values:
            raise TypeError("got an unexpected keyword argument 'no_monitor'")
        return values

    made: list[object] = []
    parameter = SimpleNamespace(RayParams=make)
    ray = SimpleNamespace(_private=SimpleNamespace(parameter=parameter), shutdown=lambda: made.append("shut down"))
    ray.init = lambda **options: made.append(parameter.RayParams(**options))
    start_node(ray, num_cpus=2)
    assert made == ["shut down", {"num_cpus": 2}]


@needs_ray
def test_each_worker_of_this_machine_sees_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")

    class Seer:
        def sees(self) -> tuple[str, str]:
            return os.environ[VISIBLE], os.environ[MARK]

    with join.connect("local", ship=False, gpus=(1, 3)):
        started = set(ray._private.worker._global_node.all_processes)
        assert started & {"monitor", "dashboard", "log_monitor"} == set()
        assert {"gcs_server", "raylet"} <= started
        assert [node.gpus for node in connect.find_nodes()] == [2]
        made = ray.remote(Seer).options(num_gpus=1, num_cpus=0)
        actors: list[Any] = [made.remote() for _ in range(2)]
        seen, marks = zip(*ray.get([actor.sees.remote() for actor in actors]), strict=True)
        assert sorted(seen) == ["1", "3"]
        (mark,) = {f"{MARK}={mark}" for mark in marks}
        deadline = time.monotonic() + 20
        while len(reaper.find(mark)) <= len(actors) + len(started):  # agents of the raylet bear it, too
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert reaper.find(mark) == []
    assert VISIBLE not in os.environ


@pytest.mark.usefixtures("two_gpus")
def test_a_batch_is_handed_to_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[tuple[Sequence[Job], BatchSettings]] = []
    monkeypatch.setattr(start, "connect", lambda *_: nullcontext("this machine"))
    monkeypatch.setattr(cluster_batch, "ClusterBatch", lambda jobs, _, settings, __: handed.append((jobs, settings)))
    api.batch(jobs_on("cuda:0,cuda:1"))
    ((jobs, settings),) = handed
    assert settings.gpus == (0, 1)
    assert jobs[0].model.device == "cuda"
