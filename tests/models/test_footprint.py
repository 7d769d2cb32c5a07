"""Memory of a model as a function of its output's size."""

import pytest

from vrx.models.footprint import Footprint, Linear

WHOLE, TILED = Linear(5e9, 20_000), Linear(15e9, 5_000)


def test_a_tenth_is_spare_for_the_allocator() -> None:
    assert Linear(1e9, 100).at(0) == 1_100_000_000
    assert Linear(1e9, 100).at(1_000_000) == 1_210_000_000


@pytest.mark.parametrize("pixels", [0, 1, 832 * 480, 1920 * 1080])
def test_what_fits_is_the_inverse_of_what_is_needed(pixels: int) -> None:
    assert abs(WHOLE.within(WHOLE.at(pixels)) - pixels) <= 1


def test_nothing_fits_below_the_fixed_part() -> None:
    assert WHOLE.within(int(5.4e9)) == 0


@pytest.mark.parametrize(
    ("tiled", "pixels", "expected"),
    [(TILED, 100_000, WHOLE), (TILED, 1_000_000, TILED), (None, 1_000_000, WHOLE)],
)
def test_the_least_is_that_of_the_better_way(tiled: Linear | None, pixels: int, expected: Linear) -> None:
    assert Footprint(WHOLE, tiled).minimum(pixels) == expected.at(pixels)


@pytest.mark.parametrize(
    ("decoder", "part", "expected"),
    [("", "", True), ("tiny", "", True), ("full", "", False), ("", "lean", True), ("", "text", False)],
)
def test_a_footprint_is_of_a_decoder_or_of_a_part(decoder: str, part: str, expected: bool) -> None:
    found = Footprint(WHOLE, decoder=decoder, part=part)
    assert found.applies("tiny", frozenset({"lean"})) == expected


@pytest.mark.parametrize(("parameters", "expected"), [(10, True), (11, False), (None, False)])
def test_a_footprint_is_of_models_of_a_size(parameters: int | None, expected: bool) -> None:
    assert Footprint(WHOLE, parameters=10).applies("auto", frozenset(), parameters) == expected
    assert Footprint(WHOLE).applies("auto", frozenset(), parameters)
