"""Places show detail, motion and another scene, whatever else is in a video."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import ClipMaker, save_picture
from tests.pipeline.preview.previews import source_of
from vrx.geometry import TimeRange, parse_box
from vrx.pipeline.preview.places import SAMPLES, Place, choose_places, masked_times
from vrx.settings import RestoreSettings, Task

RATE = 25
TICK = Fraction(1, RATE)


def write(path: Path, pictures: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as box:
        video = box.add_stream("ffv1", rate=RATE)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "bgr0"
        for picture in pictures:
            box.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        box.mux(video.encode(None))
    return path


def texture(size: int, seed: int = 1) -> np.ndarray:
    """Blobs of a size, over the width of two pictures."""
    small = np.random.default_rng(seed).integers(0, 255, (-(-48 // size), -(-400 // size), 3), np.uint8)
    return np.kron(small, np.ones((size, size, 1), np.uint8))[:48]


def test_each_reason_gets_its_place(tmp_path: Path) -> None:
    fine, coarse, flat = texture(6), texture(24, 2), np.full((48, 64, 3), 90, np.uint8)
    still = [fine[:, :64]] * 50
    moving = [coarse[:, 3 * n : 3 * n + 64] for n in range(50)]
    light = [255 - coarse[:, 320:384] // 3] * 50
    path = write(tmp_path / "clip.mkv", [*[flat] * 50, *still, *moving, *light, *[flat] * 50])
    with source_of(path) as (source, _):
        places = choose_places(source, 10 * TICK)
    shots = {place.reason: int(place.time * RATE) // 50 for place in places}
    assert shots == {"detail": 1, "motion": 2, "scene": 3}
    assert [place.time for place in places] == sorted(place.time for place in places)


@pytest.mark.parametrize(
    ("frames", "length", "count"), [(60, 10, 3), (60, 15, 2), (60, 16, 1), (60, 40, 1), (3, 25, 1), (1, 25, 1)]
)
def test_places_do_not_overlap_and_lie_inside(clip: ClipMaker, frames: int, length: int, count: int) -> None:
    with source_of(clip(frames=frames)) as (source, _):
        places = choose_places(source, length * TICK)
    assert len(places) == count
    times = [place.time for place in places]
    assert all(after - before >= length * TICK for before, after in pairwise(times))
    assert all(0 <= time < frames * TICK for time in times)


def test_places_lie_in_the_part_that_a_run_restores(clip: ClipMaker) -> None:
    path = clip(frames=100)
    for selection in ({"start": 2, "end": 3}, {"start": 2, "frames": 25}):
        with source_of(path, **{n: Fraction(v) if n != "frames" else v for n, v in selection.items()}) as (source, _):
            places = choose_places(source, 5 * TICK)
        assert len(places) == 2  # three would be more than half of it
        assert all(2 <= place.time < 3 for place in places)


def test_places_lie_where_something_is_masked(clip: ClipMaker) -> None:
    boxes = tuple(parse_box(f"0,0,4,4@{time}") for time in ("1-1.4", "1.2-2", "3-3.2", "9-"))
    mask = RestoreSettings(task=Task.INPAINT, mask=Path("m.png"), mask_time=TimeRange(Fraction(3)), boxes=boxes[:2])
    cases: list[tuple[RestoreSettings, int, list[tuple[int, int | Fraction]]]] = [
        (RestoreSettings(task=Task.INPAINT, boxes=boxes), 5, [(1, 2), (3, Fraction(16, 5))]),
        (RestoreSettings(task=Task.INPAINT, boxes=boxes[2:]), 10, [(3, Fraction(16, 5))]),
        (mask, 5, [(1, 2), (3, 4)]),
    ]
    with source_of(clip(frames=100)) as (source, _):
        for restore, length, spans in cases:
            times = [place.time for place in choose_places(source, length * TICK, masked_times(restore))]
            assert all(any(begin <= time < end for begin, end in spans) for time in times)
            assert all(after - before >= length * TICK for before, after in pairwise(times))
            assert len(times) == (1 if length == 10 else 3)
        anywhere = choose_places(source, 5 * TICK)
        for always in (mask.mask, None):  # a mask of all the time; a box that is never there
            restore = RestoreSettings(task=Task.INPAINT, mask=always, boxes=boxes[3:])
            assert choose_places(source, 5 * TICK, masked_times(restore)) == anywhere


def test_one_frame_of_each(clip: ClipMaker) -> None:
    with source_of(clip(frames=5)) as (source, _):
        assert len({place.time for place in choose_places(source, None)}) == 3


def test_the_beginning_where_there_is_no_choice(clip: ClipMaker, tmp_path: Path) -> None:
    raw = clip("raw.h264", times=range(12), time_base=TICK, codec="libx264")
    picture = save_picture(tmp_path / "p.png", np.full((8, 8, 3), 90, np.uint8), "rgb24")
    for path in (raw, picture):
        with source_of(path) as (source, _):
            assert choose_places(source, Fraction(1)) == [Place(Fraction(0))]


def test_few_samples_are_looked_at_whatever_the_length() -> None:
    assert SAMPLES == 12
