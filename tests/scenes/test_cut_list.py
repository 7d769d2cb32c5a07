from pathlib import Path

import pytest

from vrx.errors import InputError, UsageError
from vrx.scenes.cut_list import parse_cuts, read_cuts


@pytest.mark.parametrize(
    "text",
    [
        "# ours\n37\n89\n",
        "scene,start_frame,end_frame,start_seconds,end_seconds\n1,0,37,0,1\n2,37,89,1,2\n3,89,120,2,3\n",
        "Timecode List:\nScene Number,Start Frame,Start Timecode\n1,1,00:00:00\n2,38,00:00:01\n3,90,00:00:03\n",
    ],
)
def test_cut_lists_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cuts"
    path.write_text(text)
    assert read_cuts(path) == frozenset({37, 89})


def test_bad_cut_lists_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"[Nn]o such"):
        read_cuts(tmp_path / "none")
    (tmp_path / "bad").write_text("one\ntwo\n")
    with pytest.raises(UsageError, match=r"bad is not a cut list"):
        read_cuts(tmp_path / "bad")


def test_frame_zero_is_not_a_cut_and_comments_are_skipped() -> None:
    assert parse_cuts("# first\n0\n12\n  # middle\n40\n") == frozenset({12, 40})
    assert parse_cuts("") == frozenset()
