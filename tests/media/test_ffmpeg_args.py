from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from vrx.media.encoders import find_encoder
from vrx.media.ffmpeg_args import (
    container_args,
    orientation_args,
    sequence_pattern,
    stream_codec_args,
    stream_copy_args,
    timescale,
    timestamp_offset,
    video_encoder_args,
)
from vrx.media.frame import Color, Kind, Layout
from vrx.media.orientation import UPRIGHT, Orientation
from vrx.media.streams import CopiedStream
from vrx.media.target import Target

PLAIN = Target(
    path=Path("a.mp4"),
    container="mp4",
    rule=find_encoder("h264"),
    layout=Layout(Kind.YUV, 8, 1, 1),
    color=Color(matrix="bt709", full_range=False),
    size=(64, 48),
    time_base=Fraction(1, 1000),
    rate=Fraction(25),
    sample_aspect=Fraction(1),
)
SOUND = CopiedStream(index=2, kind="audio")
TEXT = CopiedStream(index=3, kind="subtitle", convert="mov_text")


@pytest.mark.parametrize(
    ("time_base", "ticks"),
    [
        (Fraction(1, 25), 2500),
        (Fraction(1001, 30000), 30000),
        (Fraction(1, 1000), 1000),
        (Fraction(1, 2**31), 90_000),
    ],
)
def test_a_timescale_represents_the_time_base_exactly(time_base: Fraction, ticks: int) -> None:
    assert timescale(time_base) == ticks


def test_orientation_is_an_input_option() -> None:
    assert orientation_args(PLAIN) == []
    assert orientation_args(replace(PLAIN, orientation=Orientation(1))) == ["-display_rotation:v:0", "90"]
    assert orientation_args(replace(PLAIN, orientation=Orientation(3, mirrored=True))) == [
        *("-display_rotation:v:0", "-90"),
        "-display_hflip:v:0",
    ]
    assert PLAIN.orientation == UPRIGHT


def test_other_streams_are_mapped_in_order_and_trimmed_to_the_span() -> None:
    target = replace(
        PLAIN,
        source=Path("in.mkv"),
        copied_streams=(SOUND, TEXT),
        span=(Fraction(1, 2), Fraction(3)),
        offset=Fraction(1, 2),
    )
    inputs, mapped = stream_copy_args(target)
    assert inputs == ["-ss", "0.500000", "-to", "3.000000", "-i", "file:in.mkv"]
    assert mapped == [
        *("-map_metadata:s:0", "1:s:0", "-metadata:s:0", "alpha_mode="),
        *("-map", "1:2", "-map_metadata:s:1", "1:s:2", "-map", "1:3", "-map_metadata:s:2", "1:s:3"),
        *("-map_metadata", "1", "-map_chapters", "-1"),
    ]
    assert stream_codec_args(target) == ["-c:1", "copy", "-c:2", "mov_text"]
    assert timestamp_offset(target) == Fraction(1, 2)
    assert timestamp_offset(replace(target, span=None)) == 0


def test_containers_get_their_own_options() -> None:
    assert container_args(PLAIN) == [
        *("-video_track_timescale", "1000", "-movflags", "+faststart+write_colr"),
        *("-avoid_negative_ts", "disabled", "-f", "mp4"),
    ]
    assert "+bitexact" in container_args(replace(PLAIN, container="matroska"))
    picture = replace(PLAIN, container="image2", path=Path("a.png"))
    assert container_args(picture) == ["-f", "image2", "-update", "1"]
    sequence = replace(picture, path=Path("a_%03d.png"), first_number=7)
    assert container_args(sequence) == ["-f", "image2", "-start_number", "7"]


def test_quality_preset_and_tags_of_the_video() -> None:
    args = video_encoder_args(replace(PLAIN, crf=23, preset="slow", threads=3, encoder_args=("-g", "50")))
    assert "-threads:v:0" not in video_encoder_args(PLAIN)
    assert args == [
        *("-c:v:0", "libx264", "-filter:v:0", "setsar=1/1:max=65535,setparams=range=tv:colorspace=bt709"),
        *("-pix_fmt:v:0", "yuv420p", "-crf:v:0", "23", "-preset:v:0", "slow"),
        *("-threads:v:0", "3", "-g", "50"),
    ]


def test_percent_signs_of_a_name_are_doubled_around_the_number() -> None:
    assert sequence_pattern(Path("50%/a%b_%03d_100%.png")) == "50%%/a%%b_%03d_100%%.png"
