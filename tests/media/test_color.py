import re
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vrx.events import Note
from vrx.media import ffmpeg
from vrx.media.color import (
    MATRICES,
    PRIMARIES,
    TRANSFERS,
    describe_changes,
    output_color,
    resolve_color,
    same_samples,
    setparams_filter,
)
from vrx.media.frame import Color, Kind, Layout
from vrx.media.read import Reader, Span

VIDEO = Color("bt709", "bt709", "bt709", False)
YUV = Layout(Kind.YUV, 8, 1, 1)
SIZE = (1280, 720)


def test_changes_are_told_apart_from_what_cannot_be_converted() -> None:
    assert describe_changes(VIDEO, VIDEO, YUV, SIZE) == []
    assert "converted" in describe_changes(VIDEO, replace(VIDEO, full_range=True), YUV, SIZE)[0]
    hdr = describe_changes(VIDEO, Color("bt2020nc", "bt2020", "smpte2084", False), YUV, SIZE)
    assert len(hdr) == 2
    assert "bt2020, smpte2084" in hdr[1]


def test_tags_that_appear_late_are_no_change() -> None:
    assert describe_changes(Color(), VIDEO, YUV, SIZE) == []
    assert describe_changes(Color(), VIDEO, YUV, (640, 480)) != []  # taken for BT.601 until then


def test_samples_mean_the_same_where_tags_come_to_the_same() -> None:
    untagged = Color()
    assert same_samples(untagged, VIDEO, YUV, SIZE)
    assert same_samples(Color(matrix="bt470bg"), Color(matrix="smpte170m"), YUV, SIZE)  # two names of BT.601
    assert not same_samples(untagged, VIDEO, YUV, (640, 480))  # taken for BT.601
    assert not same_samples(VIDEO, replace(VIDEO, full_range=True), YUV, SIZE)
    assert same_samples(VIDEO, replace(VIDEO, transfer="smpte2084"), YUV, SIZE)


def joined_recordings(folder: Path) -> Path:
    """One gray picture four times in TS: limited BT.709 first, then the same look in full-range BT.601."""
    path = folder / "joined.ts"
    with path.open("wb") as file:
        for number, (fmt, level, colors) in enumerate((("yuv420p", 126, 1), ("yuvj420p", 128, 6))):
            part = folder / f"{number}.ts"
            with av.open(str(part), "w") as box:
                stream = box.add_stream("libx264", rate=25, options={"qp": "0", "bf": "0"})
                stream.width, stream.height, stream.pix_fmt = 64, 48, fmt
                stream.codec_context.colorspace = colors
                stream.codec_context.color_range = 2 if level == 128 else 1
                for index in range(2):
                    planes = np.full((72, 64), 128, np.uint8)
                    planes[:48] = level
                    picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                    picture.pts, picture.time_base = number * 2 + index, Fraction(1, 25)
                    box.mux(stream.encode(picture))
                box.mux(stream.encode(None))
            file.write(part.read_bytes())
    return path


def test_each_picture_keeps_the_color_it_is_tagged_with(tmp_path: Path) -> None:
    notes: list[Note] = []
    with Reader(joined_recordings(tmp_path), Span(), notes.append) as reader:
        frames = list(reader.frames())
    assert [frame.color.full_range for frame in frames] == [False, False, True, True]
    assert [frame.color.matrix for frame in frames] == ["bt709"] * 2 + ["smpte170m"] * 2
    assert any("color changes to smpte170m, full range" in note.text for note in notes)


def test_tags_follow_the_picture() -> None:
    yuv, tagged = Layout(Kind.YUV, 8, 1, 1), Color(matrix="bt470bg", full_range=True)
    assert output_color(tagged, ((640, 480), (1280, 960)), (yuv, yuv)) == tagged
    assert output_color(Color(), ((1280, 720), (5120, 2880)), (yuv, yuv)) == Color()
    assert output_color(Color(), ((320, 240), (1280, 960)), (yuv, yuv)).matrix == "smpte170m"
    assert output_color(Color(), ((720, 576), (1440, 1080)), (yuv, yuv)).matrix == "bt470bg"
    assert output_color(Color(), ((720, 480), (1440, 960)), (yuv, yuv)).matrix == "smpte170m"
    assert output_color(Color(), ((720, 576), (720, 576)), (Layout(Kind.RGB, 8), yuv)).matrix == "bt470bg"
    assert output_color(Color(), ((1280, 720), (1280, 720)), (Layout(Kind.RGB, 8), yuv)).matrix == "bt709"
    assert resolve_color(Color(), yuv, (1920, 1080)).matrix == "bt709"
    assert setparams_filter(Color()) == ""
    assert "colorspace=bt470bg" in setparams_filter(tagged)
    assert "range=pc" in setparams_filter(tagged)


def test_every_tag_has_a_name_that_ffmpeg_takes() -> None:
    """A tag that no test clip has would end an encode: gray TIFF pictures are tagged bt470m, for one."""
    command = [ffmpeg.executable(), "-hide_banner", "-h", "filter=setparams"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"^\s+([\w-]+)\s+-?\d+\s+\.\.FV", text, re.M))
    tags = [Color(matrix=name) for name in MATRICES.values()]
    tags += [Color(primaries=name) for name in PRIMARIES.values()]
    tags += [Color(transfer=name) for name in TRANSFERS.values()]
    assert {setparams_filter(tag).split("=")[-1] for tag in tags} <= known
