"""InstaVSR's stages: the window, its alignment, what is kept between frames, tiles, sizes, and loading."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from tests.models.small import random_weights
from vrx.bench.random_weights import RandomComponents
from vrx.bench.stages import Meter, Rates, measure
from vrx.errors import ModelError
from vrx.events import Note
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.components import Components
from vrx.models.family import BuildRequest
from vrx.models.instavsr import FAMILY, SCHEDULE, Align, AlignedChunk, InstaVsrRestorer, Restore, load
from vrx.models.registry import FAMILIES
from vrx.models.runner import SceneRunner, StageRunner
from vrx.models.tiling import Tiles, Tiling
from vrx.networks.color_transfer import adain
from vrx.networks.instavsr.network import SMALL, InstaVsr, InstaVsrConfig
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

SOURCE = (35, 41)
SCENE = SceneStart(0, SOURCE, (140, 164))
PLAIN = replace(SMALL, widths=(8, 12), decoder_widths=(4, 8))
LARGE = InstaVsrConfig(widths=(48, 96), layers=1, decoder_widths=(4, 8, 8, 8), decoder_layers=1)


def build(config: InstaVsrConfig = PLAIN) -> InstaVsr:
    """A network whose output follows its inputs clearly."""
    network = InstaVsr(config).eval()
    network.load_state_dict(random_weights(network))
    return network


def restorer(config: InstaVsrConfig = PLAIN, scale: int = 4, tile: str = "off") -> InstaVsrRestorer:
    return InstaVsrRestorer(build(config), Tiling(tile), scale)


def clip(count: int, step: int = 2) -> Tensor:
    """A smooth picture [T, 3, 35, 41] that moves `step` pixels to the left with each frame."""
    noise = torch.rand(1, 3, 24, 40, generator=torch.Generator().manual_seed(1))
    large = F.interpolate(noise, (SOURCE[0], 160), mode="bicubic").clamp(0, 1)
    return torch.cat([large[..., 20 + step * n : 20 + step * n + SOURCE[1]] for n in range(count)])


def chunks(frames: Tensor, sizes: tuple[int, ...] = (2, 2, 2, 2)) -> Iterator[DeviceChunk]:
    """A scene's frames as chunking gives them."""
    begin = 0
    for size in sizes:
        part, after = frames[begin : begin + size], frames[begin + size :]
        if len(part):
            yield DeviceChunk(part, ahead=torch.cat([after, frames[-1:].expand(2, -1, -1, -1)])[:2])
        begin += size


@torch.inference_mode()
def run(
    system: InstaVsrRestorer, frames: Tensor, sizes: tuple[int, ...] = (2, 2, 2, 2), save_after: int = -1
) -> Tensor:
    """All frames of a scene; after chunk `save_after` every state is saved, spoiled by another future and loaded."""
    scene = replace(SCENE, target=(SOURCE[0] * system.scale, SOURCE[1] * system.scale))
    runner, found = SceneRunner(system), []
    runner.start(scene)
    for number, chunk in enumerate(chunks(frames, sizes)):
        found.append(runner.step(chunk).frames)
        if number == save_after:
            saved = runner.save()
            runner.step(DeviceChunk(frames[:1], ahead=frames[:2]))
            runner.load(scene, saved)
    return torch.cat(found)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_streamed_equals_whole(count: int) -> None:
    frames = clip(count)
    whole = run(restorer(), frames, (count,))
    assert whole.shape == (count, 3, 140, 164)
    assert torch.equal(run(restorer(), frames), whole)
    assert torch.equal(run(restorer(), frames, (1,) * count), whole)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_saved_scene_continues_with_the_same_frames(after: int) -> None:
    frames = clip(7)
    assert torch.equal(run(restorer(), frames, save_after=after), run(restorer(), frames))


def test_a_scene_knows_nothing_of_the_one_before_it() -> None:
    runner, frames = SceneRunner(restorer()), clip(6)
    with torch.inference_mode():
        alone = run(restorer(), frames[3:])
        for scene in (frames[:3], frames[3:]):
            runner.start(SCENE)
            found = torch.cat([runner.step(chunk).frames for chunk in chunks(scene)])
    assert torch.equal(found, alone)
    assert not torch.equal(run(restorer(), frames)[3:], alone)


