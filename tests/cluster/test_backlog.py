"""Tasks that wait: which worker gets which, how many wait at most, and which are begun a second time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.cluster.test_crew import FACTS, node
from tests.pipeline.jobs import make_job
from vrx.cluster.connect import Actor
from vrx.cluster.crew import Worker, find_slow
from vrx.cluster.files import Backlog, Feeder, FeederSettings, FileRun, Task
from vrx.cluster.run import count_wanted, estimate_left, find_bound
from vrx.cluster.units import FileDone, FileUnit
from vrx.errors import StoppedError
from vrx.events import ignore
from vrx.pipeline.pool import ModelPool

SETTINGS = FeederSettings(watch=ignore, fail=lambda *_: None, finished=lambda *_: None, on_worker=lambda job: job)


def make_task(folder: Path, frames: int = 240) -> Task:
    job = make_job(folder / "a.mkv")
    return Task(FileRun(0, job, None), FileUnit(job=job, limit=240), weight=frames, frames=frames, label="a.mkv")


def at_work(name: str, task: Task | None, begun: float = 0.0, done: int = 0) -> Worker:
    return Worker(name, node(name), actor=None, facts=FACTS, task=task, begun=begun, done=done)  # type: ignore[arg-type]


@pytest.mark.parametrize(("span", "waiting_counts"), [(None, False), (0, True)])
def test_the_time_of_a_whole_file_is_not_that_of_its_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, span: int | None, waiting_counts: bool
) -> None:
    monkeypatch.setattr(Actor, "begin", lambda self, unit, label: None)
    worker, task = at_work("a", None), replace(make_task(tmp_path), span=span)
    worker.actor = Actor(handle=None, ready=None, place=None)
    opened = task.file.begin
    worker.begin(task)
    assert (task.file.begin == opened) == waiting_counts


def test_the_heaviest_task_comes_first(tmp_path: Path) -> None:
    backlog, tasks = Backlog(8), [make_task(tmp_path, frames) for frames in (10, 30, 20)]
    for task in tasks:
        backlog.put(task)
    assert [backlog.take("a", ["a"]) for _ in range(4)] == [tasks[1], tasks[2], tasks[0], None]


def test_files_that_take_no_first_pass_come_first_while_few_tasks_wait(tmp_path: Path) -> None:
    files = [FileRun(number, make_job(tmp_path / "a.mkv"), None) for number in range(6)]
    for file, size in zip(files, (60, 50, 40, 30, 20, 10), strict=True):
        file.bytes = size
    backlog = Backlog(4)
    feeder = Feeder(files, backlog, ModelPool(), FACTS.means, replace(SETTINGS, long={0, 1}))
    order = []
    for _ in files:
        file = feeder._pop()
        order.append(file.number)
        if file.number > 1:
            backlog.put(replace(make_task(tmp_path), file=file))
    assert order == [2, 3, 0, 1, 4, 5]


def test_a_failed_task_goes_to_another_worker_while_there_is_one(tmp_path: Path) -> None:
    backlog, task = Backlog(8), make_task(tmp_path)
    task.failures = ["a"]
    backlog.put(task)
    assert backlog.take("a", ["a", "b"]) is None
    assert backlog.take("b", ["a", "b"]) is task


def test_a_task_that_failed_on_all_workers_goes_to_any(tmp_path: Path) -> None:
    backlog, task = Backlog(8), make_task(tmp_path)
    task.failures = ["a", "b", "one that is gone"]
    backlog.put(task)
    assert backlog.take("a", ["a", "b", "c"]) is None
    assert backlog.take("a", ["a", "b"]) is task


def test_whoever_adds_to_a_full_backlog_waits(tmp_path: Path) -> None:
    backlog, tasks = Backlog(2), [make_task(tmp_path, frames) for frames in (1, 2, 3)]

    def feed() -> None:
        for task in tasks:
            backlog.put(task)

    thread = Thread(target=feed)
    thread.start()
    thread.join(0.3)
    assert (thread.is_alive(), len(backlog)) == (True, 2)
    assert backlog.take("a", ["a"]) is tasks[1]
    thread.join(10)
    assert (thread.is_alive(), len(backlog)) == (False, 2)
    backlog.close()
    with pytest.raises(StoppedError):
        backlog.put(tasks[1])


def test_a_file_is_complete_once_all_its_tasks_are_made_and_done(tmp_path: Path) -> None:
    backlog, task = Backlog(8), make_task(tmp_path)
    file, other = task.file, FileRun(1, task.file.job, None)
    backlog.put(task)
    file.accept(task, FileDone(("a.mkv",), 240, 1))
    assert (file.done, file.share, backlog.complete([file, other])) == (240, 1.0, [])
    backlog.end_file(file)
    assert backlog.complete([file, other]) == [file]
    backlog.reopen_file(file)
    assert backlog.complete([file, other]) == []
    backlog.put(task, last=True)
    assert (file.tasks, file.fed, backlog.complete([file])) == (1, True, [])


def test_whoever_waits_for_a_change_hears_of_a_files_last_task_and_of_one_that_comes_back(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    for change in (lambda backlog: backlog.end_file(task.file), lambda backlog: backlog.put_back(task)):
        backlog, ready, heard = Backlog(8), Event(), Event()
        Thread(target=wait_for_change, args=(backlog, ready, heard), daemon=True).start()
        assert ready.wait(10)
        change(backlog)
        assert heard.wait(10)


def wait_for_change(backlog: Backlog, ready: Event, heard: Event) -> None:
    with backlog.changed:
        ready.set()
        backlog.changed.wait()
    heard.set()


@pytest.mark.parametrize(("workers", "bound"), [(1, 8), (2, 8), (3, 12), (100, 400)])
def test_four_tasks_wait_for_each_worker(workers: int, bound: int) -> None:
    assert find_bound(workers) == bound


def test_workers_are_wanted_without_limit_until_all_files_are_divided(tmp_path: Path) -> None:
    files = [make_task(tmp_path).file for _ in range(3)]
    files[0].fed = True
    files[1].result = StoppedError("it failed before it was divided")
    assert count_wanted(files, waiting=2, busy=1) == float("inf")
    files[2].fed = True
    assert count_wanted(files, waiting=2, busy=1) == 3
    assert count_wanted(files, waiting=0, busy=0) == 0


def test_the_time_left_is_said_once_a_hundredth_is_done() -> None:
    assert estimate_left(10.0, 0.009) is None
    assert estimate_left(10.0, 0.011) == pytest.approx(899.09, abs=0.01)
    assert estimate_left(10.0, 1.0) == 0


@pytest.mark.parametrize(
    ("spent", "done", "expected"),
    [
        (60.0, 40, True),  # 240 frames, a fresh attempt takes 24 s; 300 s are left
        (60.0, 0, True),  # nothing is known to be done
        (20.0, 10, False),  # it has not had the time of a fresh attempt
        (36.1, 120, True),  # 36.1 s are left, which are more than 1.5 times 24
        (35.9, 120, False),
    ],
)
def test_a_slow_task_is_begun_a_second_time(tmp_path: Path, spent: float, done: int, expected: bool) -> None:
    task, idle = make_task(tmp_path), at_work("b", None)
    workers = [at_work("a", task, begun=100.0, done=done), idle]
    assert (find_slow(workers, idle, fps=10.0, now=100.0 + spent) is task) == expected


@pytest.mark.parametrize(("spent", "expected"), [(4.9, False), (5.1, True)])
def test_short_tasks_get_five_seconds(tmp_path: Path, spent: float, expected: bool) -> None:
    task, idle = make_task(tmp_path, frames=10), at_work("b", None)
    assert (find_slow([at_work("a", task), idle], idle, fps=10.0, now=spent) is task) == expected


def test_the_slowest_task_is_begun_again_once_and_elsewhere(tmp_path: Path) -> None:
    slow, slower, idle = make_task(tmp_path), make_task(tmp_path), at_work("c", None)
    workers = [at_work("a", slow, done=40), at_work("b", slower, done=20), idle]
    assert find_slow(workers, idle, fps=10.0, now=60.0) is slower
    assert find_slow([*workers, at_work("d", slower)], idle, fps=10.0, now=60.0) is slow
    slower.failures = slow.failures = ["c"]
    assert find_slow(workers, idle, fps=10.0, now=60.0) is None
