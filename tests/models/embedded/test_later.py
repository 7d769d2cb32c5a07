"""Enlarging with a view of later frames: blocks of them, what they help, where they are left out, interruptions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import cv2
import pytest
import torch
from torch import Tensor

from tests.models.embedded.test_upscale import moving, picture, shipped
from tests.networks.networks import tiny_enlarging, tiny_parts
from vrx.models import optical_flow
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.embedded import damage, upscale
from vrx.models.embedded.checkpoint import EmbeddedNetworks
from vrx.models.embedded.damage import Examination, SceneDamage
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.later import NOTHING, OVERLAP, Block, Coverage, frames_ahead, make_block
from vrx.models.embedded.model import LOOKING_AHEAD, SCHEDULE, EmbeddedRestorer
from vrx.models.optical_flow import Motion
from vrx.models.runner import SceneRunner
from vrx.networks.embedded.classical import bicubic
from vrx.networks.embedded.degradation import LEVELS
from vrx.networks.embedded.recurrent import (
    BOUND,
    LATER_BOUND,
    ClipMotion,
    PreviousFrame,
    RecurrentConfig,
    RecurrentNetwork,
)
from vrx.train.degrade import quantize, shrink
from vrx.train.pool import motion_of
from vrx.train.synthesis import saturate

__all__ = ["picture", "shipped"]  # fixtures


@pytest.fixture
def branched(shipped: EmbeddedNetworks) -> EmbeddedNetworks:
    """Those that ship, with a small enlarging network that has a branch for later frames."""
    return replace(shipped, enlarging=tiny_enlarging())


def chunks(low: Tensor, ahead: int = LOOKING_AHEAD.ahead) -> Iterator[DeviceChunk]:
    """A scene cut as the schedule says; after its last frame it stands still."""
    start, padded = 0, torch.cat([low, low[-1:].expand(SCHEDULE.first + ahead, *low.shape[1:])])
    while start < len(low):
        end = start + (SCHEDULE.next if start else SCHEDULE.first)
        later = padded[end : end + ahead] if ahead else None
        yield DeviceChunk(low[start:end], None, frozenset({0} if start == 0 else ()), later)
        start = end


def restorer_of(parts: EmbeddedNetworks, scale: int = 4, denoise: float | None = 0.0) -> EmbeddedRestorer:
    options = EmbeddedOptions(task="upscale", scale=scale, strength=0.0, denoise=denoise)
    return EmbeddedRestorer(options, parts, torch.device("cpu"), torch.float32)


@torch.inference_mode()
def enlarge(restorer: EmbeddedRestorer, pieces: list[DeviceChunk], interrupted: int | None = None) -> Tensor:
    """All frames; after chunk number `interrupted` everything begins anew from what was saved."""
    height, width = pieces[0].frames.shape[-2:]
    scene = SceneStart(0, (height, width), (height * restorer.scale, width * restorer.scale))
    runner, found = SceneRunner(restorer), []
    runner.start(scene)
    for number, piece in enumerate(pieces):
        found.append(runner.step(piece).frames.clone())
        if number == interrupted:
            saved = runner.save()
            runner = SceneRunner(restorer)
            runner.load(scene, saved)
    return torch.cat(found)


def test_a_block_serves_several_chunks_and_its_end_is_looked_at_again() -> None:
    covered, lengths = NOTHING, []
    for count in (4, *[2] * 12):
        length, covered = covered.plan(count, 8, False)
        lengths.append(length)
    assert lengths == [12, 0, 0, 0, 10, 0, 0, 0, 10, 0, 0, 0, 10]


@pytest.mark.parametrize(("ahead", "kept"), [(2, 3), (3, 4), (4, 4), (8, 8)])
def test_a_short_view_leaves_a_shorter_end_out(ahead: int, kept: int) -> None:
    length, covered = NOTHING.plan(2, ahead, False)
    assert (length, covered.frames) == (2 + ahead, kept - 2)
    assert min(OVERLAP, ahead // 2) == length - kept


def test_what_was_lost_is_found_again_from_the_same_frames() -> None:
    _, covered = NOTHING.plan(4, 8, False)
    _, covered = covered.plan(2, 8, False)
    length, after = Coverage(covered.frames, covered.beyond, lost=True).plan(2, 8, False)
    assert length == covered.frames + OVERLAP
    assert after == covered.plan(2, 8, False)[1]


def test_at_a_scene_s_end_there_is_nothing_to_look_at_again() -> None:
    length, covered = NOTHING.plan(4, 3, True)
    assert (length, covered) == (7, Coverage(3))


@pytest.mark.parametrize(("frames", "ahead"), [(5, 1), (12, 8), (4, 0)])
def test_the_repeated_last_frame_of_a_scene_is_not_looked_at(frames: int, ahead: int) -> None:
    first = next(chunks(torch.rand(frames, 3, 4, 4)))
    assert first.ahead is not None
    assert len(first.ahead) == 8
    assert frames_ahead(first) == ahead


def test_a_single_picture_takes_no_longer_for_it(branched: EmbeddedNetworks) -> None:
    encode = restorer_of(branched).stages["encode"]
    picture = torch.rand(1, 3, 24, 32)
    state = encode.start(SceneStart(0, (24, 32), (96, 128)))
    with torch.inference_mode():
        chunk, _ = encode.step(DeviceChunk(picture, None, frozenset({0}), picture.expand(8, 3, 24, 32)), state)
    assert not chunk.later


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("after", range(6))
def test_an_interruption_changes_nothing(scale: int, after: int) -> None:
    low = torch.rand(16, 3, 14, 18, generator=torch.Generator().manual_seed(2))
    pieces, restorer = list(chunks(low)), restorer_of(tiny_parts(), scale)
    assert torch.equal(enlarge(restorer, pieces, after), enlarge(restorer, pieces))


def luma_gain(low: Tensor, truth: Tensor, found: Tensor) -> float:
    """dB over bicubic."""
    errors = [((x - truth) ** 2)[..., 8:-8, 8:-8].mean() for x in (bicubic(low, 4), found)]
    return float(10 * torch.log10(errors[0] / errors[1]))


def test_later_frames_help(picture: Tensor, shipped: EmbeddedNetworks) -> None:
    truth = moving(picture, 12)
    low = quantize(shrink(truth, 4))
    restorer = restorer_of(shipped)
    seen, blind = (luma_gain(low, truth, enlarge(restorer, list(chunks(low, ahead)))[:12]) for ahead in (8, 0))
    assert seen > blind + 0.2


@pytest.mark.parametrize("vivid", [1.0, 3.0])
def test_features_of_what_ships_do_not_grow_from_frame_to_frame(
    picture: Tensor, shipped: EmbeddedNetworks, vivid: float
) -> None:
    there = moving(picture, 20)
    truth = saturate(torch.cat([there, there.flip(0)])[None], vivid)
    low = quantize(shrink(truth[0], 4))[None]
    with ThreadPoolExecutor(1) as workers:
        before, after = motion_of(low, 1, workers).float().unbind(1)
    before[:, 0] = after[:, -1] = 1e4  # there is none
    nothing = PreviousFrame(torch.zeros(1, 64, *low.shape[-2:]), torch.zeros_like(low[:, 0]))
    with torch.inference_mode():
        walked = shipped.enlarging(4, low, torch.zeros(1, LEVELS), nothing, ClipMotion(before, after))
    largest = [torch.stack([found.abs().max() for found in part]) for part in (walked.features, walked.later)]
    for found, bound in zip(largest, (BOUND, LATER_BOUND), strict=True):
        assert found.max() < 0.6 * bound
        assert found[-6:].mean() < 1.3 * found[6:12].mean()


@pytest.mark.parametrize("branch", [True, False])
def test_frames_come_along_for_damage_as_well(shipped: EmbeddedNetworks, branch: bool) -> None:
    blind = replace(shipped, enlarging=RecurrentNetwork(RecurrentConfig(channels=8, blocks=1)))
    restorer = restorer_of(shipped if branch else blind)
    assert restorer.schedule == LOOKING_AHEAD
    assert LOOKING_AHEAD.first + LOOKING_AHEAD.ahead >= damage.OPENING


def test_large_frames_and_those_whose_noise_goes_first_do_without(
    branched: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "OPENING", 4)  # damage is read from what is at hand
    generator = torch.Generator().manual_seed(4)
    low = quantize((0.5 + 0.03 * torch.randn(8, 3, 64, 64, generator=generator)).clamp(0, 1))
    usual = restorer_of(branched, denoise=0.0)
    seen, blind = (enlarge(usual, list(chunks(low, ahead))) for ahead in (8, 0))
    assert not torch.equal(seen, blind)
    cleaned = restorer_of(branched, denoise=1.0)
    assert torch.equal(*(enlarge(cleaned, list(chunks(low, ahead))) for ahead in (8, 0)))
    monkeypatch.setattr(upscale, "MOST_POSITIONS", 64 * 64 - 1)
    assert torch.equal(enlarge(usual, list(chunks(low))), blind)


def test_a_scene_that_changed_is_looked_at_anew(branched: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its damage is another one, and so is what the branch finds under it."""
    fade = torch.linspace(1, 0.3, 12)[:, None, None, None]
    low = fade * torch.rand(12, 3, 24, 32, generator=torch.Generator().manual_seed(3))
    encode = restorer_of(branched, 2).stages["encode"]
    state, current = encode.start(SceneStart(0, (24, 32), (48, 64))), 0
    begun: list[int] = []

    def block(*given: Any) -> Block:
        begun.append(current)
        return make_block(*given)

    monkeypatch.setattr(upscale, "make_block", block)
    with torch.inference_mode():
        for current, piece in enumerate(chunks(low)):
            fresh = frozenset({0}) if current == 2 else piece.refresh
            chunk, state = encode.step(DeviceChunk(piece.frames, None, fresh, piece.ahead), state)
            assert len(chunk.later) == len(chunk.pictures)
    assert begun == [0, 2]