def aligned(frames: Tensor) -> AlignedChunk:
    stage = StageRunner(Align())
    stage.start(SCENE)
    found: list[AlignedChunk] = [stage.step(chunk) for chunk in chunks(frames)]
    return AlignedChunk(*(torch.cat([getattr(f, name) for f in found]) for name in ("frames", "future", "motion")))


def test_neighbors_of_a_moving_picture_equal_the_middle_frame_once_aligned() -> None:
    """The picture moves by whole pixels, so that every neighbor holds the middle frame's pixels but for the borders."""
    found = aligned(clip(6))
    inside = (..., slice(8, -8), slice(8, -8))
    middle = found.frames[2]
    for neighbor in found.future[2]:
        assert float((neighbor - middle)[inside].abs().mean()) < 0.02
    for steps, motion in zip((2, 1), found.motion[2], strict=True):
        assert torch.allclose(motion[inside].mean((1, 2)), torch.tensor([2.0 * steps, 0.0]), atol=0.1)
    unaligned = found.frames[3] - middle
    assert float(unaligned[inside].abs().mean()) > 0.1  # what the first bound would be without alignment


def test_the_network_gets_finished_frames_moved_to_the_middle_one() -> None:
    """Finished frames are marked: each holds its number.  The flow moves by 3 pixels of the source."""
    ramp = torch.linspace(-1, 1, 48).expand(1, 3, 32, 48)
    motion = torch.tensor([3.0, 0.0]).view(1, 1, 2, 1, 1).expand(3, 2, 2, 8, 12)
    chunk = AlignedChunk(torch.zeros(3, 3, 8, 12), torch.zeros(3, 2, 3, 8, 12), motion)
    stage, seen = Restore(build(), Tiling("off"), 4), []

    def restore(window: tuple[Tensor, ...], tiles: Tiles | None) -> Tensor:
        seen.append(window[0])
        return ramp / 2 + 0.1 * len(seen)

    stage.restore = restore  # type: ignore[method-assign]
    stage.step(chunk, stage.start(SceneStart(0, (8, 12), (32, 48))))
    assert torch.equal(seen[0], torch.zeros(1, 2, 3, 32, 48))  # bicubic enlargements of the first frame, black
    moved = (ramp / 2)[..., 12:-6]  # inside; 12 pixels of the result to the right
    assert torch.equal(seen[1][:, 0], torch.zeros(1, 3, 32, 48))
    for number, past in ((1, seen[1][:, 1]), (1, seen[2][:, 0]), (2, seen[2][:, 1])):
        torch.testing.assert_close(past[..., : moved.shape[-1] - 6], (moved + 0.1 * number)[..., :-6])


def test_at_the_ends_of_a_scene_the_nearest_frame_stands_in() -> None:
    found = aligned(clip(3))
    assert torch.equal(found.motion[0], torch.zeros_like(found.motion[0]))  # before the first: itself
    assert torch.equal(found.motion[1][0], found.motion[1][1])
    torch.testing.assert_close(found.future[2], found.frames[2].expand(2, -1, -1, -1))  # after the last: itself
    torch.testing.assert_close(found.future[1][0], found.future[1][1])


def test_odd_sides_are_padded_by_their_last_pixels() -> None:
    frames = clip(1)
    padded = aligned(frames).frames
    assert padded.shape == (1, 3, 36, 42)
    assert torch.equal(padded[..., :35, :41], frames * 2 - 1)
    assert torch.equal(padded[..., -1, -1], frames[..., -1, -1] * 2 - 1)


def test_a_network_that_adds_nothing_gives_bicubic_interpolation() -> None:
    system = InstaVsrRestorer(InstaVsr(PLAIN).eval(), Tiling("off"), 4)
    frames = clip(3)
    expected = F.interpolate(aligned(frames).frames, scale_factor=4, mode="bicubic")[..., :140, :164]
    torch.testing.assert_close(run(system, frames), (expected / 2 + 0.5).clamp(0, 1))


