from pathlib import Path

import pytest

from tests.clips import write_sounding
from vrx.media.data_loss import conversion_lines, stream_lines
from vrx.media.probe import StreamInfo, describe_source, open_input
from vrx.media.streams import CopiedStream, select_streams
from vrx.media.video_stream import pick_video


def others(path: Path) -> list[StreamInfo]:
    with open_input(path, path.name) as box:
        info = describe_source(box, path.name, path, pick_video(box, path.name))
    return [stream for stream in info.streams if stream.index != info.video.index]


@pytest.mark.parametrize(
    ("name", "video", "audio", "container", "kept", "codec"),
    [
        ("a.wmv", "wmv2", "wmav2", "matroska", True, None),
        ("a.wmv", "wmv2", "wmav2", "mov", False, None),  # the muxer takes it, and no one can read it
        ("a.avi", "mpeg4", "adpcm_ms", "mp4", False, None),
        ("a.flv", "flv", "adpcm_swf", "matroska", True, "flac"),
        ("a.mkv", "mpeg4", "flac", "mp4", True, None),
    ],
)
def test_sound_goes_along_where_it_can_be_read_again(
    tmp_path: Path, name: str, video: str, audio: str, container: str, kept: bool, codec: str | None
) -> None:
    streams = others(write_sounding(tmp_path / name, video, audio))
    carried, lost = select_streams(tmp_path / name, container, streams)
    assert [item.convert for item in carried] == [codec] * kept
    assert lost == streams * (not kept)


def test_lines_name_what_is_lost_and_where_it_would_be_kept() -> None:
    sound = StreamInfo(1, "audio", "wmav2")
    data = StreamInfo(2, "data", "", metadata={"handler_name": "GoPro MET"})
    assert stream_lines("mp4", [(sound, ".mkv"), (data, "")]) == [
        "mp4 cannot hold audio 1 (wmav2); use -o NAME.mkv to keep it",
        "mp4 cannot hold data 2 (GoPro MET)",
    ]
    assert stream_lines("mp4", []) == []


@pytest.mark.parametrize(
    ("codec", "convert", "words"),
    [("ass", "mov_text", "fonts, colors and places"), ("subrip", "mov_text", ""), ("ass", None, "")],
)
def test_styling_that_is_lost_is_said(codec: str, convert: str | None, words: str) -> None:
    stream = StreamInfo(3, "subtitle", codec)
    lines = conversion_lines("mp4", [stream], [CopiedStream(index=3, kind="subtitle", convert=convert)])
    assert len(lines) == bool(words)
    assert words in "".join(lines)
