"""A sheet holds all columns, each with the same enlarged part, which is marked in the whole."""

import numpy as np
import pytest

from vrx.media.lettering import TEXT_HEIGHT
from vrx.pipeline.pictures import GAP, PAPER
from vrx.pipeline.preview.sheet import ACROSS, LARGEST_PART, MARKS, NARROWEST, TALLEST, WIDTH, Sheet

SIZES = [(1280, 720), (3840, 2160), (640, 360), (64, 48), (720, 1280), (2160, 3840), (1920, 800), (4000, 40), (3, 2)]


@pytest.mark.parametrize("picture", SIZES)
@pytest.mark.parametrize("columns", [2, 3, 5, 9])
def test_everything_fits(columns: int, picture: tuple[int, int]) -> None:
    sheet = Sheet.fit(columns, picture)
    assert sheet.size[0] <= WIDTH + 1
    assert sheet.size[1] <= 2 * TALLEST + (sheet.rows + 1) * TEXT_HEIGHT + 2 * sheet.rows * GAP + 1
    assert sheet.rows == {2: 1, 3: 1, 5: 2, 9: 3}[columns]
    assert columns <= sheet.rows * sheet.across <= sheet.rows * ACROSS
    assert not sheet.size[0] % 2
    assert not sheet.size[1] % 2
    assert sheet.column >= NARROWEST
    aspect = sheet.shown[0] / sheet.shown[1] / (picture[0] / picture[1])
    assert min(picture) < 100 or aspect == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("picture", SIZES[:7])
def test_the_part_is_enlarged_and_small(picture: tuple[int, int]) -> None:
    sheet = Sheet.fit(2, picture)
    assert sheet.zoom >= 2
    for side in (0, 1):
        assert sheet.part[side] <= picture[side] / LARGEST_PART + 1
        assert 0 <= sheet.part[side] * sheet.zoom - sheet.shown[side] < sheet.zoom  # it fills its place


def test_two_columns_of_hd_take_a_screen() -> None:
    sheet = Sheet.fit(2, (1920, 1080))
    assert sheet.shown == (957, 538)
    assert sheet.size == (1920, 1130)
    assert sheet.zoom == 2


@pytest.mark.parametrize(
    ("picture", "shown", "zoom"),
    [((1440, 1080), (720, 540), 2), ((640, 360), (640, 360), 3), ((160, 120), (480, 360), 9)],
)
def test_pictures_are_as_high_as_fits_a_screen_and_a_third_of_each_side_is_enlarged(
    picture: tuple[int, int], shown: tuple[int, int], zoom: int
) -> None:
    sheet = Sheet.fit(2, picture)
    assert sheet.shown == shown
    assert sheet.zoom == zoom


def test_a_place_at_the_edge_stays_inside() -> None:
    sheet = Sheet.fit(2, (1280, 720))
    assert sheet.place(0, 0) == (0, 0)
    left, top = sheet.place(1, 1)
    assert (left + sheet.part[0], top + sheet.part[1]) == (1280, 720)


def test_the_same_part_of_each_is_shown_pixel_by_pixel_and_marked_in_the_whole() -> None:
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(3)]
    sheet = Sheet.fit(3, (320, 240))
    place = (100, 60)
    drawn = sheet.draw("title", ("source", "a", "b"), pictures, place)
    assert drawn.shape == (sheet.size[1], sheet.size[0], 3)
    top = 2 * TEXT_HEIGHT + sheet.shown[1] + GAP
    for number, picture in enumerate(pictures):
        left = sheet.corner(number)[0]
        part = drawn[top : top + sheet.shown[1], left : left + sheet.shown[0]][:: sheet.zoom, :: sheet.zoom]
        assert np.array_equal(part, picture[60 : 60 + part.shape[0], 100 : 100 + part.shape[1]])
        whole = drawn[2 * TEXT_HEIGHT :][: sheet.shown[1], left : left + sheet.shown[0]]
        corner = [round(place[n] * sheet.shown[n] / sheet.picture[n]) for n in (0, 1)]
        assert tuple(whole[corner[1], corner[0]]) == MARKS[-1][0]
        name = drawn[TEXT_HEIGHT : 2 * TEXT_HEIGHT, left : left + sheet.shown[0]]
        assert name.max() > 200
        assert np.median(name) == PAPER


def test_many_columns_are_divided_into_rows() -> None:
    sheet = Sheet.fit(6, (1280, 720))
    corners = [sheet.corner(number) for number in range(6)]
    assert (sheet.rows, sheet.across) == (2, 3)
    assert [top for _, top in corners] == [TEXT_HEIGHT] * 3 + [TEXT_HEIGHT + sheet.block + GAP] * 3
    assert [left for left, _ in corners] == [0, sheet.column + GAP, 2 * (sheet.column + GAP)] * 2
    levels = [40 * number + 20 for number in range(6)]
    pictures = [np.full((720, 1280, 3), level, np.uint8) for level in levels]
    drawn = sheet.draw("", [str(level) for level in levels], pictures, (0, 0))
    for level, (left, top) in zip(levels, corners, strict=True):
        assert (drawn[top + sheet.block - 5 : top + sheet.block - 1, left : left + sheet.shown[0]] == level).all()


def test_a_narrow_picture_leaves_its_column_free() -> None:
    sheet = Sheet.fit(9, (100, 95))
    assert sheet.shown[0] < sheet.column == NARROWEST
    drawn = sheet.draw("", ["x"] * 9, [np.full((95, 100, 3), 200, np.uint8)] * 9, (0, 0))
    assert (drawn[2 * TEXT_HEIGHT :, sheet.shown[0] : sheet.column] == PAPER).all()


def test_the_part_of_an_upright_picture_is_beside_it() -> None:
    sheet = Sheet.fit(2, (1080, 1920))
    assert sheet.shown == (475, 844)
    assert sheet.size == (1918, 892)
    picture = np.zeros((1920, 1080, 3), np.uint8)
    picture[600:900, 300:600] = 250
    drawn = sheet.draw("", ("source", "x"), [picture, picture], (300, 600))
    part = drawn[2 * TEXT_HEIGHT :, sheet.shown[0] + GAP : sheet.column]
    assert (part[: sheet.zoom * 280, : sheet.zoom * 150] == 250).all()
