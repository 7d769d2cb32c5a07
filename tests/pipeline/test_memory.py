"""A plan is compared with what the machine, its control groups and the process limits leave."""

from pathlib import Path

import pytest

from vrx.errors import DeviceError
from vrx.pipeline import memory
from vrx.pipeline.memory import HostMemory, Need, embedded_video_memory
from vrx.settings import Task

GB = 1_000_000_000


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """16 GB and 4 GB of swap, 10 GB and 4 GB of them free; no control groups, no limits."""
    meminfo = {"MemTotal": 16, "MemFree": 1, "MemAvailable": 10, "SwapTotal": 4, "SwapFree": 4}
    (tmp_path / "meminfo").write_text("".join(f"{k}:   {v * GB // 1024} kB\n" for k, v in meminfo.items()))
    (tmp_path / "membership").write_text("0::/a/b\n")
    (tmp_path / "groups" / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "process_limits", lambda: iter(()))
    return tmp_path


def limit(folder: Path, names: tuple[str, str, str], most: object, used: int, spare: int) -> None:
    for name, value in zip(
        names, (most, used, f"file 1\ninactive_file {spare}\ntotal_inactive_file {spare}"), strict=True
    ):
        (folder / name).write_text(f"{value}\n")


def limit_swap(folder: Path, names: tuple[str, str], most: object, used: int) -> None:
    for name, value in zip(names, (most, used), strict=True):
        (folder / name).write_text(f"{value}\n")


TWO = ("memory.max", "memory.current", "memory.stat")
ONE = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
TWO_SWAP = ("memory.swap.max", "memory.swap.current")
ONE_SWAP = ("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes")


def rounded(found: HostMemory | None) -> tuple[int, int]:
    assert found is not None
    return round(found.total / GB), round(found.available / GB)


def test_a_machine_without_limits(machine: Path) -> None:
    assert rounded(memory.host_memory()) == (20, 14)


def test_the_limit_of_a_control_group_around_counts_and_the_machine_s_swap_beside_it(machine: Path) -> None:
    limit(machine / "groups" / "a", TWO, 8 * GB, 5 * GB, 2 * GB)
    limit(machine / "groups" / "a" / "b", TWO, "max", 3 * GB, 0)
    assert rounded(memory.host_memory()) == (12, 9)
    assert rounded(memory.host_memory(swap=False)) == (8, 5)
    assert str(memory.host_memory()) == "this process may take 12.0 GB"
    assert memory.unswapped_memory() == 5 * GB


@pytest.mark.parametrize(("most", "used", "left"), [(0, 0, (8, 5)), (3 * GB, GB, (11, 7)), ("max", GB, (12, 9))])
def test_the_swap_of_a_control_group_has_a_limit_of_its_own(
    machine: Path, most: object, used: int, left: tuple[int, int]
) -> None:
    limit(machine / "groups" / "a", TWO, 8 * GB, 5 * GB, 2 * GB)
    limit_swap(machine / "groups" / "a", TWO_SWAP, most, used)
    assert rounded(memory.host_memory()) == left


def test_version_one_has_its_own_names_and_one_limit_for_memory_with_swap(machine: Path) -> None:
    (machine / "membership").write_text("7:cpu:/x\n4:memory:/c\n0::/\nnonsense\n")
    (machine / "groups" / "memory" / "c").mkdir(parents=True)
    limit(machine / "groups" / "memory" / "c", ONE, 6 * GB, 1 * GB, 0)
    limit(machine / "groups" / "memory", ONE, 2**63 - 4096, 9 * GB, 0)
    assert rounded(memory.host_memory()) == (10, 9)
    limit_swap(machine / "groups" / "memory" / "c", ONE_SWAP, 8 * GB, 2 * GB)
    assert rounded(memory.host_memory()) == (8, 6)
    assert rounded(memory.host_memory(swap=False)) == (6, 5)
    limit_swap(machine / "groups" / "memory" / "c", ONE_SWAP, 8 * GB, 0)  # read a moment before the other figure
    assert rounded(memory.host_memory()) == (8, 7)


def test_ulimit_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "process_limits", lambda: iter((HostMemory(3 * GB, 3 * GB),)))
    assert rounded(memory.host_memory()) == (3, 3)


def test_a_system_that_does_not_say_refuses_nothing(machine: Path) -> None:
    (machine / "meminfo").write_text("MemTotal: lots\n")
    assert memory.host_memory() is None
    memory.check(Need.of(10**15))
    assert memory.note(Need.of(10**15)) == ""


