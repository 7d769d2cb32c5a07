"""The cost model: laws that every schedule obeys, and 10,000 hours of film."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import pytest

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job
from vrx import events
from vrx.cluster.cost import PASSES, Rates, counts_for, find_limit, measure_disk, simulate
from vrx.cluster.probe import measure_file
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.session import Session

FAST = Rates(restore=2.0, scan=1e9, disk=1e15, frame_bytes=1.0)


def test_one_worker_takes_all_work_in_turn() -> None:
    found = simulate([[240, 260], [100]], 1, FAST)
    assert found.seconds == pytest.approx(300.0, rel=1e-6)
    assert found.busy == pytest.approx(1.0, rel=1e-6)


def test_the_longest_spans_come_first() -> None:
    rates = Rates(restore=1.0, scan=1e9, disk=1e15, frame_bytes=1.0)
    assert simulate([[5, 5, 10, 10, 30]], 2, rates).seconds == pytest.approx(35.0, rel=1e-3)


def test_joining_follows_the_last_span() -> None:
    rates = Rates(restore=1.0, scan=1e9, disk=10.0, frame_bytes=2.0)
    assert simulate([[100]], 4, rates).seconds == pytest.approx(100 + PASSES * 100 * 2 / 10, rel=1e-6)


def test_workers_wait_for_the_first_pass() -> None:
    rates = Rates(restore=100.0, scan=10.0, disk=1e15, frame_bytes=1.0)
    assert simulate([[100, 100]], 8, rates).seconds == pytest.approx(20.0 + 1.0, rel=1e-3)


@pytest.mark.parametrize("workers", [1, 2, 4, 10, 100, 1000])
def test_ten_thousand_hours_of_film(workers: int) -> None:
    films = [[6000] * 30] * 5000  # two hours each at 25 frames a second, in parts of four minutes
    rates = Rates(restore=2.4, scan=260.0, disk=400e6, frame_bytes=12_000.0, start=20.0)
    frames = sum(map(sum, films))
    found, limit = simulate(films, workers, rates), find_limit(films, rates)
    work = frames / rates.restore
    assert found.seconds >= max(work / workers, limit.seconds)
    assert limit.name.startswith("the first pass")
    assert limit.workers == 108
    if workers <= 100:
        assert found.seconds < 1.02 * work / workers
        assert found.busy > 0.98
    else:  # more than the first pass can feed: no faster than that, and ten times the workers idle
        assert found.seconds < 1.02 * limit.seconds
        assert found.busy == pytest.approx(0.108, abs=0.01)


def test_what_bounds_a_single_film() -> None:
    slow = Rates(restore=1.0, scan=1e6, disk=1e9, frame_bytes=1.0)
    limit = find_limit([[240, 4000, 300]], slow)
    assert (limit.seconds, limit.workers, "longest span" in limit.name) == (4000.0, 1, True)
    wide = Rates(restore=1.0, scan=1e6, disk=30.0, frame_bytes=100.0)
    assert "joining" in find_limit([[240, 240]], wide).name


def test_short_files_are_opened_by_workers_and_need_no_first_pass() -> None:
    rates = Rates(restore=10.0, scan=1.0, disk=1e15, frame_bytes=1.0, open=0.7, whole=240)
    films = [[3]] * 500
    assert simulate(films, 1, rates).seconds == pytest.approx(500.0, rel=1e-6)
    assert simulate(films, 2, rates).seconds == pytest.approx(250.0, rel=1e-6)
    assert find_limit(films, rates).seconds == pytest.approx(1.0)
    assert (find_limit(films, rates).workers, "longest span" in find_limit(films, rates).name) == (500, True)
    for spans in ([241], [120, 120]):  # long, or divided
        assert simulate([spans], 1, rates).seconds > sum(spans)


@pytest.mark.parametrize(
    ("workers", "start", "end"), [(1, 7.7, 14.1), (1, 11.5, 18.8), (2, 9.2, 15.3), (2, 10.9, 16.7)]
)
def test_tiny_files_take_as_long_as_was_measured(workers: int, start: float, end: float) -> None:
    """20 files of 5 frames (64x48, x2) on 2 busy CPU cores: `start` and `end` are seconds of runs, from their begin."""
    rates = Rates(restore=40.0, scan=1e9, disk=1e9, frame_bytes=4000.0, start=start, open=0.17, whole=240)
    assert simulate([[5]] * 20, workers, rates).seconds == pytest.approx(end, rel=0.25)


def test_what_a_file_takes_besides_its_frames_is_measured(clip: ClipMaker, tmp_path: Path) -> None:
    job = make_job(clip("in.mkv", frames=20), tmp_path / "out.mkv")
    whole, loading = measure_file(job, tmp_path / "out.mkv", ModelPool())
    with Session(job, events.ignore, ModelPool()) as session:
        begin = perf_counter()
        session.open()
        opening = perf_counter() - begin
    assert whole > 2 * opening  # an encoder that is started, fed and waited for takes longer
    assert loading > 0
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_numbers_of_workers_that_are_shown() -> None:
    assert counts_for(3, 9) == [1, 2, 3, 4, 8]
    assert counts_for(1, 1) == [1]


def test_a_disk_is_measured(tmp_path: Path) -> None:
    assert measure_disk(tmp_path) > 1e5
    assert list(tmp_path.iterdir()) == []
