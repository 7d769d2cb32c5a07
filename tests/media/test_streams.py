from dataclasses import replace
from pathlib import Path

import pytest

from tests.clips import ClipMaker, write_sounding
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.probe import StreamInfo, describe_source, open_input
from vrx.media.streams import select_streams
from vrx.media.video_stream import pick_video


def others(path: Path) -> list[StreamInfo]:
    with open_input(path, path.name) as box:
        info = describe_source(box, path.name, path, pick_video(box, path.name))
    return [stream for stream in info.streams if stream.index != info.video.index]


@pytest.mark.parametrize(
    ("name", "video", "audio", "container", "codec"),
    [
        ("a.wmv", "wmv2", "wmav2", "matroska", None),
        ("a.wmv", "wmv2", "wmav2", "mov", "aac"),  # the muxer takes it as it is, and no one can read it
        ("a.avi", "mpeg4", "adpcm_ms", "mp4", "aac"),
        ("a.wmv", "wmv2", "wmav2", "webm", "libopus"),
        ("a.wmv", "wmv2", "wmav2", "mpegts", "aac"),
        ("a.flv", "flv", "adpcm_swf", "avi", "pcm_s16le"),
        ("a.avi", "mpeg4", "pcm_s16le", "mp4", "aac"),  # few players play it there as it is
        ("a.mov", "mpeg4", "pcm_s24le", "mp4", "aac"),
        ("a.avi", "mpeg4", "pcm_s16le", "mov", None),
        ("a.avi", "mpeg4", "pcm_s16le", "matroska", None),
        ("a.avi", "mpeg4", "pcm_s16le", "avi", None),
        ("a.mp4", "mpeg4", "pcm_s16le", "mp4", None),  # as in the source
        ("a.flv", "flv", "adpcm_swf", "matroska", "flac"),
        ("a.mkv", "mpeg4", "flac", "mp4", None),
    ],
)
def test_sound_goes_along_where_it_can_be_read_again(
    tmp_path: Path, name: str, video: str, audio: str, container: str, codec: str | None
) -> None:
    streams = others(write_sounding(tmp_path / name, video, audio))
    carried, lost = select_streams(tmp_path / name, container, streams)
    assert [item.convert for item in carried] == [codec]
    assert lost == []


@pytest.mark.parametrize(("channels", "rate"), [(1, 128_000), (6, 768_000), (0, 256_000)])
def test_lossy_sound_has_bits_for_its_channels(tmp_path: Path, channels: int, rate: int) -> None:
    """Two where their number is unknown."""
    (stream,) = others(write_sounding(tmp_path / "a.avi", "mpeg4", "pcm_s16le"))
    for container, expected in (("mp4", rate), ("avi", None)):
        (carried,), _ = select_streams(tmp_path / "a.avi", container, [replace(stream, channels=channels)])
        assert carried.bit_rate == expected


@pytest.mark.parametrize(
    ("subtitle", "container", "convert"),
    [("subrip", "matroska", None), ("ass", "matroska", None), ("subrip", "webm", "webvtt"), ("ass", "mp4", "mov_text")],
)
def test_subtitles_that_begin_late_go_along(
    clip: ClipMaker, tmp_path: Path, subtitle: str, container: str, convert: str | None
) -> None:
    """The first comes after all that a trial reads."""
    (tmp_path / "late.srt").write_text("1\n00:00:02,000 --> 00:00:03,000\nlate\n")
    words = ("-i", f"file:{clip()}", "-i", f"file:{tmp_path / 'late.srt'}", "-map", "0:v", "-map", "1")
    FFmpegProcess([*words, "-c:v", "copy", "-c:s", subtitle, f"file:{tmp_path / 'a.mkv'}"]).finish()
    carried, lost = select_streams(tmp_path / "a.mkv", container, others(tmp_path / "a.mkv"))
    assert [(item.kind, item.convert) for item in carried] == [("subtitle", convert)]
    assert lost == []


@pytest.mark.parametrize("codec", ["libopus", "ac3"])
@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_sound_that_begins_late_goes_along(clip: ClipMaker, tmp_path: Path, codec: str, container: str) -> None:
    tone = ("-itsoffset", "2", "-f", "lavfi", "-i", "sine=duration=0.3")
    words = ("-i", f"file:{clip()}", *tone, "-map", "0:v", "-map", "1", "-c:v", "copy", "-c:a", codec)
    FFmpegProcess([*words, f"file:{tmp_path / 'a.mkv'}"]).finish()
    carried, lost = select_streams(tmp_path / "a.mkv", container, others(tmp_path / "a.mkv"))
    assert [(item.kind, item.convert) for item in carried] == [("audio", None)]
    assert lost == []


def test_a_container_that_does_not_hold_subtitles_loses_them(clip: ClipMaker, tmp_path: Path) -> None:
    (tmp_path / "late.srt").write_text("1\n00:00:02,000 --> 00:00:03,000\nlate\n")
    words = ("-i", f"file:{clip()}", "-i", f"file:{tmp_path / 'late.srt'}", "-map", "0:v", "-map", "1")
    FFmpegProcess([*words, "-c:v", "copy", f"file:{tmp_path / 'a.mkv'}"]).finish()
    for container in ("avi", "mpegts"):
        carried, lost = select_streams(tmp_path / "a.mkv", container, others(tmp_path / "a.mkv"))
        assert ([item.convert for item in carried], len(lost)) == ([], 1), container
