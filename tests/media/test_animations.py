import struct
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import png_chunk
from vrx.media.animations import count_animation_frames, is_animation, iter_riff_chunks


def save(path: Path, count: int) -> Path:
    frames = [Image.new("RGB", (8, 6), (60 * number, 0, 0)) for number in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
@pytest.mark.parametrize(("count", "expected"), [(1, 0), (3, 3)])
def test_frames_of_animations_are_counted(tmp_path: Path, name: str, count: int, expected: int) -> None:
    path = save(tmp_path / name, count)
    assert count_animation_frames(path) == expected
    assert is_animation(path) is (expected > 0)


def test_files_of_another_kind_and_broken_ones_have_none(tmp_path: Path) -> None:
    for content in (b"", b"RIFF", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + png_chunk(b"acTL", b"\0")[:-6]):
        for name in ("a.png", "a.webp", "a.jpg"):
            (tmp_path / name).write_bytes(content)
            assert count_animation_frames(tmp_path / name) == 0
    assert not is_animation(tmp_path / "none.png")


def test_an_animation_chunk_behind_the_image_data_does_not_count(tmp_path: Path) -> None:
    chunks = png_chunk(b"IDAT", b"") + png_chunk(b"acTL", struct.pack(">2I", 5, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert count_animation_frames(tmp_path / "a.png") == 0


def test_riff_chunks_are_padded_to_even_sizes(tmp_path: Path) -> None:
    body = struct.pack("<4sI", b"ODD ", 3) + b"abc\0" + struct.pack("<4sI", b"LONG", 20) + bytes(20)
    (tmp_path / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body)
    assert list(iter_riff_chunks(tmp_path / "a.webp")) == [(b"ODD ", b"abc"), (b"LONG", bytes(16))]
