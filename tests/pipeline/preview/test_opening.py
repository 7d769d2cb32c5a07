"""Places that a preview chooses by itself show one scene, where that can be."""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import ClipMaker
from tests.pipeline.preview.previews import preview_job
from vrx import events
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.preview.opening import Preview

TICK = Fraction(1, 25)
CUTS = (40, 56, 72)  # scenes of 40, 16, 16 and 28 frames


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ClipMaker(tmp_path_factory.mktemp("shots"), (32, 24))(frames=100, cuts=CUTS)


@pytest.mark.parametrize(
    ("place", "within", "moved"),
    [
        (10, (0, 100), 10),  # no cut
        (32, (0, 100), 20),  # what was chosen is before the cut
        (32, (20, 100), 20),
        (32, (21, 100), 40),  # that is shown already
        (52, (0, 100), 56),  # neither scene is long enough
        (64, (0, 100), 72),
        (64, (0, 92), 72),
        (64, (0, 91), 64),  # what comes after it is another place
    ],
)
def test_a_chosen_place_is_moved_out_of_a_cut(shots: Path, place: int, within: tuple[int, int], moved: int) -> None:
    with ExitStack() as stack:
        found = Preview(preview_job(shots, length=20 * TICK), events.ignore, ModelPool(), stack)
        found.open()
        begin, end = within
        assert found.avoid_cut(place * TICK, begin * TICK, end * TICK) == moved * TICK
