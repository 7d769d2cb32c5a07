"""Enlarging with the shipped weights: earlier frames help, damage is undone, and a still picture comes to rest."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.networks.networks import tiny_parts
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.embedded import denoise, upscale
from vrx.models.embedded.checkpoint import EmbeddedNetworks, load_networks
from vrx.models.embedded.damage import DamageReader, SceneDamage
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import KEEP_SIZE, SCHEDULE, EmbeddedRestorer
from vrx.models.runner import restore_scene
from vrx.networks.embedded import recurrent
from vrx.networks.embedded.classical import bicubic
from vrx.networks.embedded.degradation import NOISE_UNIT
from vrx.train.degrade import quantize, shrink
from vrx.weights.hashes import packaged_path

SIDE = 96  # pixels of the result
NOISE = 8 / 255


@pytest.fixture(scope="module")
def shipped() -> EmbeddedNetworks:
    return load_networks(packaged_path("embedded.safetensors"))


@pytest.fixture(scope="module")
def picture() -> Tensor:
    """Boxes of all sizes, more gray than colored, twice as large as they are shown, [1, 3, 2 H, 2 W]."""
    generator = torch.Generator().manual_seed(5)
    canvas = torch.full((1, 3, 2 * SIDE + 40, 2 * SIDE + 40), 0.5)
    colors = list(
        torch.rand(300, 1, 1, 1, generator=generator) * 0.8 + torch.rand(300, 3, 1, 1, generator=generator) / 5
    )
    while colors:
        top, left, tall, wide = (torch.rand(4, generator=generator) * torch.tensor([280, 280, 60, 60])).int().tolist()
        canvas[..., top : top + tall + 2, left : left + wide + 2] = colors.pop()
    return canvas


def view(picture: Tensor, offset: int) -> Tensor:
    """What is seen after the camera moved by half pixels, [3, H, W]."""
    return F.avg_pool2d(picture[..., offset : offset + 2 * SIDE, 2 * offset : 2 * offset + 2 * SIDE], 2)[0]


def moving(picture: Tensor, frames: int) -> Tensor:
    return quantize(torch.stack([view(picture, t) for t in range(frames)]))


def enlarged(
    low: Tensor, parts: EmbeddedNetworks, scale: int = 4, strength: float | None = 0.0, chunk: int = 2
) -> tuple[Tensor, list[str]]:
    """All frames, and what was noted of them."""
    options = EmbeddedOptions(task="upscale", scale=scale, strength=strength)
    restorer = EmbeddedRestorer(options, parts, torch.device("cpu"), torch.float32)
    pieces = (
        DeviceChunk(low[start : start + chunk].clone(), None, frozenset({0} if start == 0 else ()))
        for start in range(0, len(low), chunk)
    )
    with torch.inference_mode():
        results = list(restore_scene(restorer, pieces))
    return torch.cat([part.frames for part in results]), [note.text for part in results for note in part.notes]


def gains(low: Tensor, truth: Tensor, parts: EmbeddedNetworks, strength: float | None = 0.0) -> Tensor:
    """dB over bicubic of every frame, enlarged by 4."""
    found, _ = enlarged(low, parts, strength=strength)
    errors = [((x - truth) ** 2)[..., 8:-8, 8:-8].mean((1, 2, 3)) for x in (bicubic(low, 4), found)]
    return 10 * torch.log10(errors[0] / errors[1])


def test_frames_of_a_moving_scene_help_each_other(
    picture: Tensor, shipped: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = moving(picture, 10)
    low = quantize(shrink(truth, 4))
    found = gains(low, truth, shipped)
    assert found.min() > 2.0
    for module in (upscale, denoise):
        monkeypatch.setattr(module, "LEAD_FRAMES", 1)
    alone = gains(low, truth, shipped)
    assert found[0] > alone[0] + 0.3  # its scene goes on, and that helps the first frame too
    assert alone[6:].mean() > alone[0] + 0.5
    torch.testing.assert_close(found[6:], alone[6:], atol=0.2, rtol=0)


def test_a_still_scene_comes_to_rest(picture: Tensor, shipped: EmbeddedNetworks) -> None:
    truth = quantize(view(picture, 0)).expand(24, -1, -1, -1)
    found = gains(quantize(shrink(truth, 4)), truth, shipped)
    assert found.min() > 1.5
    assert (found[16:] - found[12]).abs().max() < 0.05


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_scenes_have_a_shorter_lead(picture: Tensor, shipped: EmbeddedNetworks, frames: int) -> None:
    truth = moving(picture, frames)
    found = gains(quantize(shrink(truth, 4)), truth, shipped)
    assert len(found) == frames
    assert found.min() > 1.0


def test_noise_is_found_and_removed(picture: Tensor, shipped: EmbeddedNetworks) -> None:
    truth = moving(picture, 6)
    low = shrink(truth, 4)
    low = quantize((low + NOISE * torch.randn(low.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1))
    found, taken_for_clean = gains(low, truth, shipped, None), gains(low, truth, shipped, 0.0)
    assert found.min() > 1.2
    assert found.mean() > taken_for_clean.mean() + 0.03  # of pictures this small, little is believed
    plain = torch.full((4, 3, 64, 64), 0.5)
    plain = plain + NOISE * torch.randn(plain.shape, generator=torch.Generator().manual_seed(2))
    assert "noise" in enlarged(plain, shipped, strength=None, chunk=4)[1][0]


@pytest.mark.parametrize("chunk", [2, 3])
def test_no_line_appears_along_black_bars(picture: Tensor, shipped: EmbeddedNetworks, chunk: int) -> None:
    low = F.interpolate(moving(picture, 6), size=(48, 48), mode="area")
    low = quantize(0.55 + 0.15 * low)
    barred = low.clone()
    barred[:, :, :8] = barred[:, :, 40:] = 0
    found, _ = enlarged(barred, shipped, 2, chunk=chunk)
    assert float(found[:, :, :16].max()) == float(found[:, :, 80:].max()) == 0
    own = (slice(None), slice(None), slice(16, 80))
    assert float(found[own].min()) > 0.5
    assert float(found[own].max()) < 0.75
    inner = (slice(None), slice(None), slice(24, 72))
    assert float((found - enlarged(low, shipped, 2, chunk=chunk)[0])[inner].abs().max()) < 0.05


def test_black_and_white_stays_that_and_faint_colors_stay(picture: Tensor, shipped: EmbeddedNetworks) -> None:
    low = F.interpolate(moving(picture, 2), size=(24, 24), mode="area").mean(1, keepdim=True).expand(-1, 3, -1, -1)
    low = low + 0.1 * torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(3))
    found, _ = enlarged(low, shipped)
    assert float((found.amax(1) - found.amin(1)).max()) < 1e-6
    colored = low.clone()
    colored[0, 0, 3, 4] += 0.6 / 255
    frames = bicubic(colored, 2)
    before = frames.clone()
    upscale.keep_gray(frames, colored)
    assert torch.equal(frames[0], before[0])
    colored[0, 0, 3, 4] -= 0.2 / 255
    frames[0, 0] += 0.1
    upscale.keep_gray(frames, colored)
    torch.testing.assert_close(frames[0, 0], frames[0, 2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (13, 17)])
def test_every_size_works_and_chunks_do_not_matter(scale: int, size: tuple[int, int]) -> None:
    low = torch.rand(7, 3, *size, generator=torch.Generator().manual_seed(3))
    whole, _ = enlarged(low, tiny_parts(), scale, 0.5, chunk=7)
    assert whole.shape == (7, 3, scale * size[0], scale * size[1])
    assert torch.isfinite(whole).all()
    parts = [enlarged(low, tiny_parts(), scale, 0.5, chunk=n)[0] for n in (4, 5)]
    assert all(torch.equal(part, whole) for part in parts)


@pytest.mark.parametrize(
    ("found", "strength", "expected"),
    [
        ([0.4, 0.1, 0.2], 0.8, [0.8, 0.2, 0.4]),
        ([0.4, 0.1, 0.2], 0.0, [0.0, 0.0, 0.0]),
        ([0.01, 0.0, 0.02], 0.5, [0.0, 0.5, 0.0]),  # nothing was found that could be more or less
    ],
)
def test_a_given_strength_is_that_of_the_kind_of_damage_there_is(
    found: list[float], strength: float, expected: list[float]
) -> None:
    assert upscale.scale_levels(torch.tensor(found), strength).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_one_frame_at_a_time_in_bands_is_the_same(
    picture: Tensor, shipped: EmbeddedNetworks, scale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    low = moving(picture, 6)[..., :73, :85]
    chunks = [DeviceChunk(low[:4]), DeviceChunk(low[4:])]
    one_by_one = [DeviceChunk(low[:1], ahead=low[1:4]), *(DeviceChunk(frame) for frame in low[1:].split(1))]
    options = EmbeddedOptions(task="upscale", scale=scale)
    restorer = EmbeddedRestorer(options, shipped, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        usual = torch.cat([chunk.frames for chunk in restore_scene(restorer, chunks)])
        for module in (recurrent, upscale):
            monkeypatch.setattr(module, "MOST_POSITIONS", 10 * 85)
        banded = torch.cat([chunk.frames for chunk in restore_scene(restorer, one_by_one)])
    torch.testing.assert_close(banded, usual, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("damage", "scale", "acted"),
    [
        (SceneDamage(compression=0.3), 4, 0.3),
        (SceneDamage(compression=0.3), 2, 0.15),  # weak traces, which what is wanted may have as well
        (SceneDamage(compression=0.8), 2, 0.8),
        (SceneDamage(compression=0.3, coded=0.4), 4, 0.3 + 0.6 * 0.1),  # most of what the decoder tells
        (SceneDamage(compression=0.3, coded=0.4), 2, 0.15 + 0.6 * 0.25),
        (SceneDamage(compression=0.3, coded=0.2), 4, 0.3),
        (SceneDamage(luma_noise=1.0, compression=0.3, coded=0.4), 4, 0.3 + 0.8 * 0.1),
        (SceneDamage(luma_noise=2.0, compression=0.3, coded=0.4), 4, 0.4),  # all of it, where noise hides traces
    ],
)
def test_compression_is_acted_on_as_far_as_it_is_certain(damage: SceneDamage, scale: int, acted: float) -> None:
    found = upscale.weigh_levels(replace(damage, seen_noise=51.0, softness=0.5), scale)
    assert found.tolist() == pytest.approx([51.0 / (255 * NOISE_UNIT), acted, 0.0])


def test_quantizers_of_the_frames_that_are_read_are_averaged(shipped: EmbeddedNetworks) -> None:
    """Those of the frames from the change on, and of those that follow; a network is steered by them."""
    low = torch.rand(6, 3, 24, 32, generator=torch.Generator().manual_seed(3))
    reader = DamageReader(shipped.degradation, shipped.blur, shipped.diagnosis)
    encode = upscale.Encode(2, None, reader, denoise.Denoiser(0.0, 0.0))
    state = encode.start(SceneStart(0, (24, 32), (48, 64)))
    with torch.inference_mode():
        told: tuple[float | None, ...] = (28.0, None, 30.0, 32.0)
        chunk, state = encode.step(DeviceChunk(low[:2], ahead=low[2:4], quantizers=told), state)
        assert state.damage is not None
        assert state.damage.coded == pytest.approx((30 - 14) / 28)
        acted = upscale.weigh_levels(state.damage, 2)
        torch.testing.assert_close(chunk.levels[0], acted)
        told = (50.0, 38.0, 34.0, 33.0)
        chunk, state = encode.step(DeviceChunk(low[:2], None, frozenset({1}), low[2:4], quantizers=told), state)
        chunk, state = encode.step(DeviceChunk(low[2:4], ahead=low[4:], quantizers=told), state)
        assert state.damage is not None
        assert state.damage.coded == pytest.approx((38.75 - 14) / 28)
        chunk, state = encode.step(DeviceChunk(low[:4], None, frozenset({2}), quantizers=told), state)
        assert state.damage is not None
        assert state.damage.coded == pytest.approx((33.5 - 14) / 28)
    assert upscale.mean_quantizer((None, None)) is None
    assert upscale.mean_quantizer(()) is None


@pytest.mark.parametrize(("place", "reads"), [(None, [0]), (0, [0, 2]), (1, [0, 4])])
def test_damage_is_read_again_where_a_scene_changed(
    shipped: EmbeddedNetworks, place: int | None, reads: list[int]
) -> None:
    """A change on a chunk's last frame is looked at with those after it, also after an interruption."""
    fade = torch.linspace(1, 0.3, 8)[:, None, None, None]
    low = fade * torch.rand(8, 3, 24, 32, generator=torch.Generator().manual_seed(3))
    reader = DamageReader(shipped.degradation, shipped.blur, shipped.diagnosis)
    encode = upscale.Encode(2, None, reader, denoise.Denoiser(0.0, 0.0))
    state, found = encode.start(SceneStart(0, (24, 32), (48, 64))), []
    with torch.inference_mode():
        for start in range(0, 8, 2):
            refresh = frozenset() if place is None or start != 2 else frozenset({place})
            chunk, state = encode.step(DeviceChunk(low[start : start + 2], None, refresh), state)
            state = encode.load(state.scene, encode.save(state))
            found += [start] if chunk.notes else []
    assert found == reads


def test_large_frames_come_one_at_a_time() -> None:
    assert SCHEDULE.within(2560 * 1440).next == SCHEDULE.next
    assert SCHEDULE.within(4096 * 3072).next == 1
    assert [SCHEDULE.within(pixels).spare for pixels in (2560 * 1440, 3840 * 2160)] == [False, True]
    assert KEEP_SIZE.within(7680 * 4320).spare
