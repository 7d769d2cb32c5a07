from dataclasses import replace
from pathlib import Path

import pytest

from tests.media.test_ffmpeg_args import PLAIN


@pytest.mark.parametrize(
    ("path", "container", "literal", "expected"),
    [
        ("a.mp4", "mp4", False, (False, False, False)),
        ("a_%03d.png", "image2", False, (True, True, False)),
        ("a_%03d.png", "image2", True, (True, False, True)),
        ("a.png", "image2", False, (True, False, True)),
        (None, "image2", False, (True, False, True)),
    ],
)
def test_pictures_sequences_and_videos(
    path: str | None, container: str, literal: bool, expected: tuple[bool, bool, bool]
) -> None:
    target = replace(PLAIN, path=None if path is None else Path(path), container=container, literal=literal)
    assert (target.still, target.sequence, target.single) == expected
