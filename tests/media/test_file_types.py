from pathlib import Path

import pytest

from vrx.media.file_types import (
    demuxer_options,
    detect_suffix,
    is_media,
    is_pattern,
    is_still,
    pattern_of,
    sequence_members,
    sequence_numbers,
)


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\x89PNG\r\n\x1a\n", ".png"),
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"MM\0*\0\0\0\x08", ".tif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", ".webp"),
        (b"RIFF\0\0\0\0AVI LIST", ""),
        (b"\0\0\0\x1cftypavif", ".avif"),
        (b"\0\0\0\x1cftypmif1", ".heic"),
        (b"\0\0\0\x1cftypisom", ""),
        (b"", ""),
    ],
)
def test_pictures_are_recognized_by_their_first_bytes(head: bytes, suffix: str) -> None:
    assert detect_suffix(head) == suffix


def test_members_of_a_sequence_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("f_10.png", "f_9.png", "f_x.png", "f_11.jpg", "f_12.png.bak"):
        (tmp_path / name).touch()
    pattern = tmp_path / "f_%d.png"
    assert [path.name for path in sequence_members(pattern)] == ["f_9.png", "f_10.png"]
    assert sequence_numbers(pattern) == [9, 10]
    assert sequence_members(tmp_path / "none" / "f_%d.png") == []


def test_a_pattern_is_a_picture_name_with_a_number_and_no_file_of_that_name(tmp_path: Path) -> None:
    assert is_pattern(tmp_path / "f_%05d.png")
    assert not is_pattern(tmp_path / "f_%05d.mp4")
    assert not is_pattern(tmp_path / "f_%s.png")
    (tmp_path / "f_%d.png").touch()
    assert not is_pattern(tmp_path / "f_%d.png")


def test_types_and_demuxers_follow_the_suffix(tmp_path: Path) -> None:
    assert is_media(Path("a.MKV"))
    assert is_media(Path("a.jpeg"))
    assert not is_media(Path("a.txt"))
    assert is_still(Path("a.PNG"))
    assert not is_still(Path("a.gif"))
    assert demuxer_options(Path("a.png")) == ("image2", {"framerate": "24", "pattern_type": "none"})
    assert demuxer_options(Path("a.heic")) == demuxer_options(Path("a.mp4")) == (None, {})


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("d/f_001.png", "d/f_%03d.png"),
        ("f_12.jpg", "f_%d.jpg"),
        ("shot2_0099_graded.tif", "shot2_%04d_graded.tif"),
        ("0001.png", "%04d.png"),
        ("frame.png", None),
        ("f_001.mp4", None),
    ],
)
def test_the_pattern_of_a_numbered_picture(name: str, pattern: str | None) -> None:
    assert pattern_of(Path(name)) == (None if pattern is None else Path(pattern))
