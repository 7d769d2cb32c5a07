import pytest

from vrx.events import Note
from vrx.media.data_loss import (
    MAX_NAMES,
    chapter_notes,
    conversion_notes,
    hdr10_notes,
    keeps_stereo,
    picture_notes,
    side_data_notes,
    stream_notes,
    tag_notes,
)
from vrx.media.hdr10 import Hdr10Metadata
from vrx.media.probe import StreamInfo
from vrx.media.side_data import SideData, SideDataKind
from vrx.media.streams import CopiedStream

FULL = Hdr10Metadata("G(1,2)B(3,4)R(5,6)WP(7,8)L(9,10)", "1000,400")
SOUND, DATA = StreamInfo(1, "audio", "wmav2"), StreamInfo(2, "data", "", metadata={"handler_name": "GoPro MET"})


def texts(notes: list[Note]) -> list[str]:
    assert {note.level for note in notes} <= {"warning"}
    return [note.text for note in notes]


def test_dropped_streams_are_named_with_a_container_that_holds_them() -> None:
    notes = stream_notes("mp4", [(SOUND, ".mkv"), (DATA, "")])
    assert texts(notes) == [
        "mp4 cannot hold audio 1 (wmav2); use -o NAME.mkv to keep it",
        "mp4 cannot hold data 2 (GoPro MET)",
    ]
    assert [note.code for note in notes] == ["stream-loss"] * 2
    assert notes[0].facts == {"container": "mp4", "streams": "audio 1 (wmav2)", "suffix": ".mkv"}
    assert stream_notes("mp4", []) == []


@pytest.mark.parametrize(
    ("codec", "convert", "expected"),
    [
        ("ass", "mov_text", "mp4 holds subtitle 3 (ass) as mov_text, without its fonts, colors and positions"),
        ("subrip", "mov_text", None),
        ("ass", None, None),
    ],
)
def test_dropped_styles_of_subtitles_are_named(codec: str, convert: str | None, expected: str | None) -> None:
    copied = [CopiedStream(index=3, kind="subtitle", convert=convert)]
    notes = conversion_notes("mp4", [StreamInfo(3, "subtitle", codec)], copied)
    assert texts(notes) == ([f"{expected}; use -o NAME.mkv to keep them"] if expected else [])


@pytest.mark.parametrize(
    ("container", "codec", "convert", "text"),
    [
        (
            "matroska",
            "pcm_dvd",
            "flac",
            "matroska cannot hold audio 1 (pcm_dvd) as it is; converted to flac, without loss",
        ),
        (
            "webm",
            "aac",
            "libopus",
            "webm cannot hold audio 1 (aac); converted to libopus; use -o NAME.mkv to avoid loss",
        ),
        (
            *("mp4", "pcm_s16le", "aac"),
            "few players play audio 1 (pcm_s16le) in mp4; converted to aac; use -o NAME.mkv or .mov to keep it",
        ),
    ],
)
def test_converted_sound_is_named(container: str, codec: str, convert: str, text: str) -> None:
    notes = conversion_notes(
        container, [StreamInfo(1, "audio", codec)], [CopiedStream(index=1, kind="audio", convert=convert)]
    )
    assert texts(notes) == [text]


def test_pictures_drop_streams_and_chapters() -> None:
    assert texts(picture_notes([SOUND, StreamInfo(4, "chapters", "")], 2)) == [
        "pictures cannot hold audio 1 (wmav2), chapters; use -o NAME.mkv to keep it"
    ]
    assert picture_notes([], 0) == []


@pytest.mark.parametrize(
    ("chapters", "is_supported", "is_part", "expected"),
    [
        (0, False, True, []),
        (3, True, False, []),
        (3, True, True, ["chapters are dropped, since only a part is restored"]),
        (3, False, False, ["avi cannot hold chapters; use -o NAME.mkv to keep them"]),
    ],
)
def test_chapters(chapters: int, is_supported: bool, is_part: bool, expected: list[str]) -> None:
    assert texts(chapter_notes("avi", chapters, is_supported, is_part)) == expected


def test_dropped_tags_are_named_up_to_a_limit() -> None:
    assert tag_notes("mp4", []) == []
    names = [f"t{number}" for number in range(MAX_NAMES + 2)]
    assert texts(tag_notes("mp4", names)) == [
        "mp4 cannot hold the tags t0, t1, t2, t3, t4, t5 and 2 more; use -o NAME.mkv to keep them"
    ]


@pytest.mark.parametrize(
    ("destination", "has_options", "part"),
    [
        (("libsvtav1", "matroska"), True, ""),
        (("libx264", "mpegts"), True, ""),  # in the bitstream
        (("prores_ks", "mov"), True, ""),  # in the container
        (("ffv1", "nut"), True, "ffv1 in nut"),
        (("png", "image2"), True, "pictures"),
        (("libx265", "mp4"), False, ""),
        (("libsvtav1", "mp4"), False, "newer ffmpeg"),
    ],
)
def test_hdr10_metadata_that_does_not_arrive(destination: tuple[str, str], has_options: bool, part: str) -> None:
    notes = hdr10_notes(True, FULL, destination, has_options)
    assert len(notes) == bool(part)
    assert all(part in note.text and note.code == "hdr10-loss" for note in notes)


def test_incomplete_mastering_display() -> None:
    half = Hdr10Metadata("", "1000,400")
    assert texts(hdr10_notes(True, half, ("libx265", "mp4"), True)) == [
        "the HDR10 mastering display data is incomplete and dropped"
    ]
    assert hdr10_notes(False, Hdr10Metadata(), ("libx265", "mp4"), True) == []


def test_every_kind_of_side_data_has_a_note_of_its_own() -> None:
    notes = side_data_notes(SideData(frozenset(SideDataKind)), "mp4")
    assert [note.facts["kind"] for note in notes] == [kind.value for kind in SideDataKind]
    assert all(
        note.text.startswith(f"{kind.value} cannot be preserved")
        for kind, note in zip(SideDataKind, notes, strict=True)
    )


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
def test_stereo_has_a_note_where_it_is_not_kept(layout: str, container: str, kept: bool) -> None:
    found = SideData(frozenset({SideDataKind.STEREO}), layout)
    assert keeps_stereo(found, container) is kept
    assert bool(side_data_notes(found, container)) is not kept


def test_dolby_vision_profile_5_has_advice_of_its_own() -> None:
    found = SideData(frozenset({SideDataKind.DOLBY_VISION}), dolby_profile=5)
    assert texts(side_data_notes(found, "mp4")) == [
        "Dolby Vision data cannot be preserved; profile 5 has wrong colors without it, "
        "so convert the source to HDR10 first"
    ]
