"""What is restored for a place begins where its scene does, or some frames before."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.clips import ClipMaker
from tests.pipeline.preview.previews import preview_job
from vrx.errors import UsageError
from vrx.pipeline.preview.source import Source
from vrx.pipeline.preview.stretch import LEAD, REACH, Reading, Stretch, find_stretch

CUT = 40  # frame that a shot begins with
TICK = Fraction(1, 25)


def stretch(path: Path, time: Fraction | float, length: Fraction | None = 10 * TICK, **selection: object) -> Stretch:
    job = preview_job(path, selection=selection)
    source = Source.of(job, path, path.name)
    return find_stretch(source, Reading(job.selection), Fraction(time).limit_denominator(1000), length)


@pytest.fixture(scope="module")
def two_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ClipMaker(tmp_path_factory.mktemp("shots"))(frames=100, cuts=[CUT])


@pytest.mark.parametrize("after", [0, 1, 7, REACH])
def test_a_scene_in_reach_is_restored_from_its_beginning(two_shots: Path, after: int) -> None:
    found = stretch(two_shots, (CUT + after) * TICK)
    assert (found.start, found.lead, len(found.times), found.complete) == (CUT * TICK, after, 10, True)
    assert found.time == (CUT + after) * TICK


def test_a_scene_out_of_reach_is_joined_some_frames_before(two_shots: Path) -> None:
    place = CUT + REACH + 1
    found = stretch(two_shots, place * TICK)
    assert (found.start, found.lead, found.complete) == ((place - LEAD) * TICK, LEAD, False)
    assert REACH == 25
    assert LEAD == 16


def test_a_run_begins_a_scene_too(two_shots: Path) -> None:
    found = stretch(two_shots, 12 * TICK)
    assert (found.start, found.lead, found.complete) == (Fraction(0), 12, True)
    found = stretch(two_shots, 75 * TICK, start=70 * TICK)
    assert (found.start, found.lead, found.complete) == (70 * TICK, 5, True)


def test_a_cut_among_the_shown_frames_is_found(two_shots: Path) -> None:
    assert stretch(two_shots, 36 * TICK).cut == CUT * TICK
    assert stretch(two_shots, CUT * TICK).cut is None
    assert stretch(two_shots, 12 * TICK).cut is None


@pytest.mark.parametrize("first", [60, 64])
def test_cuts_do_not_depend_on_where_the_search_begins(clip: ClipMaker, first: int) -> None:
    """Flashes right after it would hide the cut that comes next."""
    path = clip("cuts.mkv", frames=130, cuts=[first, first + 6, first + 12, first + 18, first + 29])
    found = stretch(path, (first + 44) * TICK, None)
    assert (found.start, found.lead, found.complete) == ((first + 29) * TICK, 15, True)


def test_cuts_that_are_ignored_or_given(two_shots: Path, tmp_path: Path) -> None:
    assert not stretch(two_shots, (CUT + 3) * TICK, scenes="off").complete
    cuts = tmp_path / "cuts.txt"
    cuts.write_text("70\n")
    found = stretch(two_shots, 73 * TICK, scenes=str(cuts))
    assert (found.start, found.lead, found.complete, found.number + found.skipped) == (70 * TICK, 3, True, 70)
    cuts.write_text("10\n")  # counted from where the run begins
    found = stretch(two_shots, 73 * TICK, scenes=str(cuts), start=60 * TICK)
    assert (found.start, found.lead, found.complete, found.number + found.skipped) == (70 * TICK, 3, True, 10)


@pytest.mark.parametrize(("time", "frame"), [(0, 0), (0.05, 1), (0.15, 3), (0.199, 3), (0.2, 4), (0.43, 5)])
def test_one_frame_is_the_one_that_is_shown_at_the_time(clip: ClipMaker, time: float, frame: int) -> None:
    times = [0, 40, 80, 120, 200, 400]  # milliseconds, with gaps
    path = clip("gaps.mkv", times=times)
    found = stretch(path, time, None)
    assert (found.time, len(found.times)) == (Fraction(times[frame], 1000), 1)


def test_varying_rates_count_by_time(clip: ClipMaker) -> None:
    path = clip("gaps.mkv", times=[0, 40, 80, 120, 200, 400, 440, 480])
    found = stretch(path, 0.08, Fraction(4, 10))
    assert (found.time, len(found.times)) == (Fraction(8, 100), 5)


def test_what_is_left_at_the_end_is_shown(two_shots: Path) -> None:
    assert len(stretch(two_shots, 97 * TICK).times) == 3
    assert len(stretch(two_shots, 99 * TICK + TICK / 2).times) == 1


@pytest.mark.parametrize("selection", [{}, {"end": Fraction(1)}, {"frames": 25}, {"start": Fraction(1), "frames": 5}])
def test_a_place_outside_of_the_run_is_refused(two_shots: Path, selection: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"--at 0:00:04\.000 is past the end of clip\.mkv, which ends at 0:00:0[14]\."):
        stretch(two_shots, 4, **selection)
    if "start" in selection:
        with pytest.raises(UsageError, match="before the part that --start chooses"):
            stretch(two_shots, 0.5, **selection)


def test_a_place_past_the_end_of_a_source_of_unknown_length_is_refused(clip: ClipMaker) -> None:
    raw = clip("raw.h264", times=range(12), time_base=TICK, codec="libx264")
    assert len(stretch(raw, 0.2, None).times) == 1
    for time in (0.5, 3, 40):
        with pytest.raises(UsageError, match=r"past the end of raw\.h264"):
            stretch(raw, time)
