"""Noise of a scene taken out: when, how much, in what order, and that nothing depends on chunks or interruptions."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.networks.networks import tiny_parts
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.embedded import damage, keep_size
from vrx.models.embedded.checkpoint import EmbeddedNetworks, load_networks
from vrx.models.embedded.damage import SceneDamage
from vrx.models.embedded.denoise import LUMA_LIMITS, Denoiser
from vrx.models.embedded.grain import grain_of
from vrx.models.embedded.inpaint import REACH
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.embedded.upscale import NOISE_LEFT
from vrx.models.runner import SceneRunner
from vrx.train.degrade import quantize
from vrx.weights.hashes import packaged_path

TASKS = ("upscale", "deblur", "inpaint")
HEIGHT, WIDTH = 48, 64


@pytest.fixture(autouse=True)
def four_frames_tell_the_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks here come with other frames ahead than a schedule brings, which is always the same number of them."""
    monkeypatch.setattr(damage, "OPENING", 4)


def clip(levels: float, frames: int = 9) -> Tensor:
    """A smooth pattern that moves by a pixel a frame, with noise [T, 3, H, W]."""
    row, column = torch.arange(HEIGHT)[:, None] / 5, torch.arange(WIDTH + frames) / 6
    wide = 0.5 + 0.25 * torch.sin(column) * torch.cos(row) + 0.1 * torch.sin(column * row / 9)
    clean = torch.stack([wide[:, t : t + WIDTH] for t in range(frames)])[:, None].expand(-1, 3, -1, -1)
    return quantize(clean + levels / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(4)))


def pieces(frames: Tensor, first: int, then: int, masks: Tensor | None = None) -> Iterator[DeviceChunk]:
    start, size = 0, first
    while start < len(frames):
        part = slice(start, start + size)
        refresh = frozenset({0} if start == 0 else ())
        if masks is None:
            yield DeviceChunk(frames[part].clone(), None, refresh)
        else:  # inpainting looks ahead, at the end at the last frame again and again
            ahead = [min(number, len(frames) - 1) for number in range(start + size, start + size + REACH)]
            yield DeviceChunk(frames[part].clone(), masks[part], refresh, frames[ahead], ahead_masks=masks[ahead])
        start, size = start + size, then


def restorer(parts: EmbeddedNetworks, task: str, denoise: float | None = None) -> EmbeddedRestorer:
    options = EmbeddedOptions(task=task, scale=2 if task == "upscale" else 1, sigma=1.0, denoise=denoise)
    return EmbeddedRestorer(options, parts, torch.device("cpu"), torch.float32)


def mask_of(frames: Tensor) -> Tensor:
    masks = torch.zeros(len(frames), 1, HEIGHT, WIDTH)
    masks[..., 8:14, 10:20] = 1
    return masks


def start(runner: SceneRunner, task: str) -> SceneStart:
    scale = 2 if task == "upscale" else 1
    scene = SceneStart(0, (HEIGHT, WIDTH), (HEIGHT * scale, WIDTH * scale))
    runner.start(scene)
    return scene


def restore(
    parts: EmbeddedNetworks, task: str, frames: Tensor, denoise: float | None = None, chunks: tuple[int, int] = (4, 2)
) -> Tensor:
    runner = SceneRunner(restorer(parts, task, denoise))
    start(runner, task)
    masks = mask_of(frames) if task == "inpaint" else None
    with torch.inference_mode():
        return torch.cat([runner.step(piece).frames for piece in pieces(frames, *chunks, masks)])


@pytest.mark.parametrize(
    ("amount", "luma", "chroma", "expected"),
    [
        (None, 2.1, 1.5, False),
        (None, 2.2, 0.0, True),
        (None, 0.0, 1.6, True),
        (0.0, 9.0, 9.0, False),
        (0.5, 0.2, 0.2, False),
        (0.5, 0.3, 0.0, True),
    ],
)
def test_noise_goes_where_it_is_plainly_there_or_was_asked_for(
    amount: float | None, luma: float, chroma: float, expected: bool
) -> None:
    found = Denoiser(amount, 1.5).noise(SceneDamage(luma_noise=luma, chroma_noise=chroma))
    assert (found is not None) == expected
    if found is not None:
        deviations = found.variance.flatten().sqrt() * 255
        assert deviations.tolist() == pytest.approx([max(luma, 0.3), max(chroma, 0.3)])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"task": "upscale", "scale": 2}, None),
        ({"task": "upscale", "scale": 3}, 0.0),
        ({"task": "upscale", "scale": 4, "denoise": 0.7}, 0.7),
        ({"task": "deblur"}, None),
        ({"task": "deblur", "strength": 0.0}, 0.0),
        ({"task": "deblur", "strength": 0.0, "denoise": 1.0}, 1.0),
        ({"task": "inpaint"}, 0.0),
        ({"task": "inpaint", "denoise": 0.7}, 0.7),
    ],
)
def test_what_is_denoised_by_itself(options: dict[str, Any], expected: float | None) -> None:
    assert EmbeddedOptions(**options).denoised == expected


def test_how_far_the_network_is_told_of_noise_that_went_before() -> None:
    assert (NOISE_LEFT, LUMA_LIMITS) == ((0.5, 1.0, 1.0), (1.7, 1.2))


def test_clean_video_is_left_alone() -> None:
    parts, frames = load_networks(packaged_path("embedded.safetensors")), clip(0.5)
    for task in ("upscale", "deblur"):
        assert torch.equal(restore(parts, task, frames), restore(parts, task, frames, 0.0))


