"""Workers must be alike, and fit their nodes; without Ray there is one clear line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.clips import ClipMaker
from tests.conftest import Command
from tests.pipeline.jobs import make_job
from vrx import events
from vrx.batches import BatchSettings
from vrx.cli.batch import RunOptions
from vrx.cluster import connect, crew
from vrx.cluster.connect import Actor, LostError, Need, Node, plan_workers
from vrx.cluster.crew import Crew, check_alike, fail_together, no_room
from vrx.cluster.crew import Worker as Member
from vrx.cluster.units import Facts
from vrx.cluster.worker import VrxWorker
from vrx.errors import DeviceError, Exit, ModelError, UsageError
from vrx.pipeline import pool
from vrx.pipeline.spans.result import Means
from vrx.settings import Dtype, Job, RestoreSettings, Task
from vrx.weights.download import Downloader

GB = 10**9
MEANS = Means(model="embedded", checkpoint="a 1", device="cpu", dtype="fp32", network_type="fp32")
FACTS = Facts(host="a", pid=1, means=MEANS, versions={"vrx": "1", "torch": "2.13"})


def node(name: str, cpus: float = 8, gpus: float = 0, memory: float = 16 * GB) -> Node:
    return Node(name, name, cpus, gpus, memory)


def member(name: str, facts: Facts) -> Member:
    return Member(f"vrx worker {name}", node(name), actor=None, facts=facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("nodes", "memory", "threads", "expected", "places"),
    [
        ([node("a"), node("b", cpus=4)], GB, None, Need(1, GB), [8, 4]),
        ([node("a")], 4 * GB, None, Need(2, 4 * GB), [4]),  # four fit the memory, so each gets two of eight cores
        ([node("a")], GB, 3, Need(3, GB), [2]),
        ([node("a", cpus=16, gpus=4), node("b")], 2 * GB, None, Need(4, 2 * GB, 1), [4, 0]),
        ([node("a")], 20 * GB, None, Need(1, 20 * GB), [0]),
    ],
)
def test_workers_fill_nodes_within_memory(
    nodes: list[Node], memory: int, threads: int | None, expected: Need, places: list[int]
) -> None:
    need = plan_workers(nodes, memory, threads)
    assert need == expected
    assert [need.places(one) for one in nodes] == places


def test_no_room_says_what_is_needed() -> None:
    message, hint = no_room(Need(1, 20 * GB), [node("a")])
    assert "20.0 GB" in message
    assert "16.0 GB" in message
    assert hint


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(FACTS, versions={"vrx": "1", "torch": "2.12"}), "torch 2.13 and 2.12"),
        (replace(FACTS, means=replace(MEANS, dtype="bf16")), "dtype fp32 and bf16"),
        (replace(FACTS, means=replace(MEANS, checkpoint="b 2")), "checkpoint a 1 and b 2"),
        (replace(FACTS, means=replace(MEANS, network_type="bf16")), "dtype of its networks fp32 and bf16"),
    ],
)
def test_nodes_that_differ_are_named(other: Facts, words: str) -> None:
    check_alike([member("a", FACTS), member("c", replace(FACTS, host="c", pid=3))])
    with pytest.raises(UsageError, match=words) as caught:
        check_alike([member("a", FACTS), member("b", other)])
    assert "the nodes a and b differ" in str(caught.value)


def test_nodes_that_lack_a_checkpoint_are_named() -> None:
    error = fail_together({"b": ModelError("no checkpoint", "vrx models pull"), "a": ModelError("no checkpoint")})
    assert isinstance(error, ModelError)
    assert str(error) == "on a, b: no checkpoint. vrx models pull"


@pytest.mark.parametrize("found", [None, ModuleType("ray")])  # nothing, and a folder of that name
def test_without_ray_one_line_says_how_to_get_it(
    vrx: Command, clip: object, found: ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(frames=2)  # type: ignore[operator]
    monkeypatch.setitem(sys.modules, "ray", found)
    done = vrx("upscale", "clip.mkv", "-s", "2", "--ray", "local")
    assert done.returncode == Exit.USAGE
    assert (
        done.stderr.strip() == 'vrx: --ray needs Ray, which is not installed. Install it with: pip install "vrx[ray]"'
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ray", "local", "--jobs", "2"), "there are as many workers as cores and memory allow"),
        (("--ray", "local", "--preview"), "--ray and previews are mutually exclusive"),
        (("--ship",), "--ship is for runs on a cluster"),
        (("--ray", "local", "--until", "6:30", "-y"), "--until and --overwrite (-y) are mutually exclusive"),
        (("--ray", "local", "-o", "out"), "unknown format: out"),
        (("--ray", "local", "-o", "clip.mkv", "-y"), "the output clip.mkv is the input clip.mkv"),
    ],
)
def test_what_is_wrong_on_any_cluster_is_refused_before_one_is_joined(
    vrx: Command, clip: object, words: tuple[str, ...], message: str
) -> None:
    clip(frames=2)  # type: ignore[operator]
    done = vrx("upscale", "clip.mkv", "-s", "2", *words)
    assert done.returncode == Exit.USAGE
    assert message in done.stderr


@pytest.mark.parametrize(("settings", "expected"), [({}, False), ({"jobs": 2}, True), ({"ray": "local"}, True)])
def test_notes_name_their_file_where_several_are_at_work(settings: dict[str, Any], expected: bool) -> None:
    options = RunOptions(
        dry_run=False, json=False, quiet=False, verbose=False, progress="auto", batch=BatchSettings(**settings)
    )
    assert options.side_by_side == expected


class Clock:
    """A clock that goes on by what is waited for."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Cloud:
    """Nodes and workers as Ray shows them: who `arrives` (by number) is ready at a time, and all others never are."""

    def __init__(self, clock: Clock, nodes: list[Node], arrives: dict[int, float]) -> None:
        self.clock, self.nodes, self.arrives, self.asked, self.looks = clock, nodes, arrives, 0, 0
        self.lost: set[int] = set()
        self.pixels = 0
        self.jobs: list[Job] = []

    def find_nodes(self) -> list[Node]:
        self.looks += 1
        return list(self.nodes)

    def hire(self, name: str, need: Need, job: Job, shared: bool, pixels: int) -> Actor:
        self.asked += 1
        self.jobs.append(job)
        self.pixels = pixels
        return Actor(handle=None, ready=self.asked, place="a")

    def wait(self, references: Sequence[int], seconds: float) -> list[int]:
        found = [n for n in references if self.arrives.get(n, float("inf")) <= self.clock.now]
        if not found:
            self.clock.now += seconds
        return found

    def get(self, reference: object) -> object:
        if reference in self.lost:
            raise LostError("its process ended")
        return FACTS if isinstance(reference, int) else reference


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(crew, "monotonic", made)
    monkeypatch.setattr(Actor, "kill", lambda self: None)
    return made


