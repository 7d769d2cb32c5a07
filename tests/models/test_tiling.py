"""When an autoencoder works in tiles, and where their caches rest."""

import pytest
import torch
from torch import Tensor

from vrx.models import autoencoders
from vrx.models.footprint import SPARE, Footprint
from vrx.models.registry import FAMILIES
from vrx.models.tiling import RESERVE, Tiles, Tiling
from vrx.networks.causal_conv import ConvCache
from vrx.weights import catalogue

ENTRIES = catalogue.load_file(catalogue.packaged_path(), FAMILIES)
FREE = {"24 GB": 24_900_000_000, "80 GB": 84_500_000_000}
SIZES = {"480p": (480, 832), "720p": (720, 1280), "1080p": (1088, 1920), "4K": (2160, 3840)}


def footprint(name: str, decoder: str = "auto") -> Footprint:
    found = FAMILIES[ENTRIES[name].family].footprint(ENTRIES[name], decoder)
    assert found is not None, name
    return found


@pytest.mark.parametrize(
    ("card", "whole"),
    [("24 GB", {"480p", "720p"}), ("80 GB", {"480p", "720p", "1080p"})],
)
def test_a_picture_that_fits_the_card_is_decoded_in_one_piece(card: str, whole: set[str]) -> None:
    tiling = Tiling("auto", footprint("infvsr").whole.within(FREE[card]))
    assert {name for name, size in SIZES.items() if tiling.tiles(*size) is None} == whole


def test_wishes_come_before_memory() -> None:
    assert Tiling("off", untiled=1).tiles(2160, 3840) is None
    assert Tiling("512", untiled=10**9).tiles(480, 832) == Tiles(64, 55)


@pytest.mark.parametrize(
    ("name", "decoder", "size", "measured"),
    [
        ("instantvir-inpaint-lean", "auto", (832, 480), 10.5),
        ("embedded", "auto", (1280, 720), 0.33),
        ("embedded", "auto", (1920, 1080), 0.62),  # larger results look less far ahead and take less than a line says
    ],
)
def test_the_memory_in_one_piece_is_the_measured_one(
    name: str, decoder: str, size: tuple[int, int], measured: float
) -> None:
    found = footprint(name, decoder)
    pixels = size[0] * size[1]
    assert found.whole.at(pixels) / SPARE == pytest.approx(measured * 1e9, rel=0.1)
    assert abs(found.whole.within(found.whole.at(pixels)) - pixels) <= 1


def test_every_model_that_runs_has_a_footprint() -> None:
    runnable = [entry for entry in ENTRIES.values() if entry.available]
    assert runnable
    for entry in runnable:
        small, large = (footprint(entry.name).minimum(pixels) for pixels in (832 * 480, 1920 * 1080))
        assert small < large


def doubled(x: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
    """An autoencoder's step that counts its steps."""
    cache = cache.fork()
    cache.store["steps"] = cache.store.get("steps", torch.zeros(1)) + 1
    return x.repeat_interleave(8, -1).repeat_interleave(8, -2), cache


def test_a_scene_goes_on_as_it_began() -> None:
    x = torch.rand(1, 3, 1, 130, 20)
    free, full = (autoencoders.StreamingPass(doubled, Tiling("auto", pixels), (1, 8)) for pixels in (10**9, 0))
    for first, second, count in ((free, full, 1), (full, free, 2)):
        _, caches = first.step(x, [])
        assert len(caches) == count
        _, caches = second.step(x, caches)
        assert [float(cache.store["steps"]) for cache in caches] == [2.0] * count


@pytest.mark.parametrize(("free", "stays"), [(RESERVE, True), (RESERVE - 1, False), (None, False)])
def test_caches_of_tiles_stay_on_a_gpu_while_there_is_room(free: int | None, stays: bool) -> None:
    tiling = Tiling("auto", 0, None if free is None else lambda: free)
    moved: list[torch.device] = []

    class Cache(ConvCache):
        def to(self, device: torch.device) -> ConvCache:
            moved.append(device)
            return self

    tiling.offload(Cache(), torch.device("cuda"))
    assert moved == ([] if stays else [torch.device("cpu")])
    tiling.offload(Cache(), torch.device("cpu"))
    assert len(moved) == (not stays)