@pytest.mark.parametrize("task", ["upscale", "deblur"])
def test_noisy_video_is_cleaner_and_steadier(task: str) -> None:
    parts = load_networks(packaged_path("embedded.safetensors"))
    truth, noisy = clip(0), clip(8)
    if task == "upscale":
        truth = F.interpolate(truth, scale_factor=2, mode="bicubic")
    with_noise, found = restore(parts, task, noisy, 0.0), restore(parts, task, noisy)
    inner = (slice(2, None), slice(None), slice(8, -8), slice(8, -8))
    errors = [(x - truth)[inner].square().mean() for x in (with_noise, found)]
    assert errors[1] < 0.5 * errors[0]
    half = restore(parts, task, noisy, 0.5)
    assert errors[1] < (half - truth)[inner].square().mean() < errors[0]


def test_inpainting_denoises_known_pixels_only_when_asked() -> None:
    noisy = clip(8)
    mask = mask_of(noisy).bool().expand_as(noisy)
    found = restore(tiny_parts(), "inpaint", noisy)
    assert torch.equal(found[~mask], noisy[~mask])
    asked = restore(tiny_parts(), "inpaint", noisy, 1.0)
    errors = [(x - clip(0))[~mask].square().mean() for x in (noisy, asked)]
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize("task", TASKS)
def test_chunks_do_not_matter(task: str) -> None:
    noisy = clip(8)
    whole = restore(tiny_parts(), task, noisy, 1.0, (9, 9))
    for chunks in ((4, 2), (4, 1), (5, 3)):
        assert torch.equal(restore(tiny_parts(), task, noisy, 1.0, chunks), whole)


def test_a_large_picture_comes_with_the_frames_after_its_first() -> None:
    parts, noisy = tiny_parts(), clip(8)
    encode = restorer(parts, "upscale").stages["encode"]
    scene = SceneStart(0, (HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH))
    found = []
    first = DeviceChunk(noisy[:1].clone(), None, frozenset({0}), noisy[1:4].clone())
    for chunks in ([first, *(DeviceChunk(x.clone()) for x in noisy[1:].split(1))], pieces(noisy, 4, 2)):
        state, pictures = encode.start(scene), []
        for chunk in chunks:
            encoded, state = encode.step(chunk, state)
            pictures.append(encoded.pictures)
        found.append(torch.cat(pictures))
    assert torch.equal(*found)


@pytest.mark.parametrize("task", TASKS)
def test_a_saved_scene_goes_on_alike(task: str) -> None:
    parts, noisy = tiny_parts(), clip(8)
    whole = restore(parts, task, noisy, 1.0)
    masks = mask_of(noisy) if task == "inpaint" else None
    first, second, *rest = pieces(noisy, 4, 2, masks)
    before, after = SceneRunner(restorer(parts, task, 1.0)), SceneRunner(restorer(parts, task, 1.0))
    with torch.inference_mode():
        scene = start(before, task)
        before.step(first)
        before.step(second)
        after.load(scene, before.save())
        found = torch.cat([after.step(piece).frames for piece in rest])
    assert torch.equal(found, whole[6:])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_scenes(task: str, frames: int) -> None:
    noisy = clip(8, frames)
    found = restore(tiny_parts(), task, noisy, 1.0)
    assert len(found) == frames
    assert torch.isfinite(found).all()


def grained(task: str, amount: float = 1.0, **options: Any) -> EmbeddedRestorer:
    wanted = EmbeddedOptions(task=task, scale=2 if task == "upscale" else 1, sigma=1.0, grain=amount, **options)
    return EmbeddedRestorer(wanted, tiny_parts(), torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("task", TASKS)
def test_grain_comes_back_and_does_not_depend_on_chunks_or_interruptions(task: str) -> None:
    noisy = clip(8)
    masks = mask_of(noisy) if task == "inpaint" else None
    plain = restore(tiny_parts(), task, noisy)
    runner, other = SceneRunner(grained(task)), SceneRunner(grained(task))
    with torch.inference_mode():
        scene = start(runner, task)
        found = torch.cat([runner.step(piece).frames for piece in pieces(noisy, 4, 2, masks)])
        first, *rest = pieces(noisy, 6, 1, masks)
        start(runner, task)
        parts = [runner.step(first).frames]
        other.load(scene, runner.save())
        parts += [other.step(piece).frames for piece in rest]
    assert torch.equal(torch.cat(parts), found)
    inner = (found > 0.02) & (found < 0.98)
    grain = torch.where(inner, found - plain, 0.0)
    assert 6 < float(grain[inner].std()) * 255 < 10
    between = (grain[0] * grain[1]).mean() / grain.square().mean()
    assert abs(float(between)) < 0.05


def test_a_share_of_the_grain_and_none() -> None:
    noisy, plain = clip(8), restore(tiny_parts(), "deblur", clip(8))
    deviations = []
    for amount in (1.0, 0.5):
        runner = SceneRunner(grained("deblur", amount))
        start(runner, "deblur")
        with torch.inference_mode():
            found = torch.cat([runner.step(piece).frames for piece in pieces(noisy, 4, 2)])
        deviations.append(float((found - plain).std()))
    assert deviations[1] == pytest.approx(deviations[0] / 2, rel=0.05)
    assert type(grained("deblur", denoise=0.0).stages["encode"]) is keep_size.Encode
    assert grain_of(clip(8)[:1], SceneDamage(luma_noise=1.0, chroma_noise=1.0)) is None
