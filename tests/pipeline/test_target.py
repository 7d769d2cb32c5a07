"""What decides how a result is written."""

from fractions import Fraction
from pathlib import Path

import pytest

from vrx.pipeline.target import first_number
from vrx.settings import SelectionSettings


@pytest.mark.parametrize(("start", "expected"), [(None, 1001), (Fraction(1, 24), 1002), (Fraction(1), 1025)])
def test_pictures_are_numbered_as_those_of_the_source(tmp_path: Path, start: Fraction | None, expected: int) -> None:
    for number in range(1001, 1040):
        (tmp_path / f"f_{number}.png").touch()
    assert first_number(tmp_path / "f_%04d.png", SelectionSettings(start=start)) == expected


def test_pictures_of_a_video_are_numbered_from_one() -> None:
    assert first_number(Path("a.mkv"), SelectionSettings(start=Fraction(5))) == 1
