"""The recipe of the guard, and the cases it learns from."""

import numpy as np
import pytest
import torch

from tests.networks.networks import tiny_parts
from tests.train.textures import Textures
from vrx.networks.embedded.guard import MEASURES
from vrx.train import guard
from vrx.train.blurred import FRAMES
from vrx.train.fuzz_cases import LEAST_HEVC, draw_case


@pytest.fixture(scope="module")
def textures() -> Textures:
    return Textures()


def test_a_case_is_always_the_same(textures: Textures) -> None:
    first, again, other = (draw_case(textures, 0, number) for number in (3, 3, 4))
    assert np.array_equal(first.low, again.low)
    assert np.array_equal(first.truth, again.truth)
    assert (first.words, first.sigma) == (again.words, again.sigma)
    assert first.words != other.words


def test_cases_differ_in_all_that_they_have(textures: Textures) -> None:
    cases = [draw_case(textures, 1, number) for number in range(60)]
    words = " ".join(case.words for case in cases)
    for part in ("text", "focus", "drawing", "letterbox", "local", "mixed", "libx265", "mjpeg", "noise", "--sigma"):
        assert part in words
    assert all(case.low.shape == case.truth.shape and len(case.low) == FRAMES for case in cases)
    assert all(
        min(case.low.shape[1:3]) >= LEAST_HEVC for case in cases if "libx265" in case.words
    )  # smaller ones break x265


def test_softer_cases_are_small_and_soft_by_nature(textures: Textures) -> None:
    cases = [draw_case(textures, 1, number, softer=True) for number in range(100)]
    kinds = [case.words.split()[0] for case in cases]
    assert 28 < kinds.count("soft") < 48
    assert all(kind in kinds for kind in ("photo", "film", "focus", "text", "drawing"))
    sides = [case.low.shape[1] for case in cases]
    assert max(sides) <= 260
    assert 45 < sum(side <= 128 for side in sides) < 80
    assert 2 < sum(case.sigma is not None for case in cases) < 25
    assert draw_case(textures, 1, 0, softer=True).words == cases[0].words


def test_tables_join_in_order() -> None:
    one, two = (guard.Table(torch.full((n, 2), float(n)), torch.full((n, 6), float(n))) for n in (1, 2))
    found = guard.joined(one, one, two)
    assert found.measures[:, 0].tolist() == found.products[:, 5].tolist() == [1, 1, 2, 2]


def test_the_gain_of_a_mixture_follows_from_the_products() -> None:
    e, a, b = (torch.randn(500, dtype=torch.float64) * 0.05 for _ in range(3))
    products = torch.stack([(x * y).mean() for x, y in ((e, e), (a, a), (b, b), (a, b), (a, e), (b, e))])[None]
    strength, network = torch.tensor([0.7]).double(), torch.tensor([0.4]).double()
    after = (0.7 * (0.6 * a + 0.4 * b) - e).square().mean()
    wanted = 10 * torch.log10((e.square().mean() + guard.QUIET) / (after + guard.QUIET))
    assert float(guard.gain(products, strength, network)) == pytest.approx(float(wanted))
    assert float(guard.gain(products, strength * 0, network)) == 0


def test_a_loss_counts_many_times() -> None:
    worth = guard.utility(torch.tensor([20.0, 1.0, 0.0, -0.03, -1.03])).tolist()
    assert worth == pytest.approx([6.0, 1.0, 0.0, -0.03, -6.03])


def test_training_gives_a_guard_that_tells_gain_from_loss() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        good = torch.rand(200) > 0.5
        measures = 0.1 * torch.randn(200, MEASURES) + good[:, None]
        e = torch.full((200,), 1e-3)
        products = torch.stack([e, e, e, e, torch.where(good, e, -e), torch.where(good, e, -e)], 1)
        network = guard.fitted(guard.Table(measures, products), steps=300)
    with torch.no_grad():
        strength, _ = network(measures)
    assert float(strength[good].median()) > 0.3
    assert float(strength[~good].max()) < 0.1


def test_a_case_becomes_numbers(textures: Textures) -> None:
    rows = guard.tabulate((draw_case(textures, 2, number) for number in range(12)), tiny_parts())
    assert rows.measures.shape[1:] == (MEASURES,)
    assert rows.products.shape == (len(rows.measures), 6)
    assert torch.isfinite(rows.measures).all()
    assert (rows.products[:, :3] >= 0).all()
