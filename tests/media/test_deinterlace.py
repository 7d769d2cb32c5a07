from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import TIMES, ClipMaker, stripes, write_interlaced
from vrx.events import Note
from vrx.media.deinterlace import Deinterlace
from vrx.media.frame import Frame
from vrx.media.read import Reader, Span


def frames_of(path: Path, which: Deinterlace) -> list[Frame]:
    with Reader(path, Span(), lambda note: None, deinterlace=which) as reader:
        return list(reader.frames())


def combing(frame: Frame) -> float:
    """How much rows differ from both their neighbors."""
    x = frame.planes[0].astype(float)
    return float(np.abs(x[1:-1] - (x[:-2] + x[2:]) / 2).mean())


def error(frame: Frame, number: int) -> float:
    truth = av.VideoFrame.from_ndarray(stripes(number), format="rgb24").reformat(format="yuv444p").to_ndarray()[0]
    return float(np.abs(frame.planes[0].astype(float) - truth).mean())


def test_flagged_pictures_become_whole_and_keep_their_times(tmp_path: Path) -> None:
    write_interlaced(tmp_path / "bff.mkv", flagged=True)
    before, after = (frames_of(tmp_path / "bff.mkv", which) for which in (Deinterlace.OFF, Deinterlace.AUTO))
    assert [int(f.time * 1000) for f in after] == [int(f.time * 1000) for f in before] == TIMES
    assert all(f.interlaced for f in before)
    assert not any(f.interlaced for f in after)
    for number, (combed, clean) in enumerate(zip(before, after, strict=True)):
        assert combing(clean) < combing(combed) / 4
        assert error(clean, number) < error(combed, number) / 2


def test_unflagged_pictures_are_left_alone_unless_all_are_meant(tmp_path: Path) -> None:
    write_interlaced(tmp_path / "x.mkv", flagged=False)
    before, auto, forced = (frames_of(tmp_path / "x.mkv", which) for which in Deinterlace)
    for old, same in zip(before, auto, strict=True):
        for a, b in zip(old.planes, same.planes, strict=True):
            np.testing.assert_array_equal(a, b)
    assert [f.pts for f in forced] == [f.pts for f in before]
    assert all(combing(new) < combing(old) / 4 for new, old in zip(forced, before, strict=True))


def test_pictures_that_turn_interlaced_later_are_made_whole_and_that_is_said(tmp_path: Path) -> None:
    both = tmp_path / "both.ts"
    for flagged in (False, True):
        write_interlaced(tmp_path / "part.ts", flagged)
        with both.open("ab") as file:
            file.write((tmp_path / "part.ts").read_bytes())
    notes: list[Note] = []
    with Reader(both, Span(), notes.append, deinterlace=Deinterlace.AUTO) as reader:
        frames = list(reader.frames())
    assert len(frames) == 2 * len(TIMES)
    assert any("interlaced frames begin at" in note.text for note in notes)
    before, after = frames[: len(TIMES)], frames[len(TIMES) :]
    assert max(map(combing, after)) < min(map(combing, before)) / 4


def test_a_whole_clip_is_the_same_with_and_without(clip: ClipMaker) -> None:
    path = clip(times=TIMES, pix_fmt="yuv422p10le")
    for a, b in zip(*(frames_of(path, which) for which in (Deinterlace.OFF, Deinterlace.AUTO)), strict=True):
        assert a.pts == b.pts
        for old, new in zip(a.planes, b.planes, strict=True):
            np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("count", [1, 2])
def test_short_clips_lose_nothing(clip: ClipMaker, count: int) -> None:
    assert len(frames_of(clip(frames=count), Deinterlace.ON)) == count


@pytest.mark.parametrize("pix_fmt", ["gray", "bgr0", "yuv420p10le", "yuv444p12le", "gbrp16le", "yuva420p", "yuv410p"])
def test_every_format_passes(clip: ClipMaker, pix_fmt: str) -> None:
    plain, passed = (frames_of(clip(frames=3, pix_fmt=pix_fmt), w) for w in (Deinterlace.OFF, Deinterlace.ON))
    assert [f.layout for f in passed] == [f.layout for f in plain]
    assert [p.shape for p in passed[1].planes] == [p.shape for p in plain[1].planes]
    for a, b in zip(plain[1].planes, passed[1].planes, strict=True):
        assert np.abs(a.astype(float) - b).mean() < 0.05 * plain[1].layout.peak
