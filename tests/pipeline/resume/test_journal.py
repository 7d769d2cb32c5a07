"""A journal is believed only where all of it is what was written; the folder it stands in may be anybody's doing."""

import errno
import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from vrx.errors import OutputError
from vrx.media.segments import Segment
from vrx.models.base import SceneStart
from vrx.pipeline.executor import StreamState
from vrx.pipeline.resume.journal import CHECKSUM, Fingerprint, Journal, SavedWork, Tail, checksum
from vrx.pipeline.resume.workspace import JOURNAL, LOCK, Workspace, claim, folder_of
from vrx.pipeline.spans.journal import SpanJournal

MARKS = {"--crf": "18"}


def add(journal: Journal, frames: int, whole: bool = True) -> None:
    """One more part, of made-up bytes, and the state after it."""
    path = journal.segment_path(".mkv")
    path.write_bytes(os.urandom(50))
    place = journal.resume_point.frames + frames
    stages = {"encode": {"x": torch.arange(5.0)}} if whole else {}
    state = StreamState(SceneStart(0, (4, 6), (8, 12)), len(journal.resume_point.segments), place, stages)
    journal.add(Segment(path, frames, Fraction(journal.resume_point.frames, 25)), state)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A result of which two parts are kept."""
    return keep_two_parts(tmp_path / "out.mkv")


def keep_two_parts(result: Path) -> Path:
    with Journal(result, MARKS) as journal:
        add(journal, 8)
        add(journal, 9)
    return result


def change(result: Path, edit: Callable[[dict[str, Any]], object], sealed: bool) -> None:
    """Edit the journal; `sealed` with a checksum that fits."""
    path = folder_of(result) / JOURNAL
    content = json.loads(path.read_text())
    edit(content)
    if sealed:
        content.pop(CHECKSUM)
        content[CHECKSUM] = checksum(content)
    path.write_text(json.dumps(content))


def starts_over(result: Path) -> None:
    with Journal(result, MARKS) as journal:
        assert journal.differs == ("damaged files",)
        assert (journal.resume_point.frames, journal.resume_point.state) == (0, None)
        assert {p.name for p in journal.folder.iterdir()} == {LOCK}
        add(journal, 8)
    with Journal(result, MARKS) as journal:
        assert journal.resume_point.frames == 8


@pytest.mark.parametrize(
    ("marks", "differs"), [({"--crf": "20"}, ("--crf",)), ({"--crf": "18", "--look": "sharp"}, ("--look",))]
)
def test_work_of_other_settings_is_not_continued(result: Path, marks: Fingerprint, differs: tuple[str, ...]) -> None:
    with Journal(result, marks) as journal:
        assert (journal.resume_point.frames, journal.differs) == (0, differs)


def test_spans_and_parts_in_order_are_not_mixed(result: Path) -> None:
    with SpanJournal(result, MARKS) as journal:
        assert journal.differs == ("how it is divided",)
    change(keep_two_parts(result), lambda content: content.update(format=SpanJournal.FORMAT), sealed=True)
    with Journal(result, MARKS) as journal:
        assert (journal.resume_point.frames, journal.differs) == (0, ("how it is divided",))


@pytest.mark.parametrize("kind", [Journal, SpanJournal])
def test_a_record_of_another_version_is_told_from_another_division(result: Path, kind: type[SavedWork]) -> None:
    earlier = {Journal: 1, SpanJournal: "spans 0"}[kind]
    change(keep_two_parts(result), lambda content: content.update(format=earlier), sealed=True)
    with kind(result, MARKS) as journal:
        assert journal.differs == ("the format of its record",)


def test_what_is_untouched_is_continued(result: Path) -> None:
    with Journal(result, MARKS) as journal:
        assert journal.differs == ()
        assert [segment.begin for segment in journal.resume_point.segments] == [0, Fraction(8, 25)]
        assert journal.count_saved_frames() == 17
        add(journal, 8, whole=False)
    with Journal(result, MARKS) as journal:
        assert journal.resume_point.frames == 25
        assert not list(journal.folder.glob("state-*"))


def add_tail(journal: Journal) -> None:
    path = journal.tail_path(journal.resume_point.frames)
    path.write_bytes(os.urandom(50))
    times = tuple(Fraction(journal.resume_point.frames + n, 25) for n in range(3))
    state = StreamState(SceneStart(0, (4, 6), (8, 12)), 2, journal.resume_point.frames + 3)
    journal.add_tail(Tail(path, times), state)


@pytest.mark.parametrize("segments", [0, 2])
def test_a_tail_is_continued_until_its_segment_is_complete(tmp_path: Path, segments: int) -> None:
    with Journal(tmp_path / "out.mkv", MARKS) as journal:
        for _ in range(segments):
            add(journal, 8)
        add_tail(journal)
    with Journal(tmp_path / "out.mkv", MARKS) as journal:
        point = journal.resume_point
        assert (journal.differs, point.segmented, point.frames) == ((), 8 * segments, 8 * segments + 3)
        assert journal.count_saved_frames() == point.frames
        assert point.tail is not None
        assert point.tail.times[-1] == Fraction(8 * segments + 2, 25)
        assert point.tail.path.stat().st_size == 50
        add(journal, 9)
        assert not point.tail.path.exists()
        assert journal.resume_point.tail is None


TAIL_EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "elsewhere": lambda c: c["tail"].update(name="../tail-16.raw"),
    "a word": lambda c: c.update(tail="tail-16.raw"),
    "no times": lambda c: c["tail"].update(times=[]),
    "one lost": lambda c: c["tail"]["times"].pop(),
    "other order": lambda c: c["tail"]["times"].reverse(),
    "too early": lambda c: c["tail"].update(times=["1/100", "1/50", "1/25"]),
    "lost": lambda c: c.update(tail=None),
    "not there": lambda c: c.pop("tail"),
    "another hash": lambda c: c["tail"].update(sha256=""),
}


@pytest.mark.parametrize("edit", TAIL_EDITS)
def test_a_changed_tail_is_not_believed(tmp_path: Path, edit: str) -> None:
    with Journal(tmp_path / "out.mkv", MARKS) as journal:
        add(journal, 8)
        add(journal, 8)
        add_tail(journal)
    change(tmp_path / "out.mkv", TAIL_EDITS[edit], sealed=True)
    starts_over(tmp_path / "out.mkv")


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "begin": lambda c: c["segments"][1].update(begin="1/25"),
    "begin before": lambda c: c["segments"][1].update(begin="0"),
    "begin no fraction": lambda c: c["segments"][1].update(begin="1e999999999"),
    "begin by nothing": lambda c: c["segments"][1].update(begin="1/0"),
    "begin a number": lambda c: c["segments"][1].update(begin=7),
    "twice": lambda c: c["segments"].append(c["segments"][1]),
    "one lost": lambda c: c["segments"].pop(),
    "other order": lambda c: c["segments"].reverse(),
    "frames": lambda c: c["segments"][0].update(frames=9),
    "frames negative": lambda c: c["segments"][0].update(frames=-8),
    "frames huge": lambda c: c["segments"][0].update(frames=10**400),
    "frames true": lambda c: c["segments"][0].update(frames=True),
    "frames words": lambda c: c["segments"][0].update(frames="8"),
    "place": lambda c: c.update(frame=16),
    "scene": lambda c: c.update(scene=1),
    "another name": lambda c: c["segments"][0].update(name="../out.mkv"),
    "a path": lambda c: c["segments"][0].update(name="/etc/passwd"),
    "nul": lambda c: c["segments"][0].update(name="\0"),
    "surrogate": lambda c: c["segments"][0].update(name="\ud800"),
    "name a list": lambda c: c["segments"][0].update(name=[]),
    "no parts": lambda c: c.update(segments=None),
    "parts a table": lambda c: c.update(segments={"0": 1}),
    "state elsewhere": lambda c: c["state"].update(name="../state-17.safetensors"),
    "state a word": lambda c: c.update(state="state-17.safetensors"),
    "state before": lambda c: c["state"].update(name="state-8.safetensors"),
    "format": lambda c: c.pop("format"),
    "fingerprint": lambda c: c.update(fingerprint=[]),
}


@pytest.mark.parametrize(
    ("edit", "sealed"), [(e, s) for e in EDITS for s in (False, True) if (e, s) != ("begin", True)]
)
def test_a_changed_journal_is_not_believed(result: Path, edit: str, sealed: bool) -> None:
    """Without the checksum nothing is, and with one what makes no sense is not."""
    change(result, EDITS[edit], sealed)
    starts_over(result)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", "NaN", '{"sha256": 1}', "[" * 200_000, '{"a":' * 100_000, "1" * 5000, "\0", "{"]
)
def test_what_is_no_journal_is_not_believed(result: Path, text: str) -> None:
    (folder_of(result) / JOURNAL).write_text(text)
    starts_over(result)


@pytest.mark.parametrize("name", ["000000.mkv", "000001.mkv", "state-17.safetensors", JOURNAL])
@pytest.mark.parametrize("harm", ["flip", "cut", "longer", "gone", "link", "hard link", "pipe", "device", "folder"])
def test_a_changed_file_is_not_believed(result: Path, name: str, harm: str) -> None:
    path = folder_of(result) / name
    content = bytearray(path.read_bytes())
    path.unlink()
    other = result.with_name("other")
    other.write_bytes(content)
    if harm == "flip":
        content[-30 if name == JOURNAL else len(content) // 2] ^= 1
        path.write_bytes(content)
    elif harm == "cut":
        path.write_bytes(content[:-1])
    elif harm == "longer":
        path.write_bytes(content + b"x")
    elif harm == "link":
        path.symlink_to(other)
    elif harm == "hard link":
        other.write_bytes(content[:-1] + b"?")
        path.hardlink_to(other)
    elif harm == "pipe":
        os.mkfifo(path)
    elif harm == "device":
        path.symlink_to("/dev/zero")
    elif harm == "folder":
        path.mkdir()
    if harm == "gone" and name == JOURNAL:
        with Journal(result, MARKS) as journal:
            assert (journal.resume_point.frames, journal.differs) == (0, ())
        return
    before = other.read_bytes()
    starts_over(result)
    assert other.read_bytes() == before


def test_a_folder_with_things_in_it_is_named(result: Path) -> None:
    inside = folder_of(result) / "000000.mkv"
    inside.unlink()
    inside.mkdir()
    (inside / "mine").touch()
    with pytest.raises(OutputError, match=r"000000\.mkv is a folder.* Remove it: .*000000\.mkv"):
        Journal(result, MARKS)
    with claim(result) as workspace:  # as --no-resume does
        assert workspace is not None
        workspace.discard()
        assert {p.name for p in workspace.folder.iterdir()} == {LOCK, "000000.mkv"}
    assert (inside / "mine").exists()


def test_only_names_of_its_own_are_removed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out.mkv")
    folder.mkdir()
    names = ["notes.txt", "000000.mkv.bak", "states", "film.mkv"]
    for name in names:
        (folder / name).touch()
    (folder / "000007.mkv").touch()
    with Journal(tmp_path / "out.mkv", MARKS) as journal:
        add(journal, 8)
        journal.remove()
    assert {p.name for p in folder.iterdir()} == set(names)


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "000000.mkv").write_text("mine")
    folder_of(tmp_path / "out.mkv").symlink_to(documents)
    for opened in (lambda path: Journal(path, MARKS), Workspace):
        with pytest.raises(OutputError, match=r"\.out\.mkv\.vrx, which is a link"):
            opened(tmp_path / "out.mkv")
    assert [p.name for p in documents.iterdir()] == ["000000.mkv"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path / "out.mkv").touch()
    with pytest.raises(OutputError, match="which is a file"):
        Workspace(tmp_path / "out.mkv")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_the_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path / "out.mkv").mkdir()
    os.chown(folder_of(tmp_path / "out.mkv"), 12345, 12345)
    with pytest.raises(OutputError, match="belongs to another user"):
        Workspace(tmp_path / "out.mkv")


@pytest.mark.parametrize("harm", ["link", "hard link", "pipe", "folder"])
def test_a_lock_that_is_no_plain_file_is_refused(tmp_path: Path, harm: str) -> None:
    other, folder = tmp_path / "other", folder_of(tmp_path / "out.mkv")
    other.write_text("mine")
    folder.mkdir()
    lock = folder / LOCK
    {"link": lambda: lock.symlink_to(other), "hard link": lambda: lock.hardlink_to(other),
     "pipe": lambda: os.mkfifo(lock), "folder": lock.mkdir}[harm]()  # fmt: skip
    with pytest.raises(OutputError, match="not a plain file"):
        Workspace(tmp_path / "out.mkv")
    assert other.read_text() == "mine"


def test_one_process_holds_a_result(tmp_path: Path) -> None:
    with Workspace(tmp_path / "out.mkv"), pytest.raises(OutputError, match="another vrx is writing"):
        Workspace(tmp_path / "out.mkv")
    assert list(tmp_path.iterdir()) == []


def test_what_kills_left_beside_the_result_is_cleared(tmp_path: Path) -> None:
    left = [".out.0123abcd.part.mkv", ".out.ffffffff.part.mkv"]
    others = [".out.0123abcd.part.mp4", ".out.x.part.mkv", "out.0123abcd.part.mkv", ".out2.0123abcd.part.mkv"]
    for name in left + others:
        (tmp_path / name).touch()
    (tmp_path / ".out.01234567.part").mkdir()
    (tmp_path / ".out.01234567.part" / "f_0001.png").touch()
    (tmp_path / ".out.89abcdef.part").touch()  # a file, which numbered pictures never leave
    with Workspace(tmp_path / "out.mkv") as workspace:
        assert {p.name for p in tmp_path.iterdir()} == {*others, ".out.89abcdef.part", workspace.folder.name}


def test_another_runs_partial_is_not_cleared(tmp_path: Path) -> None:
    with Workspace(tmp_path / "out.mkv"):
        partial = tmp_path / ".out.0123abcd.part.mkv"
        partial.touch()
        with pytest.raises(OutputError):
            Workspace(tmp_path / "out.mkv")
        assert partial.exists()


def test_a_disk_that_fills_while_the_state_is_written(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(result, MARKS) as journal:
        path = journal.segment_path(".mkv")
        path.write_bytes(b"part")
        monkeypatch.setattr(Path, "write_bytes", full)
        state = StreamState(SceneStart(0, (4, 6), (8, 12)), 2, 20, {"encode": {"x": torch.zeros(3)}})
        with pytest.raises(OutputError, match=r"No space left on device\. Free some space"):
            journal.add(Segment(path, 3, Fraction(1)), state)
    with Journal(result, MARKS) as journal:
        assert journal.resume_point.frames == 17
