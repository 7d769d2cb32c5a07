"""What is undone in a scene: the plan, its guard, its words, and the gain with the shipped weights."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.embedded import deblur
from vrx.models.embedded.checkpoint import EmbeddedNetworks, load_networks
from vrx.models.embedded.damage import DamageReader, Examination, SceneDamage
from vrx.models.embedded.deblur import Plan, Planner, network_share
from vrx.models.embedded.denoise import Denoiser
from vrx.models.embedded.keep_size import EmbeddedOptions, Encode
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.runner import restore_scene
from vrx.networks.embedded.deconvolution import Recipe
from vrx.networks.embedded.diagnosis import CHROMA_POINTS, POINTS, Diagnosis, Evidence
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE, NONE, kernel
from vrx.networks.embedded.symptoms import SYMPTOMS, gray
from vrx.networks.embedded.zeros import Match, Zeros
from vrx.train.compression import through_h264
from vrx.train.degrade import quantize
from vrx.weights.hashes import packaged_path

SCENE = SceneStart(0, (96, 128), (96, 128))


@pytest.fixture(scope="module")
def shipped() -> EmbeddedNetworks:
    return load_networks(packaged_path("embedded.safetensors"))


@pytest.fixture(scope="module")
def clip() -> Tensor:
    """Boxes over a texture as nature has it, its power falling with the square of the frequency; both move."""
    generator = torch.Generator().manual_seed(5)
    size = (384, 512)
    ring = torch.hypot(torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])).clamp_min(1 / 256)
    texture = torch.fft.irfft2(torch.fft.rfft2(torch.randn(3, *size, generator=generator)) / ring, s=size)
    canvas = 0.5 + 0.12 * (texture + 2 * texture.mean(0)) / texture.std()
    for color in torch.rand(60, 1, 1, 1, generator=generator) - 0.5:
        top, left, tall, wide = (torch.rand(4, generator=generator) * torch.tensor([380, 500, 70, 70])).int().tolist()
        canvas[:, top : top + tall + 2, left : left + wide + 2] += color[0] / 2
    return quantize(torch.stack([canvas[:, :192, t : t + 256] for t in range(4)]).clamp(0, 1))


def blurred(clip: Tensor, kind: int, width: float, angle: float = 0.34) -> Tensor:
    shape = kernel(kind, width, angle)
    padded = F.pad(clip, (len(shape) // 2,) * 4, mode="reflect")
    return quantize(F.conv2d(padded, shape.expand(3, 1, -1, -1), groups=3))


def noisy(clip: Tensor, levels: float) -> Tensor:
    return quantize(clip + levels / 255 * torch.randn(clip.shape, generator=torch.Generator().manual_seed(1)))


def restored(low: Tensor, parts: EmbeddedNetworks, sigma: float | None = None) -> tuple[Tensor, str]:
    options = EmbeddedOptions(task="deblur", sigma=sigma)
    restorer = EmbeddedRestorer(options, parts, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        chunks = list(restore_scene(restorer, [DeviceChunk(low.clone(), None, frozenset({0}))]))
    return chunks[0].frames, chunks[0].notes[0].text


def gain(low: Tensor, truth: Tensor, out: Tensor) -> float:
    errors = [((quantize(x) - truth) ** 2)[..., 8:-8, 8:-8].mean() for x in (low, out)]
    return float(10 * torch.log10(errors[0] / errors[1]))


def recipe(kind: int, width: float = 2.0, ratio: float = -3.0) -> Recipe:
    shares = torch.eye(4, dtype=torch.float64)[kind]
    return Recipe(
        shares, width, 0.3, torch.full((POINTS,), ratio).double(), torch.full((CHROMA_POINTS,), ratio).double()
    )


def diagnosis(kind: int, width: float = 2.0, noise: float = 0.0, compression: float = 0.0) -> Diagnosis:
    return Diagnosis(torch.eye(4, dtype=torch.float64)[kind], width, 0.3, noise, compression)


@pytest.mark.parametrize(
    ("kind", "damage", "least", "words"),
    [
        (GAUSSIAN, "", 2.0, "(Gaussian)"),
        (DISK, "", 4.0, "(out of focus)"),
        (LINE, "", 4.0, "(motion)"),
        (GAUSSIAN, "noise", 1.0, "noise"),
        (DISK, "noise", 0.5, "noise"),
        (LINE, "noise", 1.0, "(motion)"),
        (GAUSSIAN, "h264", 0.5, "compressed"),
        (LINE, "h264", 0.3, "(motion)"),
    ],
)
@pytest.mark.parametrize("sigma", [None, 2.0])
def test_each_kind_of_blur_and_damage_gains(
    shipped: EmbeddedNetworks, clip: Tensor, kind: int, damage: str, least: float, words: str, sigma: float | None
) -> None:
    low = blurred(clip, kind, 2.0)
    if damage == "noise":
        low = noisy(low, 6)
    elif damage == "h264":
        low = through_h264(low[None], 26, "medium")[0]
    out, note = restored(low, shipped, sigma)
    assert gain(low, clip, out) > least
    assert words in note


@pytest.mark.parametrize("damage", ["", "noise", "h264", "small"])
def test_sharp_pictures_are_left_as_they_are(shipped: EmbeddedNetworks, clip: Tensor, damage: str) -> None:
    low = clip[..., :48, :64] if damage == "small" else clip
    low = {"noise": lambda: noisy(low, 6), "h264": lambda: through_h264(low[None], 26, "medium")[0]}.get(
        damage, lambda: low
    )()
    out, note = restored(low, shipped)
    if damage == "noise":
        assert gain(low, clip, out) > 1.5
        assert note.endswith("; its noise is taken out, nothing is sharpened")
    else:
        assert torch.equal(out, low)
        assert note.endswith("; left as it is")


def test_a_plan_survives_as_numbers() -> None:
    plan = Plan(replace(recipe(LINE, width=1 / 3), angle=math.pi / 7), 0.75, 0.3)
    again = Plan.from_tensor(plan.tensor())
    assert torch.equal(again.tensor(), plan.tensor())
    assert (again.recipe.width, again.recipe.angle, again.strength, again.network) == (1 / 3, math.pi / 7, 0.75, 0.3)
    frames = torch.rand(1, 3, 24, 32)
    assert torch.equal(again.filtered(frames), plan.filtered(frames))


@pytest.mark.parametrize(("strength", "network"), [(1.0, 0.0), (0.5, 0.0), (1.0, 1.0), (0.5, 0.25)])
def test_a_plan_mixes_input_filter_and_inverse(strength: float, network: float) -> None:
    frames, sharp = torch.rand(1, 3, 24, 32), torch.rand(1, 3, 24, 32)
    plan = Plan(recipe(GAUSSIAN), strength, network)
    wanted = frames + strength * ((1 - network) * plan.filtered(frames) + network * sharp - frames)
    torch.testing.assert_close(plan.base(frames, sharp if network else None), wanted, atol=1e-5, rtol=0)


def test_a_plan_of_nothing_changes_nothing() -> None:
    frames = torch.rand(1, 3, 24, 32)
    base = Plan(recipe(GAUSSIAN), 0.0, 0.0).base(frames, None)
    assert torch.equal(base, frames)
    assert base.data_ptr() != frames.data_ptr()  # later stages write into it


class Chosen(torch.nn.Module):
    """A guard that has made up its mind."""

    def __init__(self, strength: float, network: float) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(1))
        self.choice = torch.tensor([strength]), torch.tensor([network])

    def forward(self, measures: Tensor) -> tuple[Tensor, Tensor]:
        assert torch.isfinite(measures).all()
        return self.choice


@pytest.mark.parametrize(("strength", "network", "change"), [(0.0, 1.0, 0.0), (0.5, 0.0, 0.5), (1.0, 0.0, 1.0)])
def test_the_guard_decides_how_much_is_done(
    shipped: EmbeddedNetworks, clip: Tensor, strength: float, network: float, change: float
) -> None:
    low = 0.25 + 0.5 * blurred(clip, DISK, 2.0)  # nothing comes near black and white, where it would be clipped
    out, note = restored(low, replace(shipped, guard=Chosen(strength, network)))  # type: ignore[arg-type]
    full, _ = restored(low, replace(shipped, guard=Chosen(1.0, 0.0)))  # type: ignore[arg-type]
    torch.testing.assert_close(out - low, change * (full - low), atol=1e-5, rtol=0)
    assert ("left as it is" in note) is (strength == 0)
    assert ("50% of the sharpening" in note) is (strength == 0.5)


SEEN = Evidence(torch.zeros(SYMPTOMS), Zeros(0.02, Match(0.4, 2.0), Match(0.6, 2.0)))


@pytest.mark.parametrize(
    ("found", "height", "sigma", "strength"),
    [
        (diagnosis(DISK), 64, None, 1.0),
        (diagnosis(DISK), 63, None, 0.0),  # too small to find a blur in
        (diagnosis(DISK), 63, 2.0, 1.0),
        (diagnosis(NONE), 64, None, 0.0),
        (diagnosis(NONE), 64, 2.0, 1.0),
        (diagnosis(DISK, 0.29), 64, None, 0.0),  # too narrow to matter
        (diagnosis(DISK, 0.31), 64, None, 1.0),
    ],
)
@torch.inference_mode()
def test_a_blur_is_undone_where_it_is_found_or_told(
    monkeypatch: pytest.MonkeyPatch, found: Diagnosis, height: int, sigma: float | None, strength: float
) -> None:
    planner = Planner(None, None, Chosen(1.0, 0.0), sigma, None)  # type: ignore[arg-type]
    monkeypatch.setattr(planner, "evidence", lambda symptoms, frames: SEEN)
    monkeypatch.setattr(planner, "draft", lambda seen: (found, Plan(recipe(DISK, found.width), 1.0, 0.0)))
    examined = Examination(SceneDamage(), SEEN.symptoms)
    plan, _ = planner.plan(examined, torch.rand(1, 3, height, 80), 0)
    assert plan.strength == strength


def test_a_deblurring_is_tried_on_the_middle_of_a_picture() -> None:
    frames = torch.rand(1, 3, 600, 20)
    trial = Planner(None, None, None, 2.0, None).tried(  # type: ignore[arg-type]
        diagnosis(DISK), Plan(recipe(DISK), 1.0, 0.0), SEEN, frames
    )
    assert torch.equal(trial.before, gray(frames[..., 44:556, :]))
    assert trial.after.shape == (1, 1, 512, 20)
    assert trial.told


@pytest.mark.parametrize(
    ("found", "share", "expected"),
    [
        (diagnosis(GAUSSIAN), 1.0, 1.0),
        (diagnosis(GAUSSIAN), 0.8, 0.0),
        (diagnosis(GAUSSIAN), 0.875, 0.5),
        (diagnosis(GAUSSIAN, noise=0.9), 1.0, 1.0),
        (diagnosis(GAUSSIAN, noise=1.35), 1.0, 0.5),
        (diagnosis(GAUSSIAN, noise=1.8), 1.0, 0.0),
        (diagnosis(GAUSSIAN, compression=0.1), 1.0, 1.0),
        (diagnosis(GAUSSIAN, compression=0.2), 1.0, 0.5),
        (diagnosis(GAUSSIAN, compression=0.3), 1.0, 0.0),
    ],
)
def test_the_network_retires_where_damage_grows(found: Diagnosis, share: float, expected: float) -> None:
    shares = torch.tensor([0, share, 1 - share, 0], dtype=torch.float64)
    assert network_share(found, replace(recipe(GAUSSIAN), shares=shares)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "plan", "words"),
    [
        (diagnosis(DISK, 1.8), Plan(recipe(DISK), 1.0, 0.0), "compressed, noise 4 levels, blur 1.8 px (out of focus)"),
        (
            diagnosis(GAUSSIAN, 3.0),
            Plan(recipe(GAUSSIAN), 0.5, 0.0),
            "compressed, noise 4 levels, blur 3.0 px (Gaussian); 50% of the sharpening, more might do harm",
        ),
        (diagnosis(DISK), Plan(recipe(DISK), 0.96, 0.0), "compressed, noise 4 levels, blur 2.0 px (out of focus)"),
        (
            diagnosis(DISK),
            Plan(recipe(DISK), 0.94, 0.0),
            "compressed, noise 4 levels, blur 2.0 px (out of focus); 94% of the sharpening, more might do harm",
        ),
        (
            diagnosis(NONE, 3.0),
            Plan(recipe(NONE), 0.0, 0.0),
            "compressed, noise 4 levels, no blur; left as it is",
        ),
    ],
)
def test_what_is_undone_is_put_into_words(found: Diagnosis, plan: Plan, words: str) -> None:
    damage = SceneDamage(noise=4.2, luma_noise=3.0, chroma_noise=3.0, compression=0.6, kind=LINE, width=9.0)
    (note,) = deblur.note_of(damage, found, plan, 3, deblur.UNCHANGED)
    assert note.text == f"scene 3: {words}"
    assert (note.facts["sigma"], note.facts["strength"]) == (found.width if found.kind else 0, plan.strength)


def test_a_stated_strength_takes_the_place_of_the_damage_found() -> None:
    found, clean = deblur.at_strength(diagnosis(GAUSSIAN, noise=5, compression=1), recipe(GAUSSIAN), 0.0)
    assert (found.noise, found.compression) == (0, 0)
    assert clean.luma[1:].unique().tolist() == pytest.approx([math.log10(4e-4)])
    found, strong = deblur.at_strength(diagnosis(GAUSSIAN), recipe(GAUSSIAN), 1.0)
    assert (found.noise, found.compression) == (10, 1)
    assert strong.chroma[1:].unique().tolist() == pytest.approx([-1])
    assert strong.chroma[0] == -3  # the mean stays


def test_a_scene_that_changed_is_looked_at_again(shipped: EmbeddedNetworks, clip: Tensor) -> None:
    reader = DamageReader(shipped.degradation, shipped.blur, shipped.diagnosis)
    encode = Encode(
        EmbeddedOptions(task="deblur"),
        reader,
        Planner(shipped.blur, shipped.diagnosis, shipped.guard, None, None),
        Denoiser(0, 0),
    )
    with torch.inference_mode():
        chunk, state = encode.step(DeviceChunk(clip.clone(), None, frozenset({0})), encode.start(SCENE))
        low = blurred(clip, GAUSSIAN, 2.0)
        same, state = encode.step(DeviceChunk(low[:2].clone()), state)
        other, state = encode.step(DeviceChunk(low[2:].clone(), None, frozenset({0})), state)
    assert chunk.notes
    assert not same.notes
    assert torch.equal(same.base[..., :192, :256], low[:2])
    assert other.notes
    assert not torch.equal(other.base[..., :192, :256], low[2:])


def test_a_change_on_a_chunks_last_frame_is_looked_at_with_the_next_also_after_an_interruption(
    shipped: EmbeddedNetworks, clip: Tensor
) -> None:
    reader = DamageReader(shipped.degradation, shipped.blur, shipped.diagnosis)
    planner = Planner(shipped.blur, shipped.diagnosis, shipped.guard, None, None)
    encode = Encode(EmbeddedOptions(task="deblur"), reader, planner, Denoiser(0, 0))
    low, found = blurred(clip, GAUSSIAN, 2.0), []
    with torch.inference_mode():
        _, state = encode.step(DeviceChunk(clip.clone(), None, frozenset({0})), encode.start(SCENE))
        for refresh in ({1}, set(), set()):
            chunk, state = encode.step(DeviceChunk(low[2:].clone(), None, frozenset(refresh)), state)
            state = encode.load(SCENE, encode.save(state))
            found.append(bool(chunk.notes))
    assert found == [False, True, False]


def test_what_is_seen_after_a_dark_start_decides(shipped: EmbeddedNetworks, clip: Tensor) -> None:
    reader = DamageReader(shipped.degradation, shipped.blur, shipped.diagnosis)
    planner = Planner(shipped.blur, shipped.diagnosis, shipped.guard, None, None)
    encode = Encode(EmbeddedOptions(task="deblur"), reader, planner, Denoiser(0, 0))
    low = blurred(clip, GAUSSIAN, 2.0)
    dark = quantize(low * 0.03)
    with torch.inference_mode():
        _, alone = encode.step(DeviceChunk(dark.clone(), None, frozenset({0})), encode.start(SCENE))
        opening = DeviceChunk(dark.clone(), None, frozenset({0}), torch.cat([low, low[-1:].expand(4, -1, -1, -1)]))
        _, state = encode.step(opening, encode.start(SCENE))
    assert alone.plan is not None
    assert alone.plan.recipe.width < 1.7  # from what is dark alone
    assert state.plan is not None
    assert state.plan.strength > 0.5
    assert state.plan.recipe.width == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    ("found", "read", "expected"),
    [(2.0, 2.4, 2.4), (2.0, 2.6, 2.0), (2.0, 1.6, 1.6), (2.0, 1.5, 2.0), (2.0, 0.0, 2.0), (0.0, 2.4, 0.0)],
)
def test_the_readers_of_clean_pictures_count_where_they_nearly_agree(
    monkeypatch: pytest.MonkeyPatch, shipped: EmbeddedNetworks, found: float, read: float, expected: float
) -> None:
    monkeypatch.setattr(deblur, "read_sigma", lambda network, features: read)
    planner = Planner(shipped.blur, shipped.diagnosis, shipped.guard, None, None)
    assert planner.reread(found, torch.zeros(500)) == expected
