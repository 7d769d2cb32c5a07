"""Text is drawn inside the room it has, and names that differ at their ends stay different when they are shortened."""

import numpy as np
import pytest

from vrx.media.lettering import ELLIPSIS, TEXT_HEIGHT, draw_text, shorten, text_width


def test_text_stays_in_its_line_and_its_room() -> None:
    picture = np.zeros((3 * TEXT_HEIGHT, 300, 3), np.uint8)
    draw_text(picture, "strength 0.3 (Qgjpy)", 40, TEXT_HEIGHT, 100)
    assert picture[TEXT_HEIGHT : 2 * TEXT_HEIGHT, 40:140].max() > 200
    outside = picture.copy()
    outside[TEXT_HEIGHT : 2 * TEXT_HEIGHT, 40:140] = 0
    assert not outside.any()


def test_a_text_is_as_high_as_it_is_meant() -> None:
    picture = np.zeros((TEXT_HEIGHT, 300, 3), np.uint8)
    draw_text(picture, "Agdfp", 0, 0)
    rows = np.flatnonzero(picture.max((1, 2)) > 128)
    assert 14 <= rows[-1] - rows[0] + 1 <= 18


@pytest.mark.parametrize("text", ["a", "model checkpoints/a-very-long-name/one.safetensors", "\u00e4\u00f6\u00fc" * 30])
def test_a_shortened_text_fits_and_keeps_both_ends(text: str) -> None:
    room = 120
    short = shorten(text, room)
    assert text_width(short) <= room
    if text_width(text) <= room:
        assert short == text
    else:
        assert ELLIPSIS in short
        assert text.startswith(short.split(ELLIPSIS)[0])
        assert text.endswith(short.split(ELLIPSIS)[1])
        assert text_width(short) > room - 40


def test_no_room_draws_nothing() -> None:
    assert shorten("name", 2) == ""
    picture = np.zeros((10, 20, 3), np.uint8)
    draw_text(picture, "name", 20, 0)
    draw_text(picture, "name", 0, 10)
    assert not picture.any()
