from pathlib import Path

import pytest

from tests.clips import ClipMaker
from tests.media.boxes import captioned, dolby_vision, spherical, stereo, video
from vrx.media.data_loss import keeps_stereo, side_data_lines
from vrx.media.read import Reader, Span
from vrx.media.side_data import PROBE_FRAMES, SideData, SideDataKind, parse_side_data_entries, probe_side_data

HEADER = """Input #0, matroska,webm, from 'a.mkv':
  Metadata:
    title           : Side data:
  Stream #0:0: Audio: aac
    Side data:
      audio service type: main
  Stream #0:1(eng): Video: h264 (High), yuv420p, 64x48
    Metadata:
      comment         : Stereo 3D: side by side
    Side data:
      Stereo 3D: side by side, view: packed, primary eye: none
      Spherical Mapping: equirectangular
  Stream #0:2: Video: h264
""".splitlines()


def seen(path: Path) -> SideData:
    return probe_side_data(path, 0, path.name)


def test_a_plain_video_has_nothing_to_say(clip: ClipMaker) -> None:
    assert seen(video(clip, "plain.mp4")) == SideData()


def test_dolby_vision_is_seen_by_its_configuration(clip: ClipMaker) -> None:
    found = seen(video(clip, "dolby.mp4", dolby_vision(8)))
    assert found.extras == {SideDataKind.DOLBY_VISION}
    assert found.dolby_profile == 8


def test_a_sphere_in_two_views_is_seen(clip: ClipMaker) -> None:
    found = seen(video(clip, "vr.mp4", spherical() + stereo()))
    assert found.extras == {SideDataKind.SPHERICAL, SideDataKind.STEREO}
    assert found.stereo == "left_right"


def test_captions_inside_the_video_are_seen(clip: ClipMaker) -> None:
    found = seen(captioned(clip("a.h264", frames=3, codec="libx264", options={"bf": "0"})))
    assert found.extras == {SideDataKind.CAPTIONS}


def test_captions_that_begin_later_are_said_when_they_begin(clip: ClipMaker) -> None:
    path = captioned(
        clip("a.h264", frames=PROBE_FRAMES + 6, codec="libx264", options={"bf": "0", "slices": "1"}), PROBE_FRAMES + 3
    )
    notes: list[str] = []
    with Reader(path, Span(), notes.append) as reader:
        assert reader.side_data() == SideData()
        assert len(list(reader.frames())) == PROBE_FRAMES + 6
    assert len([note for note in notes if SideDataKind.CAPTIONS.value in note]) == 1


def test_entries_of_one_stream_are_read_and_tags_are_none() -> None:
    assert [entry.split(":")[0] for entry in parse_side_data_entries(HEADER, 1)] == ["Stereo 3D", "Spherical Mapping"]
    assert parse_side_data_entries(HEADER, 0) == ["audio service type: main"]
    assert parse_side_data_entries(HEADER, 2) == []


def test_every_kind_is_said_in_a_line_of_its_own() -> None:
    lines = side_data_lines(SideData(frozenset(SideDataKind)), "mp4")
    assert len(lines) == len(SideDataKind)
    assert all(extra.value in line for extra, line in zip(SideDataKind, lines, strict=True))


@pytest.mark.parametrize(
    ("layout", "container", "kept"),
    [
        ("left_right", "matroska", True),
        ("left_right", "webm", True),
        ("checkerboard_lr", "webm", False),
        ("left_right", "mp4", False),
        ("", "matroska", False),
    ],
)
def test_stereo_is_said_where_it_is_not_kept(layout: str, container: str, kept: bool) -> None:
    found = SideData(frozenset({SideDataKind.STEREO}), layout)
    assert keeps_stereo(found, container) is kept
    assert bool(side_data_lines(found, container)) is not kept


def test_the_profile_that_needs_dolby_vision_is_warned_of() -> None:
    bare = side_data_lines(SideData(frozenset({SideDataKind.DOLBY_VISION}), dolby_profile=5), "mp4")
    assert "wrong colors" in bare[0]
