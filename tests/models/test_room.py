"""What large networks do where a GPU is short: weights wait on the host before anything is tiled."""

from pathlib import Path

import pytest
import torch

from tests.models import small_wan22 as small
from vrx.models import relayvsr
from vrx.models.base import SceneStart
from vrx.models.footprint import SPARE, Footprint, Linear
from vrx.models.recavsr import model as recavsr
from vrx.models.room import Room
from vrx.models.tiling import Tiling
from vrx.networks.published import PublishedNetwork
from vrx.networks.recavsr.transformer import RecycledConfig, RecycledTransformer
from vrx.networks.relayvsr.key_frames import KeyFrameConfig, KeyFrameTransformer

FOOTPRINT = Footprint(Linear(100, 1), offloaded=Linear(20, 1), tiled=Linear(110, 0.1))
MAKERS = {"relayvsr": small.relayvsr, "recavsr": small.recavsr}


class Recorder(Room):
    """Notes that the weights leave."""

    def offload_weights(self) -> None:
        self.offloaded = True


@pytest.mark.parametrize(
    ("free", "pixels", "offloads", "tiles"),
    [
        (1000, 500, False, False),  # all fits
        (160, 40, False, False),
        (160, 100, True, False),  # without the weights
        (160, 200, False, True),  # in tiles, beside the weights
        (115, 200, True, True),  # neither alone
    ],
)
def test_the_result_is_left_as_it_is_as_long_as_that_is_possible(
    free: int, pixels: int, offloads: bool, tiles: bool
) -> None:
    room = Recorder(PublishedNetwork(), FOOTPRINT, torch.device("cpu"), round(SPARE * free))
    found = room.tiling(Tiling(), pixels)
    assert room.offloaded == offloads
    assert (found.untiled == 0) == tiles


def test_what_the_user_chose_or_nobody_knows_is_left() -> None:
    for room, tiling in (
        (Recorder(PublishedNetwork(), FOOTPRINT, torch.device("cpu"), 1), Tiling("off")),
        (Recorder(PublishedNetwork(), FOOTPRINT, torch.device("cpu"), 1), Tiling("512")),
        (Recorder(PublishedNetwork(), FOOTPRINT, torch.device("cpu")), Tiling(untiled=7)),
    ):
        assert room.tiling(tiling, 500) is tiling
        assert not room.offloaded


@pytest.mark.parametrize("name", MAKERS)
def test_a_model_makes_room_and_gives_the_same(name: str, tmp_path: Path) -> None:
    folder, x = MAKERS[name](tmp_path / "model"), small.clip(22, (8, 12))
    footprint = {"relayvsr": relayvsr, "recavsr": recavsr}[name].FOOTPRINT
    expected = small.run(small.load(folder), x)
    at_once = small.load(folder, free=int(5e9))
    assert at_once.room.offloaded
    assert torch.equal(small.run(at_once, x), expected)
    later = small.load(folder, free=footprint.whole.at(100))
    assert not later.room.offloaded
    assert torch.equal(small.run(later, x), expected)
    assert later.room.offloaded
    ample = small.load(folder, free=int(100e9))
    assert torch.equal(small.run(ample, x), expected)
    assert not ample.room.offloaded
    assert ample.tiles(SceneStart(0, (1080, 1920), (4320, 7680))) is None
    assert small.load(folder, free=int(24e9)).tiles(SceneStart(0, (1080, 1920), (4320, 7680))) is not None


def test_footprints_are_the_authors_figures_less_the_weights_that_wait() -> None:
    hd, uhd = 1920 * 1080, 3840 * 2160
    for footprint, figures in (
        (relayvsr.FOOTPRINT, {hd: 13.82e9, uhd: 24.25e9}),
        (recavsr.FOOTPRINT, {hd: 15.16e9}),
    ):
        for pixels, expected in figures.items():
            assert footprint.whole.at(pixels) / SPARE == pytest.approx(expected, rel=0.01)
    with torch.device("meta"):
        networks = KeyFrameTransformer(KeyFrameConfig()), RecycledTransformer(RecycledConfig())
    for network, footprint in zip(networks, (relayvsr.FOOTPRINT, recavsr.FOOTPRINT), strict=True):
        network.cast_weights(torch.bfloat16)
        layers = [sum(p.nbytes for module in layer for p in module.parameters()) for layer in network.waiting_layers()]
        saved = footprint.whole.at(0) - footprint.offloaded.at(0)  # type: ignore[union-attr]
        assert saved / SPARE == pytest.approx(sum(layers) - 2 * layers[0], rel=0.01)
