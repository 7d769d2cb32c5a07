"""SATB-VR's schedule, solver, tiles and color transfer; no library but torch is needed."""

from math import isclose

import pytest
import torch
from torch import Tensor

from tests.golden.cases import Case, cases, close
from vrx.networks.axis_tiles import Span
from vrx.networks.color_transfer import low_band, wavelet
from vrx.networks.satbvr.solver import Schedule, SolverStep, add_noise, clean_latent, solver_steps, timesteps
from vrx.networks.satbvr.tiles import Side, Tiling
from vrx.networks.satbvr.transformer import PREDICTOR_TIMESTEP


@pytest.mark.parametrize("case", cases("satb_schedule"))
def test_the_schedule_and_its_coefficients(case: Case) -> None:
    schedule = Schedule.from_config(case.config["scheduler"])
    assert torch.allclose(schedule.alpha_bar(), case.io()["alphas_cumprod"], rtol=1e-13, atol=1e-15)
    for count, places in case.config["timesteps"].items():
        assert timesteps(int(count)) == tuple(places)
    for count, rows in case.config["coefficients"].items():
        for step, row in zip(solver_steps(schedule, int(count)), rows, strict=True):
            check_coefficients(step, row)


def check_coefficients(step: SolverStep, row: dict[str, float | None]) -> None:
    weights = step.weights()
    pairs = {
        "timestep": step.timestep,
        "alpha_bar": step.alpha,
        "alpha_bar_next": step.next_alpha,
        "sample": weights.sample,
        "x0": weights.clean,
        "noise": weights.noise,
        "current": 1 + weights.change,
        "old": weights.change,
    }
    for name, found in pairs.items():
        expected = row[name]
        assert expected is None or isclose(found, expected, rel_tol=1e-12)
    assert (row["current"] is None) == (weights.change == 0)


@pytest.mark.parametrize("case", cases("satb_schedule"))
def test_the_solver_from_the_predictors_output(case: Case) -> None:
    io, schedule = case.io(), Schedule.from_config(case.config["scheduler"])
    alpha = float(schedule.alpha_bar()[PREDICTOR_TIMESTEP])
    estimate = clean_latent(io["lq"], io["predictor.output"], alpha)
    close(estimate, io["predictor.x0"], case.tolerance)
    for count in case.config["timesteps"]:
        steps = solver_steps(schedule, int(count))
        x = add_noise(estimate, io["jump.noise"], steps[0].alpha)
        if f"jump.start.s{count}" in io:
            close(x, io[f"jump.start.s{count}"], case.tolerance)
        if f"s{count}.noise" in io:
            check_run(steps, x, {name: io[f"s{count}.{name}"] for name in ("noise", "x0", "samples")}, case.tolerance)


def check_run(steps: tuple[SolverStep, ...], x: Tensor, expected: dict[str, Tensor], tolerance: float) -> None:
    before = None
    for k, step in enumerate(steps):
        clean = clean_latent(x, scripted(x, step.timestep, k), step.alpha)
        close(clean, expected["x0"][k], tolerance)
        x, before = step.advance(x, clean, before, expected["noise"][k]), clean
        close(x, expected["samples"][k], tolerance)


def scripted(x: Tensor, t: int, k: int) -> Tensor:
    """The denoiser of the case, which its config describes."""
    time = torch.tensor(t / 100).cos()
    return 0.4 * x - 0.25 * x.roll(1, -1) + 0.1 * torch.tanh(x.flip(-2)) + 0.05 * time + 0.02 * k


@pytest.mark.parametrize("case", cases("satb_tiling"))
def test_tiles_and_what_counts_of_each(case: Case) -> None:
    for entry in case.config["cases"]:
        tiling = Tiling(
            temporal=Side(tile=entry["temporal_tile"], stride=entry["temporal_stride"]) if entry["temporal"] else None,
            spatial=Side(tile=entry["tile"], stride=entry["stride"]) if entry["spatial"] else None,
        )
        frames, rows, columns = entry["shape"]
        tiles = tiling.tiles((1, frames, 16, rows, columns))
        found = [(tile.time, tile.rows, tile.columns) for tile in tiles]
        assert found == [
            tuple(
                Span(start, stop, start + first, start + last)
                for start, stop, (first, last) in zip(row["start"], row["stop"], row["valid"], strict=True)
            )
            for row in entry["tiles"]
        ]
        cover = torch.zeros(1, frames, 1, rows, columns)
        for tile in tiles:
            cover[tile.target] += torch.ones(1, frames, 1, rows, columns)[tile.whole][tile.owned]
        assert cover.eq(1).all()


@pytest.mark.parametrize("case", cases("wavelet_colour_fix"))
def test_the_color_transfer(case: Case) -> None:
    io = case.io()
    low = low_band(io["restored"], case.config["levels"])
    close(low, io["restored.low"], case.tolerance)
    close(wavelet(io["restored"], io["reference"]), io["fixed"].clamp(-1, 1), case.tolerance)
