import tempfile
from pathlib import Path

import pytest

from tests.media.test_write import target
from vrx.errors import OutputError, UsageError
from vrx.media.encoders import CONTAINER_CODECS, choose_layout, find_encoder
from vrx.media.frame import Kind, Layout
from vrx.media.preflight import MAX_SIDE, black_frame, check_encoder_settings
from vrx.media.target import FORMATS

PLAIN = Layout(Kind.YUV, 8, 1, 1)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files go where the tests look for leavings."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "codec", "layout", "changes", "reason"),
    [
        ("a.mov", "vp9", PLAIN, {}, "vp9 only supported in MP4"),
        ("a.webm", "h264", PLAIN, {}, "Only VP8 or VP9 or AV1"),
        ("a.ts", "prores", Layout(Kind.YUV, 10, 1, 0), {}, "encoded file has 0 of 1 frames"),
        ("a.avi", "hevc", PLAIN, {}, "cannot be decoded"),
        ("a.mkv", "hevc", PLAIN, {"crf": 60}, "51"),
        ("a.mkv", "h264", Layout(Kind.YUV, 8), {"pix_fmt": "yuv420p", "size": (1999, 1001)}, "not divisible by 2"),
        ("a.mkv", "h264", PLAIN, {"encoder_args": ("-no_such_option", "1")}, "no_such_option"),
    ],
)
def test_what_does_not_go_together_is_said_with_nothing_written(
    tmp_path: Path, name: str, codec: str, layout: Layout, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason) as raised:
        check_encoder_settings(target(tmp_path / name, codec, layout, **changes))
    assert str(tmp_path / name) in raised.value.message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("codec", "encoder"), [("h264", "libx264"), ("hevc", "libx265")])
def test_an_unknown_preset_is_named_with_the_known_ones(tmp_path: Path, codec: str, encoder: str) -> None:
    with pytest.raises(UsageError, match=f"--preset nonsense is not known to {encoder}") as raised:
        check_encoder_settings(target(tmp_path / "a.mkv", codec, PLAIN, preset="nonsense"))
    assert raised.value.hint.startswith("Use one of: ultrafast, superfast, ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("a.mp4", "av1", PLAIN),
        ("a.mov", "prores", Layout(Kind.YUV, 10, 0, 0, alpha=True)),
        ("a.mkv", "ffv1", Layout(Kind.RGB, 8)),
        ("a_%03d.png", "png", Layout(Kind.GRAY, 16)),
        ("a.jpg", "mjpeg", PLAIN),
    ],
)
def test_what_goes_together_leaves_nothing_behind(tmp_path: Path, name: str, codec: str, layout: Layout) -> None:
    check_encoder_settings(target(tmp_path / name, codec, layout))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(suffix, codec) for suffix, container in FORMATS.items() for codec in CONTAINER_CODECS[container]],
)
def test_a_container_holds_the_codecs_that_are_advised_for_it(tmp_path: Path, suffix: str, codec: str) -> None:
    size = (256, 144)  # the least of DNxHR is 256x120
    layout, _ = choose_layout(PLAIN, find_encoder(codec), size)
    check_encoder_settings(target(tmp_path / f"a{suffix}", codec, layout, size=size))


@pytest.mark.parametrize(
    ("name", "codec", "hint"),
    [
        ("a.webm", "h264", "Use --codec vp9 or av1, or another container"),
        ("a.mov", "vp9", "Use --codec h264, hevc or prores, or another container"),
        ("a.avi", "hevc", "Use --codec h264 or ffv1, or another container"),
    ],
)
def test_a_codec_that_the_container_does_not_hold_gets_those_that_it_does(
    tmp_path: Path, name: str, codec: str, hint: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check_encoder_settings(target(tmp_path / name, codec, PLAIN))
    assert refused.value.hint == hint


def test_a_large_size_is_rehearsed_small_and_as_odd() -> None:
    frame = black_frame(target(Path("a.mkv"), "ffv1", Layout(Kind.YUV, 10, 1, 1), size=(7, 5)))
    assert [plane.shape for plane in frame.planes] == [(5, 7), (3, 4), (3, 4)]
    assert MAX_SIDE % 4 == 0


def test_without_room_for_temporary_files_there_is_no_rehearsal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    check_encoder_settings(target(tmp_path / "a.mov", "vp9", PLAIN))  # would be refused


def test_a_missing_ffmpeg_is_not_blamed_on_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_FFMPEG", "no-such-program")
    with pytest.raises(OutputError, match="VRX_FFMPEG is no-such-program"):
        check_encoder_settings(target(tmp_path / "a.mkv", "h264", PLAIN))