def read_as(monkeypatch: pytest.MonkeyPatch, *compressions: float) -> None:
    """Have scenes read as so compressed, one reading after the other."""
    readings = iter(compressions)

    def read(*_: Any) -> Examination:
        return Examination(SceneDamage(compression=next(readings)), torch.empty(0))

    monkeypatch.setattr(damage.DamageReader, "read", read)


@pytest.mark.parametrize(
    ("quality", "compression", "foreseen"),
    [("auto", 0.24, True), ("auto", 0.26, False), ("best", 0.26, True), ("best", 1.0, True)],
)
def test_where_an_encoder_left_little_later_frames_are_looked_at_only_for_the_best_quality(
    branched: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch, quality: str, compression: float, foreseen: bool
) -> None:
    read_as(monkeypatch, compression)
    options = EmbeddedOptions(task="upscale", scale=4, denoise=0.0, quality=quality)
    encode = EmbeddedRestorer(options, branched, torch.device("cpu"), torch.float32).stages["encode"]
    state = encode.start(SceneStart(0, (24, 32), (96, 128)))
    with torch.inference_mode():
        chunk, _ = encode.step(next(chunks(torch.rand(16, 3, 24, 32))), state)
    assert bool(chunk.later) == foreseen


@pytest.mark.parametrize("after", [1, 4])
def test_a_scene_that_is_compressed_in_parts_survives_an_interruption(
    branched: EmbeddedNetworks, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    low = torch.rand(16, 3, 14, 18, generator=torch.Generator().manual_seed(2))
    options = EmbeddedOptions(task="upscale", scale=4, denoise=0.0)
    restorer = EmbeddedRestorer(options, branched, torch.device("cpu"), torch.float32)
    pieces = [
        replace(piece, refresh=frozenset({0})) if number in (2, 4) else piece
        for number, piece in enumerate(chunks(low))
    ]
    read_as(monkeypatch, 0.5, 0.0, 0.5, 0.5, 0.0, 0.5)
    assert torch.equal(enlarge(restorer, pieces, after), enlarge(restorer, pieces))


def test_views_of_later_frames_are_short_where_frames_are_large() -> None:
    ahead = [LOOKING_AHEAD.within(width * height).ahead for width, height in ((1920, 1080), (3840, 2160), (4096, 3072))]
    assert ahead == [8, 3, 2]


def test_motion_of_later_frames_is_searched_as_they_come(
    branched: EmbeddedNetworks, picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are threads for it no block waits for the motion of all its frames, and the results are the same."""
    low = moving(picture, 21)
    plain = enlarge(restorer_of(branched), list(chunks(low)))
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 4)
    restorer, counts = restorer_of(branched), list[int]()
    encode = cast(upscale.Encode, restorer.stages["encode"])
    encode._motion = Motion(beside=True)
    step = encode.step

    def observed(chunk: DeviceChunk, state: Any) -> Any:
        before, found = len(submitted), step(chunk, state)
        counts.append(len(submitted) - before)
        return found

    submitted: list[int] = []
    find = optical_flow.Threads._find

    def noted(threads: optical_flow.Threads, name: tuple[int, ...], pair: optical_flow.Pair) -> Any:
        submitted.extend([1] * (name not in threads._kept))
        return find(threads, name, pair)

    monkeypatch.setattr(optical_flow.Threads, "_find", noted)
    monkeypatch.setattr(encode, "step", observed)
    assert torch.equal(enlarge(restorer, list(chunks(low))), plain)
    assert len(submitted) == 2 * 20  # every pair once in each direction
    assert max(counts[1:]) <= 3 * SCHEDULE.next  # a block of ten frames asks for nine at once
