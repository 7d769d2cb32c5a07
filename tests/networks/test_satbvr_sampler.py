"""SATB-VR's schedule, tiles and procedure, on stand-ins for its networks."""

from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vrx.networks.satbvr.sampler import Latents, Prompts, Sampler
from vrx.networks.satbvr.solver import FIXED, Schedule, clean_latent, solver_steps, timesteps
from vrx.networks.satbvr.tiles import Side, Tiling

PUBLISHED = {
    **FIXED,
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "snr_shift_scale": 1.0,
}


class Pointwise:
    """In place of both networks: what it says of a position depends on that position alone."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.types: set[torch.dtype] = set()

    def predict(self, lq: Tensor, text: Tensor) -> Tensor:
        return 0.3 * lq + text.mean().to(lq.dtype)

    def control(self, noisy: Tensor, lq: Tensor, timestep: int, text: Tensor) -> list[Tensor]:
        self.batches.append(len(text))
        self.types |= {noisy.dtype, lq.dtype, text.dtype}
        return [noisy - lq]

    def denoise(self, noisy: Tensor, lq: Tensor, timestep: int, text: Tensor, states: list[Tensor]) -> Tensor:
        return 0.5 * noisy + timestep / 1000 * states[0] + text.mean((1, 2))[:, None, None, None, None]


def sampler(**changes: Any) -> Sampler:
    network = cast(Any, Pointwise())
    prompts = Prompts(torch.full((1, 2, 3), 1.0), torch.full((1, 2, 3), -2.0))
    made = {"denoiser": network, "control": network, "prompts": prompts, "schedule": Schedule(), "steps": 3}
    return Sampler(**{**made, **changes})


def latent(*shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))


def test_tiles_do_what_the_whole_does() -> None:
    lq, draw = latent(10, 2, 13, 18), torch.zeros
    whole = sampler().sample(lq, draw)
    tiling = Tiling(temporal=Side(tile=4, stride=2), spatial=Side(tile=8, stride=6))
    assert len(tiling.tiles(lq.shape)) == 4 * 2 * 3
    assert torch.allclose(sampler(tiling=tiling).sample(lq, draw), whole, atol=1e-5)


def test_noise_is_drawn_once_for_the_start_and_for_every_tile_of_every_step_but_the_last() -> None:
    shapes: list[tuple[int, ...]] = []

    def draw(shape: torch.Size) -> Tensor:
        shapes.append(tuple(shape))
        return torch.randn(shape)

    tiling = Tiling(temporal=Side(tile=4, stride=2))
    sampler(tiling=tiling).sample(latent(6, 2, 4, 4), draw)
    assert shapes == [(1, 6, 2, 4, 4), *[(1, 4, 2, 4, 4)] * (2 * 2)]


def test_guidance_pushes_away_from_the_negative_prompt_in_float32() -> None:
    lq = latent(2, 2, 4, 4)
    run = sampler(guidance=6.0)
    start = run.start(lq, torch.zeros)
    v = run.velocity(start, 100)
    shared = 0.5 * start.noisy + 0.1 * (start.noisy - lq)
    assert torch.allclose(v, shared - 2 + 6 * 3, atol=1e-5)
    half = sampler(prompts=Prompts(*(rows.bfloat16() for rows in (run.prompts.positive, run.prompts.negative))))
    assert half.velocity(start, 100).dtype == torch.float32
    assert cast(Pointwise, half.control).types == {torch.bfloat16}


def test_a_step_knows_the_clean_latent_of_the_one_before() -> None:
    run, draw = sampler(), torch.ones
    latents = run.start(latent(2, 2, 4, 4), draw)
    first, second, _ = solver_steps(run.schedule, 3)
    found = run.advance(second, run.advance(first, latents, draw), draw)
    clean = clean_latent(latents.noisy, run.velocity(latents, first.timestep), first.alpha)
    noisy = first.advance(latents.noisy, clean, None, draw(clean.shape))
    after = clean_latent(noisy, run.velocity(Latents(latents.lq, noisy, clean), second.timestep), second.alpha)
    assert torch.allclose(found.noisy, second.advance(noisy, after, clean, draw(clean.shape)), atol=1e-5)
    assert not torch.allclose(found.noisy, second.advance(noisy, after, None, draw(clean.shape)), atol=1e-2)


@pytest.mark.parametrize(("guidance", "prompts"), [(1.0, 1), (1.5, 2)])
def test_without_guidance_the_negative_prompt_is_not_run(guidance: float, prompts: int) -> None:
    run = sampler(guidance=guidance)
    run.sample(latent(2, 2, 4, 4), torch.zeros)
    assert cast(Pointwise, run.control).batches == [1] * 3 * prompts  # one after the other


@given(length=st.integers(1, 400), tile=st.integers(1, 40), stride=st.integers(1, 40))
def test_every_position_belongs_to_one_tile(length: int, tile: int, stride: int) -> None:
    spans = Side(tile=tile, stride=min(tile, stride)).spans(length)
    assert [place for span in spans for place in range(length)[span.counted]] == list(range(length))
    assert all(span.begin >= 0 and span.end - span.begin == min(tile, length) for span in spans)
    assert spans[-1].end == length


def test_a_schedule_that_is_another_one_is_refused() -> None:
    assert Schedule.from_config({**PUBLISHED, "_class_name": "CogVideoXDDIMScheduler"}) == Schedule()
    assert Schedule.from_config({**PUBLISHED, "snr_shift_scale": 3}).snr_shift_scale == 3.0
    wrong = {
        "prediction_type": "epsilon",
        "rescale_betas_zero_snr": False,
        "snr_shift_scale": None,
        "beta_end": "0.012",
        "beta_start": 0,
        "num_train_timesteps": 500,
    }
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            Schedule.from_config({**PUBLISHED, name: value})


def test_the_shift_lowers_the_signal_but_not_its_end() -> None:
    plain, shifted = Schedule().alpha_bar(), Schedule(snr_shift_scale=3.0).alpha_bar()
    assert (shifted[:-1] < plain[:-1]).all()
    assert plain[-1] == shifted[-1] == 0


@pytest.mark.parametrize("steps", [0, 11])
def test_runs_have_1_to_10_steps(steps: int) -> None:
    with pytest.raises(ValueError, match=f"{steps} steps; there are 1 to 10"):
        timesteps(steps)
    with pytest.raises(ValueError, match="cannot begin 5 apart"):
        Side(tile=4, stride=5)


def test_only_the_last_step_takes_no_noise() -> None:
    assert [step.last for step in solver_steps(Schedule(), 4)] == [False] * 3 + [True]
    assert solver_steps(Schedule(), 1)[0].last