def crew_of(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, source: str = "a.mkv", dtype: Dtype = "auto") -> Crew:
    """A crew of workers that take four of a node's eight cores."""
    for name in ("find_nodes", "hire", "wait", "get"):
        monkeypatch.setattr(connect, name, getattr(cloud, name))
    job = make_job(source)
    return Crew(Need(4, GB), replace(job, model=replace(job.model, dtype=dtype)), events.ignore)


def test_a_run_begins_a_minute_after_its_first_workers(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    made = crew_of(Cloud(clock, [node("a")], {1: 1000.0}), monkeypatch)
    made.gather()
    assert clock.now - 1000 == pytest.approx(60, abs=1)
    assert (len(made.ready), len(made.asked)) == (1, 1)


def test_workers_know_the_size_of_an_output_whose_source_they_may_not_see(
    clip: ClipMaker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud(clock, [node("a")], {1: 1000.0})
    crew_of(cloud, monkeypatch, str(clip(size=(64, 48), frames=1))).gather()
    assert cloud.pixels == 128 * 96


def test_time_until_workers_are_ready_is_used(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []

    def steps() -> Iterator[bool]:
        for _ in range(3):
            clock.now += 0.1
            taken.append(clock.now)
            yield True

    made = crew_of(Cloud(clock, [node("a")], {1: 1005.0, 2: 1005.0}), monkeypatch)
    made.gather(steps())
    assert taken == pytest.approx([1000.1, 1000.2, 1000.3])
    assert clock.now == pytest.approx(1005.0, abs=1)
    made = crew_of(Cloud(clock, [node("a")], {1: 0.0, 2: 0.0}), monkeypatch)
    made.gather(steps())
    assert len(taken) == 5  # a step for each worker that was waited for: none keeps them waiting


INT8 = replace(FACTS, means=replace(MEANS, dtype="int8"))
IN_BF16 = replace(FACTS, means=replace(MEANS, dtype="bf16", network_type="bf16"))


@pytest.mark.parametrize(
    ("wanted", "facts", "expected"),
    [
        ("auto", (INT8, INT8), "int8"),
        ("auto", (INT8, FACTS), "fp32"),
        ("auto", (FACTS, INT8), "fp32"),
        ("int8", (INT8, FACTS), "dtype int8 and fp32"),
        ("auto", (INT8, IN_BF16), "dtype fp32 and bf16"),
    ],
)
def test_processors_that_would_differ_in_8_bits_alone_do_without(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, wanted: Dtype, facts: tuple[Facts, Facts], expected: str
) -> None:
    cloud = Cloud(clock, [node("a")], {1: 0.0, 2: 0.0})
    monkeypatch.setattr(cloud, "get", lambda reference: facts[reference - 1] if reference in (1, 2) else reference)
    made = crew_of(cloud, monkeypatch, dtype=wanted)
    if " " in expected:
        with pytest.raises(UsageError, match=expected):
            made.gather()
        return
    made.gather()
    assert made.first is not None
    assert {made.first.means.dtype, *(worker.facts.means.dtype for worker in made.ready)} == {expected}
    made.dismiss(made.ready[0])
    made.update()
    later = "auto" if expected == "int8" else expected  # so that one that comes later has no other choice
    assert cloud.jobs[-1].model.dtype == later


@pytest.mark.parametrize(("pixels", "model"), [(3840 * 2160, "(embedded|stream-diffvsr)"), (64 * 48, "relayvsr")])
def test_a_worker_selects_its_model_by_that_size(monkeypatch: pytest.MonkeyPatch, pixels: int, model: str) -> None:
    monkeypatch.setattr(pool, "pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(pool, "free_memory", lambda _: 16 * GB)
    monkeypatch.setattr(Downloader, "for_watcher", lambda name, *_: pytest.fail(name))
    job = make_job("gone.mkv", restore=RestoreSettings(task=Task.UPSCALE, scale=4))
    job = replace(job, model=replace(job.model, device="auto"))
    with pytest.raises(pytest.fail.Exception, match=f"^{model}$"):
        VrxWorker().prepare(job, shared=False, pixels=pixels)


def test_a_run_without_any_worker_ends_after_five_minutes(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    made = crew_of(Cloud(clock, [node("a")], {}), monkeypatch)
    with pytest.raises(DeviceError, match="no worker of the cluster became ready"):
        made.gather()
    assert clock.now - 1000 == pytest.approx(300, abs=1)


@pytest.mark.parametrize(
    ("left", "seconds", "words"),
    [([], 60, "no node with room for one is left"), ([node("b")], 300, "a node has room, but no worker came")],
)
def test_a_run_ends_when_all_workers_are_gone(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, left: list[Node], seconds: int, words: str
) -> None:
    cloud = Cloud(clock, [node("a")], {1: 1000.0, 2: 1000.0})
    made = crew_of(cloud, monkeypatch)
    made.gather()
    clock.now += 10_000  # of work
    made.update()
    cloud.nodes = left
    for worker in list(made.ready):
        made.lose(worker, "its node is gone")
    begin = clock.now
    with pytest.raises(DeviceError, match=f"all workers of the cluster are gone: {words}") as caught:
        while clock.now - begin < 1000:
            made.update()
            clock.now += 1
    assert clock.now - begin == pytest.approx(seconds, abs=2)
    assert caught.value.hint == "See: ray status; the same command resumes"


def test_a_node_that_comes_back_in_time_goes_on(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(clock, [node("a")], {1: 1000.0, 2: 1000.0})
    made = crew_of(cloud, monkeypatch)
    made.gather()
    made.update()
    cloud.nodes = []
    for worker in list(made.ready):
        made.lose(worker, "its node is gone")
    clock.now += 50
    made.update()
    cloud.nodes, cloud.arrives = [node("a")], {3: clock.now + 100, 4: clock.now + 100}
    for _ in range(110):
        clock.now += 1
        made.update()
    assert len(made.ready) == 2


@pytest.mark.parametrize(("wanted", "asked"), [(float("inf"), 4), (3, 4), (1, 3), (0, 2)])
def test_workers_are_asked_for_while_there_is_work_for_them(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, wanted: float, asked: int
) -> None:
    cloud = Cloud(clock, [node("a")], {1: 1000.0, 2: 1000.0})
    made = crew_of(cloud, monkeypatch)
    made.gather()
    made.dismiss(made.ready[0])
    made.lose(made.ready[0], "its process ended")
    made.update(wanted)
    clock.now += crew.LOOK_AGAIN + 1
    made.update(wanted)
    assert cloud.asked == asked


def test_a_run_that_has_nothing_left_to_hand_out_needs_no_workers(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud(clock, [node("a")], {1: 1000.0, 2: 1000.0})
    made = crew_of(cloud, monkeypatch)
    made.gather()
    cloud.nodes = []
    for worker in list(made.ready):
        made.dismiss(worker)
    clock.now += crew.PATIENCE + 1
    made.update(0)
    with pytest.raises(DeviceError, match="all workers of the cluster are gone"):
        while clock.now < 1000 + 3 * crew.PATIENCE:
            clock.now += 1
            made.update(1)


@pytest.mark.parametrize(("seconds", "looks"), [(4.9, 1), (5.1, 2)])
def test_new_nodes_are_looked_for_every_five_seconds(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float, looks: int
) -> None:
    cloud = Cloud(clock, [node("a")], {1: 1000.0, 2: 1000.0})
    made = crew_of(cloud, monkeypatch)
    made.gather()
    clock.now += seconds
    made.update()
    assert cloud.looks == looks


def test_five_workers_that_end_at_once_are_enough(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(clock, [node("a", cpus=4)], dict.fromkeys(range(1, 20), 1000.0))
    made = crew_of(cloud, monkeypatch)
    made.gather()
    cloud.lost = set(range(2, 20))
    made.lose(made.ready[0], "its process ended")
    with pytest.raises(DeviceError, match="gone: the last 5 ended before they were ready"):
        while clock.now < 1100:
            clock.now += 6
            made.update()
    assert cloud.asked == 6  # one that was ready, and five more
