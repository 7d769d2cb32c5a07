"""Inpainting with the shipped weights: what a mask hides is taken from the frames that show it."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.embedded import inpaint, neighbors, views
from vrx.models.embedded.checkpoint import EmbeddedNetworks, load_networks
from vrx.models.embedded.inpaint import LARGE, REACH, SCHEDULE, Tile, make_tiles, reach_of
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.runner import SceneRunner
from vrx.train.degrade import quantize
from vrx.weights.hashes import packaged_path

SIDE = 96
HALF_LEVEL = 0.5 / 255


@pytest.fixture(scope="module")
def shipped() -> EmbeddedNetworks:
    return load_networks(packaged_path("embedded.safetensors"))


@pytest.fixture(scope="module")
def texture() -> Tensor:
    """Colored detail of several sizes, [3, 256, 256]."""
    generator = torch.Generator().manual_seed(3)
    total = torch.full((1, 3, 256, 256), 0.5)
    for size, weight in ((96, 0.5), (32, 0.4)):
        noise = torch.rand(1, 3, size, size, generator=generator) - 0.5
        total = total + weight * F.interpolate(noise, size=(256, 256), mode="bicubic")
    return total[0].clamp(0, 1)


def pan(texture: Tensor, frames: int, x: int, y: int = 0) -> Tensor:
    """A camera that moves by whole pixels a frame, [T, 3, SIDE, SIDE]."""
    starts = [(60 + y * t, 60 + x * t) for t in range(frames)]
    return quantize(torch.stack([texture[:, top : top + SIDE, left : left + SIDE] for top, left in starts]))


def boxes(places: Sequence[tuple[int, int]], side: int = 14) -> Tensor:
    """A mask a frame with a box whose corner is at a place (row, column), [T, 1, SIDE, SIDE]."""
    masks = torch.zeros(len(places), 1, SIDE, SIDE)
    for mask, (top, left) in zip(masks, places, strict=True):
        mask[:, top : top + side, left : left + side] = 1
    return masks


def chunks(clip: Tensor, masks: Tensor, size: int) -> list[DeviceChunk]:
    """A scene in chunks of a size, with the frames ahead that the schedule asks for."""
    last = len(clip) - 1
    found = []
    for start in range(0, len(clip), size):
        stop = min(start + size, len(clip))
        after = [min(number, last) for number in range(stop, stop + REACH)]
        refresh = frozenset({0} if start == 0 else ())
        part = DeviceChunk(clip[start:stop], masks[start:stop], refresh, clip[after], ahead_masks=masks[after])
        found.append(part)
    return found


def begin(parts: EmbeddedNetworks) -> SceneRunner:
    options = EmbeddedOptions(task="inpaint")
    runner = SceneRunner(EmbeddedRestorer(options, parts, torch.device("cpu"), torch.float32))
    runner.start(SceneStart(0, (SIDE, SIDE), (SIDE, SIDE)))
    return runner


def filled(clip: Tensor, masks: Tensor, parts: EmbeddedNetworks, size: int = 4) -> Tensor:
    """All frames after inpainting; what is masked is black before it."""
    runner = begin(parts)
    with torch.inference_mode():
        return torch.cat([runner.step(chunk).frames for chunk in chunks(clip * (1 - masks), masks, size)])


def error(result: Tensor, clip: Tensor, masks: Tensor) -> Tensor:
    """The root mean square in levels of 255 of every frame's holes, [T]."""
    square = (result - clip).square() * masks
    return 255 * (square.sum((1, 2, 3)) / (3 * masks.sum((1, 2, 3)))).sqrt()


def test_a_still_mask_over_a_moving_picture_is_filled_with_what_other_frames_show(
    shipped: EmbeddedNetworks, texture: Tensor
) -> None:
    clip, masks = pan(texture, 12, 3, 1), boxes([(40, 40)] * 12)
    found = error(filled(clip, masks, shipped), clip, masks)
    alone = torch.cat([filled(clip[:1], masks[:1], shipped)])
    assert error(alone, clip[:1], masks[:1]) > 12
    assert found.max() < 0.5


