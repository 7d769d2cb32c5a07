import pytest

from vrx.media.containers import choose_container
from vrx.media.probe import StreamInfo


def stream(kind: str, codec: str) -> StreamInfo:
    return StreamInfo(index=1, kind=kind, codec=codec)


@pytest.mark.parametrize("codec", ["aac", "mp3float", "ac3", "pcm_s16le", "pcm_u8", "pcm_mulaw", "flac"])
def test_sound_that_mp4_holds_goes_into_mp4(codec: str) -> None:
    assert choose_container([stream("audio", codec)], ".avi") == (".mp4", "")


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        *(("audio", codec) for codec in ("wmav2", "adpcm_ms", "adpcm_swf", "amrnb", "pcm_dvd", "aac_latm")),
        *(("subtitle", codec) for codec in ("ass", "subrip", "dvd_subtitle", "dvb_subtitle")),
        *(("attachment", "ttf"), ("cover", "gif"), ("video", "wmv3")),
    ],
)
def test_one_stream_that_mp4_cannot_hold_asks_for_matroska(kind: str, codec: str) -> None:
    suffix, reason = choose_container([stream("audio", "aac"), stream(kind, codec)], ".TS")
    assert suffix == ".mkv"
    assert codec in reason
    assert "(aac)" not in reason


@pytest.mark.parametrize("suffix", [".mp4", ".MOV", ".mkv", ".webm"])
def test_a_container_that_is_written_again_stays(suffix: str) -> None:
    assert choose_container([stream("audio", "wmav2")], suffix) == (suffix.lower(), "")


@pytest.mark.parametrize(("kind", "codec"), [("data", ""), ("subtitle", "dvb_teletext"), ("chapters", "")])
def test_what_no_container_holds_decides_nothing(kind: str, codec: str) -> None:
    assert choose_container([stream(kind, codec)], ".ts") == (".mp4", "")
