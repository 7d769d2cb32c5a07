"""The record of a scene's damage: what is read, what is said, and that it survives as numbers."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.networks.networks import tiny_parts
from tests.pipeline.compare import clips
from vrx.models.base import DeviceChunk
from vrx.models.embedded import damage
from vrx.models.embedded.checkpoint import load_networks
from vrx.models.embedded.damage import (
    DamageReader,
    SceneDamage,
    agreed,
    believed,
    confirmed,
    damage_note,
    describe,
    window_starts,
)
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.runner import restore_scene
from vrx.networks.embedded.diagnosis import Diagnosis
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE, NONE
from vrx.networks.embedded.noise_level import NoiseLevel
from vrx.train.degrade import quantize
from vrx.weights.hashes import packaged_path


def noisy(levels: float, frames: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    x = torch.arange(160.0)
    picture = (0.5 + 0.2 * torch.sin(x / 9) * torch.cos(x[:96, None] / 7)).repeat(frames, 3, 1, 1)
    return quantize(picture + levels / 255 * torch.randn(picture.shape, generator=generator))


def blocky(frames: Tensor) -> Tensor:
    """Means of blocks of 8 x 8 pixels, as where an encoder keeps little."""
    return F.interpolate(F.avg_pool2d(frames, 8), scale_factor=8)


def test_noise_is_read_with_the_shipped_weights() -> None:
    parts = load_networks(packaged_path("embedded.safetensors"))
    reader = DamageReader(parts.degradation, parts.blur, parts.diagnosis)
    with torch.inference_mode():
        found = reader.read(noisy(8)).damage
    assert found.noise == pytest.approx(8, rel=0.1)
    assert found.luma_noise == pytest.approx(5.3, rel=0.15)
    assert found.chroma_noise == pytest.approx(5.1, rel=0.15)
    assert found.seen_noise == pytest.approx(8, rel=0.4)


def test_a_dark_or_faded_start_does_not_hide_the_damage_after_it() -> None:
    parts = load_networks(packaged_path("embedded.safetensors"))
    reader = DamageReader(parts.degradation, parts.blur, parts.diagnosis)
    shown = torch.tensor([0.03] * 4 + [1.0] * 8)[:, None, None, None]
    with torch.inference_mode():
        first, whole = (reader.read(quantize(noisy(8, 12) * shown)[:count]) for count in (4, 20))
    assert first.damage.noise < 2
    assert whole.damage.noise == pytest.approx(8, rel=0.1)
    assert whole.first >= 4


def test_noise_over_detail_that_moves_everywhere_is_believed_where_it_is_seen() -> None:
    parts = load_networks(packaged_path("embedded.safetensors"))
    reader = DamageReader(parts.degradation, parts.blur, parts.diagnosis)
    clean = clips.scene()
    with torch.inference_mode():
        found = [
            reader.read(torch.from_numpy(x.copy()).permute(0, 3, 1, 2).float() / 255).damage.noise
            for x in (clean, clips.noisy(clean, 12))
        ]
    assert found[0] < 1
    assert found[1] == pytest.approx(12, rel=0.25)


def test_a_plain_start_has_the_symptoms_of_its_first_frames() -> None:
    parts = load_networks(packaged_path("embedded.safetensors"))
    reader, frames = DamageReader(parts.degradation, parts.blur, parts.diagnosis), quantize(noisy(8, 12))
    with torch.inference_mode():
        first, whole = (reader.read(frames[:count]) for count in (4, 12))
    assert whole.first == 0
    assert torch.equal(whole.symptoms, first.symptoms)
    assert whole.damage != first.damage


@pytest.mark.parametrize(
    ("count", "starts"), [(1, [0]), (4, [0]), (7, [0]), (8, [0, 4]), (9, [0, 5]), (10, [0, 6]), (12, [0, 4, 8])]
)
def test_windows_are_spread_over_the_frames(count: int, starts: list[int]) -> None:
    assert window_starts(count) == starts


@pytest.mark.parametrize(
    ("diagnosed", "blockiness", "most"), [(0.0, 0.0, 0.0), (0.0, -0.3, 0.0), (0.2, 0.0, 0.6), (0.1, 0.05, 0.6)]
)
def test_compression_is_confirmed_by_the_diagnosis_or_by_blocks(
    diagnosed: float, blockiness: float, most: float
) -> None:
    assert confirmed(diagnosed, blockiness) == pytest.approx(most)


def test_compression_that_nothing_confirms_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = load_networks(packaged_path("embedded.safetensors"))
    reader = DamageReader(parts.degradation, parts.blur, parts.diagnosis)
    plain = blocky(noisy(3))
    with torch.inference_mode():
        found = reader.read(plain).damage.compression
        monkeypatch.setattr(damage, "confirmed", lambda diagnosed, blockiness: 0.5 * found)
        assert reader.read(plain).damage.compression == pytest.approx(0.5 * found)
    assert found > 0.3


@pytest.mark.parametrize(("quantizer", "coded"), [(None, 0), (10, 0), (14, 0), (28, 0.5), (42, 1), (51, 1)])
def test_what_the_decoder_tells_is_kept_beside_what_pictures_show(quantizer: float | None, coded: float) -> None:
    parts = load_networks(packaged_path("embedded.safetensors"))
    reader = DamageReader(parts.degradation, parts.blur, parts.diagnosis)
    with torch.inference_mode():
        plain, found = reader.read(noisy(0)).damage, reader.read(noisy(0), quantizer).damage
    assert found.coded == pytest.approx(coded)
    assert replace(found, coded=0.0) == plain


def test_coding_counts_in_words_and_events() -> None:
    (note,) = damage_note(SceneDamage(compression=0.2, coded=0.8), 0)
    assert (note.text, note.facts["compression"]) == ("scene 0: compressed", 0.56)
    assert describe(SceneDamage(compression=0.8, coded=0.3)) == "heavily compressed"


def test_small_pictures_show_no_noise() -> None:
    parts = tiny_parts()
    reader = DamageReader(parts.degradation, parts.blur, parts.diagnosis)
    with torch.inference_mode():
        found = [reader.read(noisy(8)[..., :side, :side]).damage.noise for side in (47, 48)]
    assert found[0] == 0
    assert found[1] > 5


def test_a_picture_that_was_enlarged_is_told() -> None:
    parts = tiny_parts()
    reader = DamageReader(parts.degradation, parts.blur, parts.diagnosis)
    small = noisy(20, frames=1)  # fine detail
    large = F.interpolate(small, scale_factor=1.5, mode="bicubic").clamp(0, 1)
    with torch.inference_mode():
        found, before = reader.read(large).damage, reader.read(small).damage
    assert (found.enlarged, before.enlarged) == (True, False)
    assert damage_note(found, 1)[0].facts["enlarged"] is True
    assert damage_note(before, 1)[0].facts["enlarged"] is False


def test_a_record_survives_as_numbers() -> None:
    found = SceneDamage(1 / 3, 0.2, 0.1, 0.7, LINE, 1.9, math.pi / 7, 0.3, 4.5, 0.2, 1.4)
    assert SceneDamage.from_tensor(found.tensor()) == found
    assert found.levels().tolist() == pytest.approx([4.5 / 20, 0.7, 0.3])


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (SceneDamage(), ""),
        (SceneDamage(noise=0.9, compression=0.3, softness=1.0), ""),
        (SceneDamage(noise=9, luma_noise=6, chroma_noise=6, compression=0.8), "heavily compressed, noise 9 levels"),
        (SceneDamage(compression=0.35), "lightly compressed"),
        (SceneDamage(compression=0.5, kind=GAUSSIAN, width=1.84), "compressed, blur 1.8 px (Gaussian)"),
        (SceneDamage(noise=5, luma_noise=2, chroma_noise=4), "color noise 4 levels"),
        (SceneDamage(noise=1, kind=DISK, width=2), "noise 1 level, blur 2.0 px (out of focus)"),
        (SceneDamage(rhythm=1.99), ""),
        (SceneDamage(compression=0.8, rhythm=2.0), "heavily compressed, enlarged before"),
    ],
)
def test_damage_is_put_into_words(found: SceneDamage, words: str) -> None:
    assert describe(found) == words


def test_a_clean_scene_is_an_event_and_no_line() -> None:
    (note,) = damage_note(SceneDamage(), 2)
    assert (note.code, note.text, note.level) == ("degradation-estimated", "scene 2: clean", "detail")
    (note,) = damage_note(SceneDamage(noise=3), 2)
    assert note.level == "info"
    (note,) = damage_note(SceneDamage(kind=LINE, width=2, angle=-math.pi / 4), 2)
    assert (note.facts["blur"], note.facts["angle"]) == ("motion", 135.0)


@pytest.mark.parametrize(
    ("measured", "seen", "moving", "expected"),
    [
        (10.0, 12.0, True, (10.0, 12.0)),
        (10.0, 20.0, True, (10.0, 16.0)),
        (10.0, 20.0, False, (10.0, 20.0)),  # one frame does not show what comes and goes
        (0.0, 20.0, True, (0.0, 1.0)),
        (50.0, 1.0, True, (4.0, 1.0)),
        (2.0, 0.0, True, (2.0, 0.0)),  # noise that an encoder left
        (3.0, 0.0, True, (2.0, 0.0)),
        (50.0, 25.0, True, (50.0, 25.0)),  # more is not seen
    ],
)
def test_noise_measured_and_seen_limit_each_other(
    measured: float, seen: float, moving: bool, expected: tuple[float, float]
) -> None:
    noise, left = agreed(NoiseLevel(measured, measured / 2, measured / 4), seen, moving)
    assert (noise.colors, left) == pytest.approx(expected)
    assert (noise.luma, noise.chroma) == pytest.approx((expected[0] / 2, expected[0] / 4))


@pytest.mark.parametrize(
    ("chance", "width", "kind"), [(0.9, 2.0, GAUSSIAN), (0.59, 2.0, NONE), (0.6, 2.0, GAUSSIAN), (0.9, 0.29, NONE)]
)
def test_a_blur_is_foundwhere_it_is_likely(chance: float, width: float, kind: int) -> None:
    chances = torch.tensor([1 - chance, chance, 0, 0], dtype=torch.float64)
    assert believed(Diagnosis(chances, width, 0.0, 0.0, 0.0))[0] == kind


@pytest.mark.parametrize("masked", [8, 40])
def test_around_a_large_mask_no_damage_is_read(masked: int) -> None:
    frames, masks = noisy(6), torch.zeros(4, 1, 96, 160)
    masks[..., :masked] = 1
    restorer = EmbeddedRestorer(EmbeddedOptions(task="inpaint"), tiny_parts(), torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        (result,) = restore_scene(restorer, [DeviceChunk(frames, masks)])
    assert len(result.notes) == (masked < 16)


def test_every_task_tells_once() -> None:
    frames = noisy(6)
    for task in ("upscale", "deblur", "inpaint"):
        options = EmbeddedOptions(task=task, scale=2 if task == "upscale" else 1)
        restorer = EmbeddedRestorer(options, tiny_parts(), torch.device("cpu"), torch.float32)
        masks = torch.zeros(4, 1, 96, 160) if task == "inpaint" else None
        with torch.inference_mode():
            results = list(restore_scene(restorer, [DeviceChunk(frames.clone(), masks)] * 3))
        notes = [note for result in results for note in result.notes]
        assert [note.code for note in notes] == ["degradation-estimated"]
        assert notes[0].facts["noise"] == pytest.approx(6, rel=0.1)
