"""Workers must be alike, and fit their nodes; without Ray there is one clear line."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Command
from vrx.cluster.connect import Need, Node, plan_workers
from vrx.cluster.crew import Worker as Member
from vrx.cluster.crew import check_alike, fail_together, no_room
from vrx.cluster.units import Facts
from vrx.errors import Exit, ModelError, UsageError
from vrx.pipeline.spans.result import Means

GB = 10**9
MEANS = Means(model="embedded", checkpoint="a 1", device="cpu", dtype="fp32")
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


def test_without_ray_one_line_says_how_to_get_it(
    vrx: Command, clip: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(frames=2)  # type: ignore[operator]
    monkeypatch.setitem(sys.modules, "ray", None)
    done = vrx("upscale", "clip.mkv", "-s", "2", "--ray", "local")
    assert done.returncode == Exit.USAGE
    assert (
        done.stderr.strip() == 'vrx: --ray needs Ray, which is not installed. Install it with: pip install "vrx[ray]"'
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ray", "local", "--jobs", "2"), "--ray and --jobs are mutually exclusive"),
        (("--ray", "local", "--preview"), "--ray and previews are mutually exclusive"),
        (("--ship",), "--ship is for runs on a cluster"),
    ],
)
def test_options_that_do_not_go_together(vrx: Command, clip: object, words: tuple[str, ...], message: str) -> None:
    clip(frames=2)  # type: ignore[operator]
    done = vrx("upscale", "clip.mkv", "-s", "2", *words)
    assert done.returncode == Exit.USAGE
    assert message in done.stderr
