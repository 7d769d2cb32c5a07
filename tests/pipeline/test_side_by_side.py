"""Jobs in several processes: the same results, memory that is waited for, and ends of all kinds."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.clips import ClipMaker
from tests.conftest import ROOT, Command
from tests.forked import Forked
from tests.held import hold_encoder
from tests.pipeline.jobs import make_job
from vrx import events
from vrx.batches import BatchSettings, Deadline
from vrx.errors import DeviceError, Exit, FailedInputsError, InputError, OutputError, StoppedError, VrxError
from vrx.pipeline import memory, side_by_side
from vrx.pipeline.batch import Batch
from vrx.pipeline.jobs import JobResult
from vrx.pipeline.memory import BASE_MEMORY, HostMemory
from vrx.pipeline.pool import ModelPool, Selection
from vrx.pipeline.side_by_side import SideBySide, Task, Worker, death_of, divide_threads
from vrx.settings import Job, ModelSettings

TWO = BatchSettings(jobs=2)


def jobs_of(clip: ClipMaker, tmp_path: Path, names: str, frames: int = 3) -> list[Job]:
    return [make_job(clip(f"{name}.mkv", frames=frames), tmp_path / f"{name}.x2.mkv") for name in names]


def test_results_are_those_of_jobs_in_turn_and_failures_stay_with_their_input(
    vrx: Command, clip: ClipMaker, tmp_path: Path
) -> None:
    for number, name in enumerate(("a", "b", "c")):
        clip(f"{name}.mkv", frames=2 + number)
    clip("there.mkv", frames=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "there.x2.mkv").touch()
    (tmp_path / "bad.mkv").write_text("no video")
    names = ("a.mkv", "bad.mkv", "b.mkv", "there.mkv", "c.mkv")
    words = ("upscale", *names, "-s", "2", "-n", "--device", "cpu", "--dtype", "fp32", "--threads", "1")
    done = vrx(*words, "-o", "out/", "--jobs", "2", "--json")
    assert done.returncode == 7
    found = [json.loads(line) for line in done.stdout.splitlines()]
    ends = {e["input"]: e["type"] for e in found if e["type"] in ("finished", "failed", "skipped")}
    assert ends == dict(zip(names, ("finished", "failed", "finished", "skipped", "finished"), strict=True))
    assert found[-1] == {
        "type": "batch-finished", "input": "", "done": 3, "failed": 1, "skipped": 1, "exit_code": 7
    }  # fmt: skip
    assert vrx(*words, "-o", "alone/").returncode == 7
    for name in "abc":
        assert (tmp_path / "out" / f"{name}.x2.mkv").read_bytes() == (
            tmp_path / "alone" / f"{name}.x2.mkv"
        ).read_bytes()


def test_the_table_is_in_order_and_notes_name_their_input(vrx: Command, clip: ClipMaker) -> None:
    for name in "ab":
        clip(f"{name}.mkv", frames=2)
    done = vrx("upscale", "a.mkv", "b.mkv", "-s", "2", "-j", "2", "--on-done", "echo $VRX_STATUS; exit 1")
    assert done.returncode == 7
    rows = [line.split() for line in done.stderr.splitlines() if " to " in line and "x2.mkv;" in line]
    assert [row[:2] for row in rows] == [["a.mkv", "done"], ["b.mkv", "done"]]
    for name in "ab":
        assert f"{name}.mkv: on-done: done\n" in done.stderr
        assert f"{name}.mkv: the --on-done command ended with status 1\n" in done.stderr


class Stuck(Worker):
    """A worker whose tasks never end, by number."""

    begun: dict[int, "Stuck"] = {}  # noqa: RUF012

    def begin(self, task: Task) -> None:
        self.task = task
        Stuck.begun[task.number] = self


class Told:
    """Sent to a process, it tells what that process began with."""

    def __reduce__(self) -> Any:
        words = "import os, sys; found = ('vrx.pipeline.jobs' in sys.modules, len(os.listdir('/proc/self/task')))"
        return eval, (f"(exec({words!r}, scope := {{}}), scope['found'])[1]",)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list the threads of a process")
def test_processes_begin_with_the_package_at_hand_and_no_thread() -> None:
    context = side_by_side.process_context()
    here, there = context.Pipe()
    process = context.Process(target=there.send, args=(Told(),))
    process.start()
    assert here.recv() == (True, 1)
    process.join()


@pytest.mark.parametrize(("system", "method"), [("linux", "forkserver"), ("darwin", "spawn"), ("win32", "spawn")])
def test_only_on_linux_do_processes_begin_as_forks(monkeypatch: pytest.MonkeyPatch, system: str, method: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert side_by_side.process_context().get_start_method() == method


def test_processes_see_the_variables_of_today(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(clip("a.mkv", frames=1), tmp_path / "a.x2.mkv")
    for program, failed in (("/none", True), ("", False)):
        monkeypatch.setenv("VRX_FFMPEG", program)
        worker = Worker(TWO)
        worker.begin(Task(0, job, None, 0))
        while not isinstance(result := worker.connection.recv(), JobResult):
            continue
        worker.end(side_by_side.STOP_SECONDS)
        assert isinstance(result.result, VrxError) == failed


def tasks_of(jobs: list[Job], sizes: list[int]) -> list[Task]:
    return [Task(n, job, None, size) for n, (job, size) in enumerate(zip(jobs, sizes, strict=True))]


@pytest.mark.parametrize(
    ("sizes", "free", "begun"),
    [
        ([10, 10, 10], 100, [0, 1]),  # as many as --jobs
        ([60, 50, 30], 100, [0, 2]),  # the second would not fit beside the first, the third does
        ([200, 10, 10], 100, [0]),  # one always begins
    ],
)
def test_jobs_begin_as_far_as_memory_reaches(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], free: int, begun: list[int]
) -> None:
    Stuck.begun.clear()
    monkeypatch.setattr(side_by_side, "Worker", Stuck)
    seen: list[events.Event] = []
    runner = SideBySide(TWO, seen.append, lambda: free)
    monkeypatch.setattr(runner, "_receive", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    jobs = [make_job(f"{n}.mkv") for n in range(3)]
    monkeypatch.setattr(side_by_side, "STOP_SECONDS", 0.1)
    with pytest.raises(KeyboardInterrupt):
        runner.run(tasks_of(jobs, sizes), {}, lambda task, error: pytest.fail(str(error)))
    assert list(Stuck.begun) == begun
    waiting = [e for e in seen if isinstance(e, events.Noted)]
    assert [note.code for note in waiting] == ["waiting-for-memory"] * (len(waiting))
    assert bool(waiting) == (sizes[0] > 10)
    assert all(not worker.process.is_alive() for worker in Stuck.begun.values())


def test_memory_that_others_took_meanwhile_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    Stuck.begun.clear()
    monkeypatch.setattr(side_by_side, "Worker", Stuck)
    left = iter([100, 40, 40, 40])
    runner = SideBySide(TWO, events.ignore, lambda: next(left))
    monkeypatch.setattr(runner, "_receive", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(side_by_side, "STOP_SECONDS", 0.1)
    with pytest.raises(KeyboardInterrupt):
        runner.run(tasks_of([make_job("a"), make_job("b")], [45, 45]), {}, lambda task, error: pytest.fail(str(error)))
    assert len(Stuck.begun) == 1


def test_memory_without_swap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = "MemTotal: 100 kB\nMemAvailable: 40 kB\nSwapTotal: 50 kB\nSwapFree: 30 kB\n"
    (tmp_path / "meminfo").write_text(rows)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "MEMBERSHIP", tmp_path / "none")
    monkeypatch.setattr(memory, "process_limits", lambda: iter(()))
    assert memory.host_memory() == HostMemory(150 * 1024, 70 * 1024)
    assert memory.unswapped_memory() == 40 * 1024
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert memory.unswapped_memory() == float("inf")


def test_the_memory_of_each_job_is_estimated(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    monkeypatch.setattr(SideBySide, "run", lambda self, tasks, results, fail: found.extend(t.memory for t in tasks))
    small, large = jobs_of(clip, tmp_path, "a"), make_job(clip("b.mkv", frames=2, size=(320, 240)), tmp_path / "o.mkv")
    Batch([*small, large], events.ignore, TWO).restore_all()
    assert BASE_MEMORY < found[0] < found[1]


def test_threads_are_divided_unless_the_user_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 9)
    task = Task(0, make_job("a.mkv"), None, 1)
    assert [divide_threads(task, count).job.model.threads for count in (1, 2, 20)] == [9, 4, 1]
    asked = replace(task, job=replace(task.job, model=ModelSettings(threads=3)))
    assert divide_threads(asked, 2) == asked


def test_a_killed_worker_is_the_failure_of_its_input(clip: ClipMaker, tmp_path: Path) -> None:
    jobs = jobs_of(clip, tmp_path, "abc", frames=6)
    seen: list[events.Event] = []
    killed: list[str] = []

    def watch(event: events.Event) -> None:
        seen.append(event)
        if isinstance(event, events.Started) and not killed:
            killed.append(event.input)
            for worker in found._side_by_side._workers:
                if worker.task is not None and worker.task.job.source == event.input:
                    worker.process.kill()

    found = Batch(jobs, watch, TWO)
    found.restore_all()
    assert found.exit_code() == Exit.BATCH
    for number, job in enumerate(jobs):
        failed = isinstance(found.results[number].result, VrxError)
        assert failed == (job.source in killed)
        assert (tmp_path / f"{'abc'[number]}.x2.mkv").exists() != failed
    (failure,) = [e for e in seen if isinstance(e, events.Failed)]
    assert (failure.input, failure.exit_code) == (killed[0], 5)
    assert "Use fewer --jobs" in failure.hint


def test_a_worker_that_ends_by_itself_is_an_internal_error() -> None:
    assert isinstance(death_of(-signal.SIGKILL, make_job("a.mkv")), DeviceError)
    error = death_of(-signal.SIGSEGV, make_job("a.mkv"))
    assert (error.exit_code, "its process ended with status -11" in str(error)) == (1, True)


class Sign(Deadline):
    """A deadline that is there once a file is, in the folder of work."""

    @property
    def passed(self) -> bool:
        return Path("now").exists()


def test_a_deadline_stops_all_and_the_rest_is_not_begun(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running: set[str] = set()

    def watch(event: events.Event) -> None:
        if isinstance(event, events.Advanced):
            running.add(Path(event.input).name)
            if len(running) == 2:
                (tmp_path / "now").touch()

    held = hold_encoder(tmp_path, size=1_000_000, sign=tmp_path / "now")  # of 3,700,000
    monkeypatch.setenv("VRX_FFMPEG", str(held.program))
    settings = BatchSettings(jobs=2, deadline=Sign(datetime.now().astimezone()))
    found = Batch(jobs_of(clip, tmp_path, "abc", frames=200), watch, settings)
    with pytest.raises(StoppedError, match="stopped at"):
        found.restore_all()
    assert {Path(stop.input).name for stop in found.stops} == running == {"a.mkv", "b.mkv"}
    assert all(0 < stop.saved == stop.done < 200 for stop in found.stops)
    assert found.results == {}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_ends_all_and_leaves_nothing(
    clip: ClipMaker, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    for name in "abc":
        clip(f"{name}.mkv", frames=80, size=(64, 48))
    held = hold_encoder(tmp_path, size=1_000_000)  # of 5,900,000
    child = Forked(
        ["upscale", "a.mkv", "b.mkv", "c.mkv", "--jobs", "2", "--json"],
        cwd=tmp_path,
        env={**os.environ, **held.env, "PYTHONPATH": str(ROOT), "VRX_HOME": str(tmp_path / ".home")},
        stdout=subprocess.PIPE,
        new_session=True,
    )
    assert child.stdout is not None
    found: list[dict[str, Any]] = []
    running: set[str] = set()
    while len(running) < 2:
        found.append(json.loads(child.stdout.readline()))
        if found[-1]["type"] == "progress":
            running.add(found[-1]["input"])
    os.killpg(child.pid, number)  # as a terminal does: all processes of the command get it
    out, err = child.communicate(timeout=30)
    found += [json.loads(line) for line in out.splitlines()]
    assert child.returncode == status, err
    stopped = {e["input"]: e["exit_code"] for e in found if e["type"] == "stopped"}
    assert stopped == dict.fromkeys(running, status)
    assert found[-1]["type"] == "batch-finished"
    assert err.count(b"\n") == 1
    deadline = time.monotonic() + 10
    while workers_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers_in(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "b.mkv", "c.mkv"]


def workers_in(folder: Path) -> list[str]:
    """Processes at work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder and (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "error",
    [
        InputError("a", "b"), OutputError("c", "d"), DeviceError("e"), StoppedError("f"),
        FailedInputsError([("x", InputError("a"))], Exit.INPUT),
    ],
)  # fmt: skip
def test_errors_pass_between_processes(error: VrxError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.exit_code) == (type(error), str(error), error.exit_code)


def test_gpus_are_for_one_job_at_a_time(monkeypatch: pytest.MonkeyPatch, vrx: Command, clip: ClipMaker) -> None:
    clip("a.mkv", frames=1)
    select = ModelPool.select

    def elsewhere(*arguments: Any) -> Selection:
        return replace(select(*arguments), device=torch.device("meta"))

    monkeypatch.setattr(ModelPool, "select", elsewhere)
    done = vrx("upscale", "a.mkv", "--jobs", "2")
    assert done.returncode == 2
    assert "--jobs is for processors, and embedded runs on meta. Add --device cpu" in done.stderr


@pytest.mark.parametrize("count", ["0", "65"])
def test_a_count_out_of_range_is_refused(vrx: Command, count: str) -> None:
    done = vrx("upscale", "a.mkv", "--jobs", count)
    assert (done.returncode, done.stderr) == (2, f"vrx: --jobs {count} is out of range. Use 1 to 64\n")
