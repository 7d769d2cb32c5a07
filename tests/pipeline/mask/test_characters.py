"""Characters that change have one light, and are in a line with others that do not change."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from tests.pipeline.mask.footage import SIZE, Luma, pan
from vrx.pipeline.mask import characters, plate
from vrx.pipeline.mask.characters import CharacterFinder, Line
from vrx.pipeline.mask.plate import include_plate
from vrx.pipeline.mask.samples import gradients

CLOCK = (24, 150)  # left and bottom of the characters


def clock(number: int) -> str:
    return f"10:4{number // 8 % 10}:{number % 24:02}"


def draw(luma: Luma, text: str, level: float = 235, opacity: float = 1.0, scale: float = 0.6) -> Luma:
    canvas = np.zeros(SIZE[::-1], np.uint8)
    cv2.putText(canvas, text, CLOCK, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 2, cv2.LINE_AA)
    cover = opacity * canvas.astype(np.float32) / 255
    return np.asarray(luma * (1 - cover) + level * cover, np.float32).round().astype(np.uint8)


def find(pictures: Iterator[Luma]) -> list[Line]:
    finder = CharacterFinder(SIZE)
    for luma in pictures:
        finder.add(luma)
    return finder.finish()


def scene(moving: bool) -> Iterator[Luma]:
    """Quiet enough for the strokes to be the brightest there."""
    if moving:
        yield from (luma // 2 for luma in pan(30, 6, 3))
    else:
        (still,) = pan(1)
        yield from (still // 2 for _ in range(30))


@pytest.mark.parametrize("moving", [True, False])
def test_a_timecode_is_found_whether_the_scene_moves_or_not(moving: bool) -> None:
    (line,) = find(draw(luma, clock(number)) for number, luma in enumerate(scene(moving)))
    true = np.zeros(SIZE[::-1], np.uint8)
    for number in range(30):
        true |= draw(np.zeros(SIZE[::-1], np.uint8), clock(number))
    rows, columns = np.flatnonzero(true.any(1)), np.flatnonzero(true.any(0))
    left, top, right, bottom = line.box
    assert left <= columns[0]
    assert top <= rows[0]
    assert right > columns[-1]
    assert bottom > rows[-1]
    assert (right - left) * (bottom - top) <= (np.ptp(columns) + 10) * (np.ptp(rows) + 10)


@pytest.mark.parametrize(
    ("level", "opacity", "text"),
    [
        (lambda n: 235, 1.0, lambda n: "10:40:00"),  # nothing changes
        (lambda n: 235, 0.4, clock),  # the scene shows through
        (lambda n: 235 - 60 * (n % 2), 1.0, clock),  # not of one light
        (lambda n: 235, 1.0, lambda n: ("8:88:88", "")[n % 2]),  # all of it comes and goes
        (lambda n: 235, 1.0, lambda n: f"{n % 10}"),  # one character is no line
    ],
)
def test_other_strokes_that_come_and_go_are_no_timecode(
    level: Callable[[int], float], opacity: float, text: Callable[[int], str]
) -> None:
    pictures = enumerate(pan(30, 6, 3))
    assert find(draw(luma // 2 + 30, text(number), level(number), opacity) for number, luma in pictures) == []


@pytest.mark.parametrize(("fall", "count"), [(6, 0), (12, 1)])
def test_strokes_come_and_go_by_their_own_light_not_by_what_is_around_them(fall: int, count: int) -> None:
    """A line whose end is among light that hides it at times, as sunlight among leaves is."""
    pictures = []
    for number, luma in enumerate(scene(True)):
        hidden = number // 4 % 2
        picture = draw(luma, "10:40:00")
        end = picture[124:160, 70:128]
        end[:] = np.maximum(end, 225) - fall if hidden else end
        pictures.append(picture)
    assert len(find(iter(pictures))) == count


def test_few_samples_and_a_scene_alone_have_no_timecode() -> None:
    shots = list(scene(True))
    assert find(draw(luma, clock(number)) for number, luma in enumerate(shots[:7])) == []
    assert find(iter(shots)) == []


def test_strokes_above_and_below_make_it_a_texture() -> None:
    def shot() -> Iterator[Luma]:
        for number, luma in enumerate(scene(False)):
            picture = draw(luma, clock(number))
            picture[124:134, 20:120:4] = picture[155:165, 20:120:4] = 235
            yield picture

    assert find(shot()) == []


def slopes_of(luma: Luma) -> np.ndarray:
    return np.stack(gradients(luma))


@pytest.mark.parametrize("level", [20, 230])
def test_a_plate_behind_lettering_is_the_nearest_rectangle_around_it(level: int) -> None:
    luma = np.full(SIZE[::-1], 120, np.uint8)
    luma[100:104] = 20  # a line of the scene, farther away
    luma[120:160, 40:140] = level
    assert include_plate((50, 130, 130, 150), slopes_of(luma)) == (39, 119, 141, 161)


def test_lines_that_go_on_beyond_the_corners_are_no_plate() -> None:
    luma = np.full(SIZE[::-1], 120, np.uint8)
    luma[120:160, 40:140] = 60
    luma[118:120] = luma[160:162] = 200
    box = (50, 130, 130, 150)
    assert include_plate(box, slopes_of(luma)) == box
    luma[118:120, :20] = luma[118:120, 160:] = luma[160:162, :20] = luma[160:162, 160:] = 120
    assert include_plate(box, slopes_of(luma)) != box


def test_a_side_of_a_plate_that_is_not_seen_is_as_far_as_the_opposite_one() -> None:
    luma = np.full(SIZE[::-1], 120, np.uint8)
    luma[120:160, 40:140] = luma[160:] = luma[:, 140:] = 20  # dark below and to the right
    box = (50, 130, 130, 150)
    assert include_plate(box, slopes_of(luma)) == box
    left, top, right, bottom = include_plate(box, slopes_of(luma), mirrored=True)
    assert (left, top) == (39, 119)
    assert (right - box[2], bottom - box[3]) == (box[0] - left, box[1] - top)
    far = (75, 130, 105, 150)  # margins of other widths: the scene's edges
    assert include_plate(far, slopes_of(luma), mirrored=True) == far


def test_bright_pictures_behind_a_timecode_hide_its_characters_at_times_where_a_part_was_found() -> None:
    def shot() -> list[Luma]:
        bright = (235 * np.ones(SIZE[::-1]) if n % 4 == 3 else x for n, x in enumerate(scene(True)))
        return [draw(luma.astype(np.uint8), clock(number)) for number, luma in enumerate(bright)]

    finder = CharacterFinder(SIZE)
    for luma in shot():
        finder.add(luma)
    assert finder.finish() == []
    (line,) = finder.finish([(20, 135, 60, 152)])
    assert line.left <= CLOCK[0]
    assert finder.finish([(200, 20, 240, 40)]) == []


def test_what_has_not_four_sides_of_one_kind_is_no_plate() -> None:
    box = (50, 130, 130, 150)
    luma = np.full(SIZE[::-1], 120, np.uint8)
    luma[120:160, 40:] = 230  # no right side
    assert include_plate(box, slopes_of(luma)) == box
    luma[:, 140:] = 255  # a right side of the other sign
    assert include_plate(box, slopes_of(luma)) == box
    luma = np.full(SIZE[::-1], 120, np.uint8)
    luma[120:160, 40:140] = 126  # too faint
    assert include_plate(box, slopes_of(luma)) == box
    luma[100:180, 10:200] = 230  # too far away
    assert include_plate(box, slopes_of(luma)) == box


def test_settings_are_those_that_were_tried() -> None:
    c = characters
    assert (c.LEAST_SAMPLES, c.SAME_LIGHT, c.ALWAYS, c.CHANGING, c.TURNING, c.LEAST_TURNS) == (
        8, 16, 0.88, 0.12, 0.08, 3,
    )  # fmt: skip
    assert (c.BRIDGE, c.LEAST_STROKES, c.ONE_LIGHT, c.DARKEST, c.SHORTEST, c.TALLEST) == (15, 24, 24, 80, 6, 0.12)
    assert (c.BAND, c.LEAST_WIDTH, c.WIDEST, c.LINE_REACH, c.FEWEST, c.MOST) == (0.2, 2.5, 0.9, 1.2, 0.1, 0.7)
    assert (c.CONSTANT, c.VARIED, c.EVEN, c.OPAQUE, c.FULL, c.ALONE, c.MARGIN) == (0.15, 0.33, 7.0, 4.0, 0.7, 0.15, 3)
    assert c.FALLS == 8.0
    assert (plate.REACH, plate.WITHIN, plate.EDGE, plate.SIDE) == (0.9, 3, 6.0, 0.85)
    assert (plate.GOES_ON, plate.ALIKE, characters.BESIDE_FOUND) == (0.7, 0.5, 0.6)


@pytest.mark.parametrize(("height", "marked"), [(4, False), (10, True)])
def test_a_line_ends_with_what_is_as_tall_as_characters(height: int, marked: bool) -> None:
    """A stroke of the scene that comes and goes beside it is lower, as a rule."""
    at = (CLOCK[0] + 82, CLOCK[1] - 6)

    def shot() -> Iterator[Luma]:
        for number, luma in enumerate(scene(False)):
            picture = draw(luma, clock(number))
            if number % 5 < 2:
                picture[at[1] - height // 2 : at[1] + height // 2, at[0] : at[0] + 3] = 235
            yield picture

    (line,) = find(shot())
    assert (line.right > at[0]) == marked
    assert characters.AT_END == 0.5
