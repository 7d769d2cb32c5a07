"""Key frames that seeks lead to, for looking around in a video."""

from collections.abc import Iterator
from fractions import Fraction

import pytest

from tests.clips import ClipMaker
from vrx.media.borders import find_borders
from vrx.media.ffmpeg import FFmpegProcess
from vrx.media.frame import Frame
from vrx.media.read import Reader, Span


def every(gop: int) -> dict[str, str]:
    return {"g": str(gop), "bf": "2", "sc_threshold": "0"}


def test_seeks_lead_to_the_key_frame_before(clip: ClipMaker) -> None:
    path = clip(frames=50, codec="libx264", options=every(10))
    with Reader(path, Span(), lambda note: None) as reader:
        found = [reader.key_frame(Fraction(place, 25)) for place in (9, 10, 35, 49, 0)]
        assert [round(frame.time * 25) for frame in found if frame is not None] == [0, 10, 30, 40, 0]
    with Reader(path, Span(), lambda note: None) as reader:
        frames = list(reader.frames())
    assert found[2] is not None
    assert (found[2].planes[0] == frames[30].planes[0]).all()


@pytest.mark.parametrize(("gop", "others"), [(5, 0), (50, 1)])
def test_borders_are_found_by_key_frames_where_there_are_enough(
    clip: ClipMaker, monkeypatch: pytest.MonkeyPatch, gop: int, others: int
) -> None:
    path, read = clip(frames=100, codec="libx264", options=every(gop)), Reader.frames
    calls: list[Reader] = []

    def frames(reader: Reader) -> Iterator[Frame]:
        calls.append(reader)
        return read(reader)

    monkeypatch.setattr(Reader, "frames", frames)
    assert find_borders(path, Span()) is None
    assert len(calls) == others


def test_key_frames_of_another_size_are_scaled_to_the_first(clip: ClipMaker) -> None:
    for number, size in enumerate([(64, 48), (64, 36)]):
        clip(f"{number}.ts", frames=100, codec="libx264", options=every(5), size=size)
    both, path = clip.folder / "both.txt", clip.folder / "both.mkv"
    both.write_text("file '0.ts'\nfile '1.ts'\n")
    FFmpegProcess(["-f", "concat", "-i", str(both), "-c", "copy", str(path)]).finish()
    with Reader(path, Span(), lambda note: None) as reader:
        found = [reader.key_frame(Fraction(second)) for second in (1, 7)]
        assert [frame.planes[0].shape for frame in found if frame is not None] == [(48, 64)] * 2
    assert find_borders(path, Span()) is None
