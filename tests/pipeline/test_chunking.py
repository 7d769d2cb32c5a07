from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.frames import stream
from vrx.models.base import ChunkSchedule, SceneStart
from vrx.pipeline.chunking import Chunk, StreamPosition, make_chunks

SCHEDULES = st.sampled_from(
    [
        ChunkSchedule(4, 4),
        ChunkSchedule(1, 1),
        ChunkSchedule(9, 12, multiple=4, first_offset=1),  # Wan's causal codec
        ChunkSchedule(1, 4, multiple=4, first_offset=1),
        ChunkSchedule(8, 8, multiple=8),
        ChunkSchedule(1, 1, ahead_first=3),
        ChunkSchedule(4, 2, large=63),  # of 64 pixels in a result of the tests below
    ]
)


def lengths(schedule: ChunkSchedule, frames: int) -> list[int]:
    """The chunks of a scene, counted out one by one."""
    found: list[int] = []
    while frames:
        found.append(min(frames, schedule.size(len(found))))
        frames -= found[-1]
    return found


@given(SCHEDULES, st.integers(1, 70))
def test_padding_reaches_a_count_the_codec_can_hold(schedule: ChunkSchedule, frames: int) -> None:
    for first in (True, False):
        padded = frames + schedule.padding(frames, first)
        assert (padded - (schedule.first_offset if first else 0)) % schedule.multiple == 0
        assert 0 <= padded - frames < schedule.multiple


@given(SCHEDULES, st.integers(1, 60), st.sets(st.integers(1, 59), max_size=5))
def test_every_frame_is_in_exactly_one_chunk_of_its_scene(schedule: ChunkSchedule, frames: int, cuts: set[int]) -> None:
    items = list(make_chunks(stream(frames, sorted(cuts), size=(2, 2)), schedule, 4))
    times = [s.frame.pts // 40 for item in items if isinstance(item, Chunk) for s in item.frames]
    assert times == list(range(frames))
    starts = [item for item in items if isinstance(item, SceneStart)]
    borders = [0, *sorted(c for c in cuts if c < frames), frames]
    assert [s.number for s in starts] == list(range(len(borders) - 1))
    schedule = schedule.within(8 * 8)
    scene_lengths: list[list[int]] = []
    for item in items:
        if isinstance(item, SceneStart):
            scene_lengths.append([])
        else:
            assert item.index == len(scene_lengths[-1])
            assert item.first_frame == item.frames[0].frame.pts // 40
            assert item.padding == schedule.padding(len(item.frames), item.index == 0)
            scene_lengths[-1].append(len(item.frames))
    assert scene_lengths == [lengths(schedule, b - a) for a, b in pairwise(borders)]


def test_a_scene_knows_both_sizes() -> None:
    start = next(iter(make_chunks(stream(1, size=(24, 16)), ChunkSchedule(4, 4), 3)))
    assert start == SceneStart(0, (16, 24), (48, 72))


def test_a_place_goes_on_in_its_scene() -> None:
    items = list(
        make_chunks(stream(5, cuts=[10], start=8), ChunkSchedule(4, 4), 2, StreamPosition(scene=3, index=2, frame=8))
    )
    first, start, second = items
    assert isinstance(first, Chunk)
    assert isinstance(start, SceneStart)
    assert isinstance(second, Chunk)
    assert (first.index, first.first_frame, len(first.frames)) == (2, 8, 2)
    assert start.number == 4
    assert (second.index, second.first_frame, len(second.frames)) == (0, 10, 3)


def test_soft_turns_refresh_inside_a_chunk() -> None:
    chunk = list(make_chunks(stream(4, soft=[2]), ChunkSchedule(4, 4), 1))[1]
    assert isinstance(chunk, Chunk)
    assert chunk.refresh == frozenset({2})


def test_large_results_come_one_frame_at_a_time_with_the_first_frames_along() -> None:
    schedule = ChunkSchedule(4, 2, large=1000)
    assert schedule.within(1000) is schedule
    items = list(make_chunks(stream(6, [5], size=(10, 10)), schedule, 4))
    chunks = [item for item in items if isinstance(item, Chunk)]
    assert [len(chunk.frames) for chunk in chunks] == [1] * 6
    times = [[source.frame.pts // 40 for source in chunk.ahead] for chunk in chunks]
    assert times == [[1, 2, 3], [], [], [], [], [5, 5, 5]]  # a scene's last frame stands in for those that are missing


def test_the_largest_results_come_without_any_frames_along() -> None:
    schedule = ChunkSchedule(4, 2, ahead=1, large=50, alone=99)
    chunks = [item for item in make_chunks(stream(3, size=(10, 10)), schedule, 1) if isinstance(item, Chunk)]
    assert [(len(chunk.frames), len(chunk.ahead)) for chunk in chunks] == [(1, 0)] * 3
    assert schedule.within(99).ahead_first == 3


def test_large_frames_have_fewer_frames_ahead() -> None:
    schedule = ChunkSchedule(1, 4, ahead=8, large=1000, ahead_pixels=8000)
    assert [schedule.within(pixels).ahead for pixels in (100, 1000, 1001, 3000, 9000)] == [8, 8, 7, 2, 0]
    assert (schedule.within(1001).next, schedule.within(1000).next) == (1, 4)


def test_large_frames_have_a_shorter_opening_and_one_at_a_time_the_same() -> None:
    schedule = ChunkSchedule(4, 2, ahead_first=8, ahead_pixels=12000, large=3000)
    single = schedule.single
    assert single is not None
    for pixels, opening in ((1000, 12), (2000, 6), (3000, 4), (5000, 4)):
        for way in (schedule.within(pixels), single.within(pixels)):
            assert way.first + way.lookahead(0) == opening