def test_a_moving_mask_over_a_still_picture_is_filled_exactly(shipped: EmbeddedNetworks, texture: Tensor) -> None:
    clip, masks = pan(texture, 6, 0), boxes([(30, 20 + 5 * number) for number in range(6)])
    result = filled(clip, masks, shipped)
    assert ((result - clip).abs() * masks).max() < HALF_LEVEL
    assert error(result, clip, masks).max() < 0.2


def test_a_moving_mask_over_a_moving_picture_is_filled(shipped: EmbeddedNetworks, texture: Tensor) -> None:
    clip, masks = pan(texture, 6, -2, 1), boxes([(30, 60 - 5 * number) for number in range(6)])
    assert error(filled(clip, masks, shipped), clip, masks).max() < 0.5


def test_known_pixels_stay_what_they_are(shipped: EmbeddedNetworks, texture: Tensor) -> None:
    clip, masks = pan(texture, 6, 2), boxes([(40, 30)] * 6)
    assert torch.equal(filled(clip, masks, shipped) * (1 - masks), clip * (1 - masks))


def test_what_no_frame_shows_is_left_to_the_network(shipped: EmbeddedNetworks, texture: Tensor) -> None:
    clip, masks = pan(texture, 6, 0), boxes([(40, 40)] * 6)
    runner = begin(shipped)
    with torch.inference_mode():
        for chunk in chunks(clip * (1 - masks), masks, 3):
            encoded = runner.runners["encode"].step(chunk)
            assert chunk.masks is not None
            assert torch.equal(encoded.left, chunk.masks.expand(-1, 2, -1, -1))


