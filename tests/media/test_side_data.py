from pathlib import Path

from tests.clips import ClipMaker
from tests.media.boxes import captioned, dolby_vision, spherical, stereo, video
from vrx.events import Note
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
    assert found.kinds == {SideDataKind.DOLBY_VISION}
    assert found.dolby_profile == 8


def test_a_sphere_in_two_views_is_seen(clip: ClipMaker) -> None:
    found = seen(video(clip, "vr.mp4", spherical() + stereo()))
    assert found.kinds == {SideDataKind.SPHERICAL, SideDataKind.STEREO}
    assert found.stereo == "left_right"


def test_captions_inside_the_video_are_seen(clip: ClipMaker) -> None:
    found = seen(captioned(clip("a.h264", frames=3, codec="libx264", options={"bf": "0"})))
    assert found.kinds == {SideDataKind.CAPTIONS}


def test_captions_that_begin_later_are_said_when_they_begin(clip: ClipMaker) -> None:
    path = captioned(
        clip("a.h264", frames=PROBE_FRAMES + 6, codec="libx264", options={"bf": "0", "slices": "1"}), PROBE_FRAMES + 3
    )
    notes: list[Note] = []
    with Reader(path, Span(), notes.append) as reader:
        assert reader.side_data() == SideData()
        assert len(list(reader.frames())) == PROBE_FRAMES + 6
    assert len([note for note in notes if SideDataKind.CAPTIONS.value in note.text]) == 1


def test_entries_of_one_stream_are_read_and_tags_are_none() -> None:
    assert [entry.split(":")[0] for entry in parse_side_data_entries(HEADER, 1)] == ["Stereo 3D", "Spherical Mapping"]
    assert parse_side_data_entries(HEADER, 0) == ["audio service type: main"]
    assert parse_side_data_entries(HEADER, 2) == []
