"""Streams that are copied along keep step with the pictures, whatever the source's clock does."""

from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import joined, tones, write_counted
from vrx.media.read import Reader
from vrx.media.read import Span as Part
from vrx.media.remux import LEAD_SECONDS, Span, StreamSource, remux, use_source

FRAME = 1 / 12
VOB = "-c:v mpeg2video -r 25 -bf 2 -f vob -c:a"


def copied(path: Path, folder: Path, span: Span | None = None) -> tuple[StreamSource, list[tuple[int, float, float]]]:
    """What goes along with a source, and its tones on the pictures' clock."""
    with Reader(path, Part(), lambda text: None) as reader:
        assert reader.timeline is not None
        found = remux(reader.info, reader.timeline, reader.zero, span, folder)
    later = float(found.delay)
    return found, [(tone, begin - later, end - later) for tone, begin, end in tones(found.path)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.ts", "-c:v libx264 -c:a aac"),
        ("a.m2ts", "-c:v libx264 -c:a ac3"),
        ("a.vob", f"{VOB} mp2"),
        ("a.mpg", f"{VOB} ac3"),
    ],
)
def test_sound_of_joined_parts_changes_where_the_picture_does(tmp_path: Path, name: str, words: str) -> None:
    one = write_counted(tmp_path / f"1{name}", tone=500, words=words)
    two = write_counted(tmp_path / f"2{name}", tone=1000, words=f"{words} -output_ts_offset 40")
    found, heard = copied(joined(tmp_path / name, one, two), tmp_path)
    loud = [sound for sound in heard if sound[0] in (500, 1000)]
    assert [tone for tone, _, _ in loud] == [500, 1000]
    assert [begin for _, begin, _ in loud] == pytest.approx([0, 1], abs=FRAME)
    assert loud[-1][2] == pytest.approx(2, abs=FRAME)
    assert (found.video, found.delay, found.is_trimmed, found.losses) == (None, LEAD_SECONDS, True, ())


def test_sound_of_discs_that_nothing_else_holds_becomes_plain(tmp_path: Path) -> None:
    one, two = (
        write_counted(tmp_path / f"{tone}.vob", tone=tone, words=f"{VOB} pcm_dvd -ac 2") for tone in (500, 1000)
    )
    found, heard = copied(joined(tmp_path / "a.vob", one, two), tmp_path)
    assert [stream.codec for stream in found.streams] == ["pcm_s24le"]
    assert [begin for tone, begin, _ in heard if tone in (500, 1000)] == pytest.approx([0, 1], abs=FRAME)


def test_a_clock_that_wraps_keeps_its_sound(tmp_path: Path) -> None:
    path = write_counted(tmp_path / "a.ts", words="-c:v libx264 -output_ts_offset 95442")
    _, heard = copied(path, tmp_path)
    assert [tone for tone, _, _ in heard if tone == 500] == [500]
    assert heard[0][1] == pytest.approx(0, abs=FRAME)
    assert heard[-1][2] == pytest.approx(1, abs=FRAME)


def test_a_part_is_cut_on_the_continuous_clock(tmp_path: Path) -> None:
    one = write_counted(tmp_path / "1.ts", tone=500)
    two = write_counted(tmp_path / "2.ts", tone=1000)
    _, heard = copied(joined(tmp_path / "a.ts", one, two), tmp_path, (Fraction(3, 4), Fraction(5, 4)))
    loud = [sound for sound in heard if sound[0] in (500, 1000)]
    assert [begin for _, begin, _ in loud] == pytest.approx([0, 0.25], abs=FRAME / 2)
    assert 0.5 <= loud[-1][2] <= 0.5 + FRAME
    assert min(begin for _, begin, _ in heard) >= 0


def test_a_plain_source_is_copied_from_as_it_is(tmp_path: Path) -> None:
    path = write_counted(tmp_path / "a.ts", words="-output_ts_offset 43211")
    with Reader(path, Part(), lambda text: None) as reader:
        assert reader.timeline is not None
        assert reader.timeline.is_continuous
        found = use_source(reader.info, reader.zero)
    assert (found.path, found.video, found.is_trimmed) == (path, reader.info.video.index, False)
    assert float(found.delay) == pytest.approx(43211 + 1.4, abs=0.3)
    assert [stream.kind for stream in found.streams] == ["audio"]


@pytest.mark.parametrize(("words", "span"), [("-an", None), ("", (Fraction(10), None))])
def test_where_nothing_goes_along_the_source_is_named(tmp_path: Path, words: str, span: Span | None) -> None:
    path = write_counted(tmp_path / "a.ts", words=f"{words} -output_ts_offset 95442")
    with Reader(path, Part(), lambda text: None) as reader:
        assert reader.timeline is not None
        found = remux(reader.info, reader.timeline, reader.zero, span, tmp_path)
    assert (found.path, found.streams, found.video, found.is_trimmed) == (path, (), reader.info.video.index, True)
