from pathlib import Path

import av

from tests.clips import scenery
from vrx.media.metadata_tags import KEYED_FLAG, delete_args, find_lost_tags, find_statistics, try_tags
from vrx.media.probe import SourceInfo, describe_source, open_input
from vrx.media.video_stream import pick_video

PHONE = {"title": "T", "com.apple.quicktime.model": "Phone 9", "mykey": "my value"}


def phone(path: Path) -> SourceInfo:
    """A clip with the tags of a phone, written by key."""
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as box:
        box.metadata.update(PHONE)
        stream = box.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        box.mux(stream.encode(av.VideoFrame.from_ndarray(scenery(0, (64, 48)), format="rgb24")))
        box.mux(stream.encode(None))
    with open_input(path, path.name) as container:
        return describe_source(container, path.name, path, pick_video(container, path.name))


def lost(info: SourceInfo, container: str, flag: str = "") -> set[str]:
    survived = try_tags(info.path, container, flag)
    assert survived is not None
    return set(find_lost_tags(info, survived))


def test_the_tags_that_each_container_keeps_are_seen(tmp_path: Path) -> None:
    info = phone(tmp_path / "phone.mov")
    assert PHONE.items() <= info.metadata.items()
    assert lost(info, "matroska") == set()
    assert lost(info, "mp4") == PHONE.keys() - {"title"}
    assert lost(info, "mp4", KEYED_FLAG) == set()
    assert lost(info, "mpegts") == PHONE.keys()


def test_statistics_of_the_source_are_stale_in_any_language() -> None:
    names = ["BPS", "BPS-eng", "DURATION", "NUMBER_OF_FRAMES-fra", "number_of_bytes", "_STATISTICS_WRITING_DATE_UTC"]
    kept = ["title", "language", "BPSX", "DURATION_OF_SHOOTING", "ENCODER"]
    assert find_statistics([*names, *kept]) == names
    assert delete_args(":s:0", ["BPS"]) == ("-metadata:s:0", "BPS=")