def test_what_is_hidden_for_longer_than_the_window_is_remembered(
    shipped: EmbeddedNetworks, texture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole of 16 pixels over a picture that moves by one a frame: its middle was seen 8 frames ago."""
    monkeypatch.setattr(inpaint, "REACH", 3)
    clip, masks = pan(texture, 18, 1), boxes([(36, 36)] * 18, 16)
    middle = error(filled(clip, masks, shipped), clip, boxes([(41, 41)] * 18, 6))
    assert middle[14:].max() < 4 < middle[0] / 3


def test_what_passes_by_is_not_copied(shipped: EmbeddedNetworks, texture: Tensor) -> None:
    """An object in front stands where the mask was, in the only frames that would show what is there."""
    clip, masks = pan(texture, 4, 0), boxes([(40, 40), (40, 40), (40, 40), (40, 10)])
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    for number, left in enumerate((4, 16, 28, 40)):
        clip[number, :, 34:60, left : left + 24] = red
    result = filled(clip, masks, shipped)
    hole = result[0, :, 44:50, 44:50]
    assert (hole - red).abs().mean() > 0.2


@pytest.mark.parametrize("size", [1, 3, 10])
def test_sizes_of_chunks_do_not_matter(shipped: EmbeddedNetworks, texture: Tensor, size: int) -> None:
    clip = pan(texture, 10, 3, 1)
    masks = torch.maximum(boxes([(40, 40)] * 10), boxes([(10, 8 + 6 * number) for number in range(10)]))
    assert torch.equal(filled(clip, masks, shipped, size), filled(clip, masks, shipped, 4))


def test_a_saved_state_continues_with_the_same_bits(shipped: EmbeddedNetworks, texture: Tensor) -> None:
    clip, masks = pan(texture, 16, 2, 1), boxes([(40, 40)] * 16)
    parts = chunks(clip * (1 - masks), masks, 2)
    running, resumed = begin(shipped), begin(shipped)
    with torch.inference_mode():
        for chunk in parts[:5]:
            running.step(chunk)
        saved = running.save()
        resumed.load(SceneStart(0, (SIDE, SIDE), (SIDE, SIDE)), saved)
        for chunk in parts[5:]:
            assert torch.equal(running.step(chunk).frames, resumed.step(chunk).frames)


def test_frames_without_holes_pass_and_interrupt_nothing(shipped: EmbeddedNetworks, texture: Tensor) -> None:
    clip, masks = pan(texture, 6, 3), boxes([(40, 40)] * 6)
    masks[2:4] = 0
    result = filled(clip, masks, shipped)
    assert torch.equal(result[2:4], clip[2:4])
    assert error(result, clip, masks.clamp_min(1e-9))[[0, 1, 4, 5]].max() < 0.5


def test_half_of_the_pixels_gain_by_the_neighbors(shipped: EmbeddedNetworks, texture: Tensor) -> None:
    clip = pan(texture, 6, 2, 1)
    masks = (torch.rand(6, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    together = error(filled(clip, masks, shipped), clip, masks).mean()
    alone = torch.stack([error(filled(clip[n : n + 1], masks[n : n + 1], shipped), clip[n : n + 1], masks[n : n + 1])
                         for n in range(6)]).mean()  # fmt: skip
    assert together < 0.8 * alone


def test_only_tiles_with_holes_reach_the_network(shipped: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inpaint, "TILE", 64)
    monkeypatch.setattr(inpaint, "OVERLAP", 16)
    sizes = []
    step = shipped.network.step

    def counted(mode: str, x: Tensor, *rest: object) -> Tensor:
        sizes.append(tuple(x.shape[-2:]))
        return step(mode, x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(shipped.network, "step", counted)
    runner = begin(shipped)
    scene = SceneStart(0, (SIDE, 2 * SIDE), (SIDE, 2 * SIDE))
    runner.start(scene)
    clip, masks = torch.rand(1, 3, SIDE, 2 * SIDE), torch.zeros(1, 1, SIDE, 2 * SIDE)
    masks[..., 40:50, 10:20] = 1
    with torch.inference_mode():
        runner.step(DeviceChunk(clip * (1 - masks), masks, frozenset({0})))
    assert sizes == [(24, 20)]


@pytest.mark.parametrize("size", [(96, 128), (640, 640), (720, 1280), (1084, 1920), (2160, 3840)])
def test_tiles_cover_a_picture_once(size: tuple[int, int]) -> None:
    total = torch.zeros(size)
    tiles = make_tiles(*size)
    for tile in tiles:
        tile.crop(total).add_(tile.weights)
    assert torch.allclose(total, torch.ones(size))
    assert all(tile.rows.start % 16 == 0 and tile.columns.start % 16 == 0 for tile in tiles)
    assert isinstance(tiles[0], Tile)


def test_large_frames_come_one_at_a_time_and_look_less_far() -> None:
    assert reach_of((1080, 1920)) == REACH == SCHEDULE.within(1920 * 1080).ahead
    assert reach_of((2160, 3840)) == 2 == SCHEDULE.within(3840 * 2160).ahead
    assert (reach_of((4320, 7680)), SCHEDULE.within(7680 * 4320).ahead) == (1, 0)
    large = SCHEDULE.within(LARGE + 1)
    assert (large.first, large.next, large.ahead_first) == (1, 1, 0)


def test_regions_hold_every_hole_once() -> None:
    missing = torch.zeros(700, 1300)
    missing[20:30, 20:40] = missing[600:610, 50:1250] = 1
    total = torch.zeros(1, 700, 1300)
    regions = views.find_regions(missing)
    for region in regions:
        region.crop(total).add_(region.own * region.crop(missing))
    assert torch.equal(total[0], missing)
    assert len(regions) == 4
    assert all(region.own.numel() < 700 * 700 for region in regions)


def test_repeated_frames_at_the_end_are_not_looked_at(texture: Tensor) -> None:
    clip, masks = pan(texture, 3, 2), boxes([(40, 40)] * 3)
    found = [views.View.of(frame, mask, mask) for frame, mask in zip(clip, masks, strict=True)]
    again = views.View.of(clip[2], masks[2], masks[2])
    assert inpaint.trim_repeats([*found, again, again]) == found


def test_opponent_planes_go_back_to_colors() -> None:
    colors = torch.rand(3, 8, 9)
    assert torch.allclose(neighbors.from_opponents(neighbors.to_opponents(colors)), colors, atol=1e-6)
