from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vrx.errors import InputError
from vrx.media.probe import StreamInfo, check_regular, choose_rate, describe_video, input_error


def test_a_clock_is_not_taken_for_a_rate() -> None:
    assert choose_rate(Fraction(1, 60000), Fraction(60000), Fraction(30)) == 30
    assert choose_rate(Fraction(1, 1000), Fraction(1000), Fraction(1000)) == 25
    assert choose_rate(Fraction(1, 16000), Fraction(1000)) == 1000
    assert choose_rate(Fraction(1, 90000), Fraction(24000, 1001), Fraction(25)) == Fraction(24000, 1001)
    assert choose_rate(Fraction(1, 24), Fraction(24)) == 24
    assert choose_rate(Fraction(1, 24), None) == choose_rate(Fraction(1, 24), Fraction(0)) == 25


@pytest.mark.parametrize(("size", "taken"), [((16255, 16255), True), ((16256, 16256), False)])
def test_pictures_of_more_pixels_than_ffmpeg_takes_are_refused(size: tuple[int, int], taken: bool) -> None:
    names = ("colorspace", "color_primaries", "color_trc", "color_range")
    context = SimpleNamespace(width=size[0], height=size[1], name="png", pix_fmt="rgb24", **dict.fromkeys(names, 0))
    unknown = ("time_base", "average_rate", "guessed_rate", "sample_aspect_ratio", "start_time", "duration")
    stream: Any = SimpleNamespace(codec_context=context, index=0, frames=1, **dict.fromkeys(unknown))
    if taken:
        assert describe_video(stream, "p.png", Path("p.png")).size == size
    else:
        with pytest.raises(InputError, match="16256x16256"):
            describe_video(stream, "p.png", Path("p.png"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(), "no such file"),
        (PermissionError(), "permission denied"),
        (IsADirectoryError(), "it is a folder"),
        (EOFError(), "it is empty or ends too early"),
        (ValueError(), "truncated, damaged or not a video"),
    ],
)
def test_errors_of_opening_become_one_line(error: Exception, reason: str) -> None:
    assert input_error(error, "a.mp4").message == f"cannot read a.mp4: {reason}"


def test_only_regular_files_with_contents_are_opened(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "good.mp4").write_bytes(b"x")
    check_regular(tmp_path / "good.mp4", "good.mp4")
    for name, reason in (("none.mp4", "no such file"), (".", "it is a folder"), ("empty.mp4", "the file is empty")):
        with pytest.raises(InputError, match=reason):
            check_regular(tmp_path / name, name)


def test_a_stream_without_codec_is_named_by_its_handler() -> None:
    assert str(StreamInfo(1, "audio", "aac")) == "audio 1 (aac)"
    assert str(StreamInfo(2, "data", "bin_data", metadata={"handler_name": "GoPro MET"})) == "data 2 (GoPro MET)"
    assert str(StreamInfo(3, "data", "none")) == "data 3 (unknown)"