def test_this_machine_says_something_sensible() -> None:
    found = memory.host_memory()
    if found is not None:
        assert 0 < found.available <= found.total


@pytest.mark.parametrize(
    ("task", "size", "measured"),
    [(Task.UPSCALE, (3200, 2400), 1.03), (Task.UPSCALE, (1920, 1440), 0.78), (Task.DEBLUR, (2000, 1500), 1.51)],
)
def test_one_picture_takes_what_was_measured(task: Task, size: tuple[int, int], measured: float) -> None:
    found = memory.embedded_memory(size, (64, 48), 8, task, frames=1)
    assert found / 1e9 == pytest.approx(measured, rel=0.15)
    assert memory.embedded_memory(size, (64, 48), 8, task, frames=None) == embedded_video_memory(
        size, (64, 48), 8, task
    )


@pytest.mark.parametrize(("target", "expected"), [((640, 360), 0.53), ((1280, 720), 1.01), ((1920, 1080), 1.80)])  # GB
def test_a_video_takes_its_queues_too(target: tuple[int, int], expected: float) -> None:
    source = (target[0] // 4, target[1] // 4)
    assert embedded_video_memory(target, source, 8, Task.DEBLUR) / GB == pytest.approx(expected, abs=0.01)


def test_scene_detection_holds_17_frames_of_the_source() -> None:
    one, none = (1000, 500), (0, 0)
    held = [
        embedded_video_memory((64, 48), one, depth, Task.DEBLUR)
        - embedded_video_memory((64, 48), none, depth, Task.DEBLUR)
        for depth in (8, 10)
    ]
    assert held == [17 * 1000 * 500 * 2, 2 * 17 * 1000 * 500 * 2]  # luma and chroma; two bytes a sample above 8 bits


def test_enlarging_holds_frames_that_come_later() -> None:
    small, one, none = (64, 48), (1000, 500), (0, 0)
    held = [
        embedded_video_memory(small, one, 8, task) - embedded_video_memory(small, none, 8, task)
        for task in (Task.UPSCALE, Task.DEBLUR)
    ]
    assert held[0] - held[1] == 1150 * 1000 * 500
    measured = 1.76e9  # the largest resident size at 1920x1080, from half of it
    assert measured * 0.9 < embedded_video_memory((1920, 1080), (960, 540), 8, Task.UPSCALE) < measured * 1.3


def test_a_picture_takes_bytes_by_its_task() -> None:
    found = [memory.embedded_memory((1000, 1000), (500, 500), 8, task, frames=1) - memory.BASE_MEMORY for task in Task]
    assert dict(zip(Task, found, strict=True)) == {Task.UPSCALE: 190e6, Task.DEBLUR: 400e6, Task.INPAINT: 400e6}


def test_what_cannot_fit_is_refused_and_what_may_not_is_noted(machine: Path) -> None:
    """Of a prediction three quarters are certain: 20 GB are enough for some runs that are said to take 26."""
    memory.check(Need.of(int(26.6 * GB)))
    with pytest.raises(DeviceError, match=r"^26\.7 GB .* this machine has 20\.0 GB\. Use a smaller"):
        memory.check(Need.of(int(26.7 * GB)))
    assert memory.note(Need.of(int(26.7 * GB))).endswith("this machine has 20.0 GB: it would be refused")
    assert memory.note(Need.of(int(26.6 * GB))).endswith("this machine has 20.0 GB: it may be slow, or run out")
    assert memory.note(Need.of(18 * GB)).endswith("14.0 GB are free: it may run out")
    assert memory.note(Need.of(int(14.5 * GB))) != ""
    assert memory.note(Need.of(int(14.3 * GB))) == ""  # what this process has already counts once


@pytest.mark.parametrize(
    ("task", "source", "target", "measured"),
    [
        (Task.UPSCALE, (1920, 1080), (7680, 4320), 3.06e9),
        (Task.UPSCALE, (3840, 2160), (7680, 4320), 4.11e9),
        (Task.DEBLUR, (7680, 4320), (7680, 4320), 3.13e9),
        (Task.DEBLUR, (3840, 2160), (3840, 2160), 2.36e9),
        (Task.INPAINT, (7680, 4320), (7680, 4320), 4.92e9),
        (Task.INPAINT, (3840, 2160), (3840, 2160), 3.36e9),
    ],
)
def test_the_largest_results_take_what_was_measured(
    task: Task, source: tuple[int, int], target: tuple[int, int], measured: float
) -> None:
    assert measured <= embedded_video_memory(target, source, 8, task) <= 1.15 * measured