def test_tiles_give_nearly_the_same_frames() -> None:
    frames = F.interpolate(clip(3), (80, 96))
    scene = SceneStart(0, (80, 96), (320, 384))
    found = []
    for tile in ("off", "256"):
        runner = SceneRunner(restorer(tile=tile))
        runner.start(scene)
        with torch.inference_mode():
            found.append(torch.cat([runner.step(chunk).frames for chunk in chunks(frames)]))
    assert not torch.equal(*found)
    assert float((found[0] - found[1]).abs().max()) < 0.02
    torch.testing.assert_close(found[0][..., :64, :64], found[1][..., :64, :64])  # far from any seam


def test_a_scene_continues_in_the_tiles_it_began_with() -> None:
    scene = SceneStart(0, (80, 96), (320, 384))
    for tiling, tiles in ((Tiling("256"), Tiles(32, 28)), (Tiling("auto", untiled=10**6), None)):
        began, later = Restore(build(), tiling, 4), Restore(build(), Tiling("auto", untiled=1), 4)
        assert later.load(scene, began.save(began.start(scene))).tiles == tiles


def test_the_large_network_takes_the_colors_of_the_source() -> None:
    network, window = (
        build(LARGE),
        (torch.rand(1, 2, 3, 32, 32), torch.rand(1, 3, 8, 8) - 0.5, torch.rand(1, 2, 3, 8, 8)),
    )
    with torch.inference_mode():
        found = Restore(network, Tiling("off"), 4).restore(window, None)
        assert torch.equal(found, adain(network(*window), window[1]))
        assert not torch.allclose(found, network(*window), atol=0.05)


@pytest.mark.parametrize("scale", [2, 3])
def test_other_scales_are_resized_and_the_user_learns_it_once(scale: int) -> None:
    runner, scene = SceneRunner(restorer(scale=scale)), SceneStart(0, SOURCE, (35 * scale, 41 * scale))
    notes: list[Note] = []
    for number in (0, 1):
        runner.start(replace(scene, number=number))
        for chunk in chunks(clip(4)):
            restored = runner.step(chunk)
            assert restored.frames.shape[-2:] == scene.target
            notes += restored.notes
    assert [note.code for note in notes] == ["model-scale-resized"]


def test_float16_is_refused(tmp_path: Path) -> None:
    save_file(build().state_dict(), tmp_path / "a.safetensors")
    components = Components({"instavsr": tmp_path / "a.safetensors"})
    request = BuildRequest(components, ModelSettings(), torch.device("cpu"), torch.float32)
    system = load(request).restorer(RestoreSettings(task=Task.UPSCALE, scale=4))
    assert torch.equal(run(system, clip(3)), run(restorer(), clip(3)))
    with pytest.raises(ModelError, match="overflow in float16") as caught:
        load(replace(request, dtype=torch.float16))
    assert "--dtype bf16" in str(caught.value.hint)


def test_the_packaged_network_is_the_small_one() -> None:
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)["instavsr-small"]
    assert entry.parameters == sum(p.numel() for p in InstaVsr(SMALL).parameters())
    random = RandomComponents.of(entry, FAMILY, torch.device("cpu"), torch.float32)
    assert random.config("instavsr") == SMALL
    footprint = FAMILY.footprint(entry)
    assert footprint is not None
    assert footprint.whole.at(1280 * 720) == pytest.approx(0.37e9, rel=0.05)  # measured, without the process
    assert footprint.whole.at(5120 * 2880) == pytest.approx(2.28e9, rel=0.1)


def test_both_stages_are_measured() -> None:
    rows = measure(Meter(restorer(), (64, 48), torch.device("cpu")), 1, Rates(1e9, 1e9, 1e9))
    assert [row.stage for row in rows] == ["align", "restore"]
    align, restore = rows
    assert align.bytes == 2 * 12 * 16  # luma of the source
    assert restore.bytes == sum(p.nbytes for p in build().parameters()) + 4 * (2 * 3 * 48 * 64)
    assert restore.operations > 1e5
    assert restore.frames == SCHEDULE.next


def test_the_window_and_the_authors_memory() -> None:
    """arXiv 2603.26134: five frames, the middle one's; 7 GB (7.1 in a second report) for 2048x2048."""
    assert SCHEDULE.ahead == 2
    footprint = next(
        found for found in FAMILY.capabilities.footprints if found.applies("auto", frozenset(), 456_954_963)
    )
    assert footprint.whole.at(2048 * 2048) == pytest.approx(7.05e9, rel=0.01)
