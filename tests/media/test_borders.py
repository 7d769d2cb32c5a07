"""Black borders: found where there are some, and only there."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import EXAMPLES
from vrx.api import probe
from vrx.media.borders import SPREAD, find_borders, noise_of_dark, to_luma, unevenness
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.media.read import Span

NOISE = "noise=alls=16:allf=t"  # of 8 levels of deviation


def film(path: Path, filters: str, *words: str, source: Path = EXAMPLES / "flower.mp4") -> Path:
    """A second of the example clip behind filters."""
    options = words or ("-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv444p" if "444" in filters else "yuv420p")
    FFmpegProcess(["-y", "-i", str(source), "-t", "1", "-vf", filters, "-an", *options, str(path)]).finish()
    return path


@pytest.mark.parametrize(
    ("filters", "crop"),
    [
        ("scale=320:134,pad=320:180:0:22", "320:134:0:22"),  # wide film in 16:9
        ("scale=136:180,pad=320:180:92:0", "136:180:92:0"),  # portrait
        ("scale=240:134,pad=320:180:40:22", "240:134:40:22"),  # both
        (f"scale=320:134,pad=320:180:0:22,{NOISE}", "320:134:0:22"),
        ("scale=312:176,pad=320:180:8:2", "312:176:8:2"),  # edges of a capture
        ("scale=320:134,pad=320:180:0:22,eq=brightness=-0.25", "320:134:0:22"),  # in the dark
        ("scale=640:360,pad=640:408:0:24", "640:360:0:24"),
        ("scale=320:134,pad=320:180:0:22:0x070707", "320:134:0:22"),  # luma 22
        ("scale=320:134,pad=320:180:0:22:0x101010", None),  # luma 30: gray
        ("scale=64:36,pad=320:180:128:72", None),  # a light in the dark
        ("scale=321:134,pad=321:180:0:22,format=yuv444p", "321:134:0:22"),  # a side that is lit stays odd
        ("scale=320:180", None),
        (f"scale=320:180,{NOISE}", None),
        ("scale=320:180,eq=brightness=-0.6", None),  # a night
        ("scale=320:180,vignette=PI/3", None),  # dark towards the corners
        ("scale=220:180,pad=320:180:100:0", "220:180:100:0"),  # on one side
        ("scale=320:140,pad=320:180", "320:140:0:0"),
        ("scale=320:140,pad=320:180:0:32", "320:140:0:32"),  # on two, of different width
        (f"scale=220:180,pad=320:180:100:0,{NOISE}", "220:180:100:0"),  # on one side, with noise
        ("scale=320:140,pad=320:180,noise=alls=24:allf=t", "320:140:0:0"),  # of 11 levels
        (f"scale=320:180,geq=lum='if(lt(X,100),16+7*mod(floor(Y/12),2),lum(X,Y))':cb=128:cr=128,{NOISE}", None),
        ("scale=320:180,geq=lum='if(lt(X,100),14+10*mod(floor(Y/4)+floor(X/4),2),lum(X,Y))':cb=128:cr=128", None),
        ("scale=320:180,drawbox=0:0:100:90:black:fill,drawbox=0:90:60:90:black:fill", None),  # no straight end
        ("scale=320:180,geq=lum='if(lt(X,100),16+7*mod(floor(Y/12),2),lum(X,Y))':cb=128:cr=128", None),  # a dark wall
        ("scale=320:180,geq=lum='if(lt(X,100+Y/16),16,lum(X,Y))':cb=128:cr=128", None),  # nor here
        ("scale=320:180,geq=lum='if(lt(abs(X-160),90),lum(X,Y),16+7*mod(floor(Y/12),2))':cb=128:cr=128", None),  # walls
        ("scale=320:180,geq=lum='if(gt(Y,150+20*pow(X/160-1,2)),16,lum(X,Y))':cb=128:cr=128", None),  # hood of a car
        ("scale=320:180,geq=lum='lum(X,Y)*clip((X-60)/60,0.1,1)':cb=128:cr=128", None),  # a shadow that fades
        ("scale=320:180,drawbox=color=black:t=fill", None),
        ("scale=320:134,pad=320:180:0:22,drawbox=0:0:120:20:0x060606:fill:enable='between(n,8,10)'", None),  # at times
    ],
)
def test_borders_are_found_where_there_are_some(tmp_path: Path, filters: str, crop: str | None) -> None:
    found = find_borders(film(tmp_path / "a.mkv", filters), Span())
    assert (None if found is None else str(found)) == crop


@pytest.mark.parametrize("pix_fmt", ["yuv444p10le", "yuv422p", "gray", "gbrp", "yuv411p"])
def test_borders_are_found_in_every_layout(tmp_path: Path, pix_fmt: str) -> None:
    path = film(tmp_path / "a.mkv", "scale=304:132,pad=320:180:9:23", "-c:v", "ffv1", "-pix_fmt", pix_fmt)
    step = 4 if pix_fmt == "yuv411p" else 2
    found = find_borders(path, Span())
    assert found is not None
    assert found.left is not None
    assert found.left % step == 0
    assert (found.left + found.width) % step == 0
    assert 304 - 2 * step <= found.width <= 304


def test_borders_of_interlaced_video_end_with_whole_lines_of_both_fields(tmp_path: Path) -> None:
    words = ("-c:v", "ffv1", "-pix_fmt", "yuv420p", "-field_order", "tt")
    path = film(tmp_path / "a.mkv", "scale=320:134,pad=320:180:0:22,setfield=tff", *words)
    assert str(find_borders(path, Span())) == "320:132:0:24"


def test_what_some_frames_show_in_a_border_is_not_cut_off(tmp_path: Path) -> None:
    """A mark of nine pixels for a tenth of a second, such as a short subtitle."""
    mark = "drawbox=100:165:9:6:white:fill:enable='between(t,0.2,0.3)'"
    assert find_borders(film(tmp_path / "a.mkv", f"scale=320:134,pad=320:180:0:22,{mark}"), Span()) is None


def test_a_source_without_a_length_is_looked_at_here_and_there(tmp_path: Path) -> None:
    """Borders that end after some frames, as those of a trailer before its film."""
    words = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-fps_mode", "passthrough", "-f", "matroska", "-live", "1")
    fast = "scale=320:134,pad=320:180:0:22,loop=2:20,settb=1/100,setpts=N"
    for filters, crop in ((fast, "320:134:0:22"), (f"{fast},drawbox=color=gray:t=fill:enable='gt(n,20)'", None)):
        path = film(tmp_path / "a.mkv", filters, *words)
        assert probe(path).duration is None
        found = find_borders(path, Span())
        assert (None if found is None else str(found)) == crop


def test_luma_of_rgb_is_of_all_three() -> None:
    planes = tuple(np.full((2, 2), value, np.uint16) for value in (40, 400, 800))
    frame = Frame(planes, Layout(Kind.RGB, 10), Color(), 0, Fraction(1))
    assert to_luma(frame)[0, 0] == pytest.approx((0.299 * 40 + 0.587 * 400 + 0.114 * 800) / 4)


def test_noise_is_measured_where_it_is_dark() -> None:
    generator = np.random.default_rng(1)
    luma = 120 + generator.normal(0, 20, (64, 256))
    luma[:, :64] = 14 + generator.normal(0, 3, (64, 64))
    assert noise_of_dark(luma) == pytest.approx(3, rel=0.1)
    luma[:, :64] = 16
    assert noise_of_dark(luma) == 0
    assert noise_of_dark(luma[:, 64:]) == 0
    assert noise_of_dark(luma[:, :3]) == 0  # too narrow to tell
    assert unevenness(generator.normal(0, 5, 100_000)) == pytest.approx(5 * SPREAD, rel=0.03)
