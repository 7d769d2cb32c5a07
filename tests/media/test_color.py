from dataclasses import replace

from vrx.media.color import changes, same_samples
from vrx.media.frame import Color, Kind, Layout

VIDEO = Color("bt709", "bt709", "bt709", False)
YUV = Layout(Kind.YUV, 8, 1, 1)
SIZE = (1280, 720)


def test_changes_are_told_apart_from_what_cannot_be_converted() -> None:
    assert changes(VIDEO, VIDEO, YUV, SIZE) == []
    assert "converted" in changes(VIDEO, replace(VIDEO, full_range=True), YUV, SIZE)[0]
    hdr = changes(VIDEO, Color("bt2020nc", "bt2020", "smpte2084", False), YUV, SIZE)
    assert len(hdr) == 2
    assert "bt2020, smpte2084" in hdr[1]


def test_tags_that_appear_late_are_no_change() -> None:
    assert changes(Color(), VIDEO, YUV, SIZE) == []
    assert changes(Color(), VIDEO, YUV, (640, 480)) != []  # taken for BT.601 until then


def test_samples_mean_the_same_where_tags_come_to_the_same() -> None:
    untagged = Color()
    assert same_samples(untagged, VIDEO, YUV, SIZE)
    assert not same_samples(untagged, VIDEO, YUV, (640, 480))  # taken for BT.601
    assert not same_samples(VIDEO, replace(VIDEO, full_range=True), YUV, SIZE)
    assert same_samples(VIDEO, replace(VIDEO, transfer="smpte2084"), YUV, SIZE)
