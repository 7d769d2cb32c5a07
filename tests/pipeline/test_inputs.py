"""What the words of a command line stand for."""

from pathlib import Path

import pytest

from vrx.errors import UsageError
from vrx.pipeline.inputs import Choice, Expansion, Input, expand_inputs

PLAIN = Choice()


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def expand(*words: str, choice: Choice = PLAIN) -> Expansion:
    return expand_inputs(words, choice)


def names(expansion: Expansion) -> list[str]:
    return [found.source for found in expansion.inputs]


def test_a_folder_gives_its_media_in_natural_order_and_names_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "in", "clip10.mkv", "clip2.MP4", "tape.dv", "old.rm", ".hidden.mp4", "notes.txt", "sub/c.mkv")
    found = expand("in")
    assert names(found) == ["in/clip2.MP4", "in/clip10.mkv", "in/old.rm", "in/tape.dv"]
    assert [note.text for _, note in found.notes] == [
        "in: skipping files that are not videos or pictures: notes.txt",
        "in: skipping subfolders (sub); include them with -r",
    ]
    assert found.problems == ()


def test_a_recursive_folder_gives_the_place_of_each_input_and_not_what_goes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "in", "a.mkv", "s/b.mkv", "s/t/c.mkv", ".git/d.mkv", "out/e.mkv", "s/b.x2.mkv")
    (tmp_path / "in" / "s" / "loop").symlink_to(tmp_path / "in")
    found = expand("in", choice=Choice(recursive=True, beside=tmp_path / "in" / "out"))
    assert found.inputs == (Input("in/a.mkv"), Input("in/s/b.mkv", "s"), Input("in/s/t/c.mkv", "s/t"))
    assert [note.text.split(" (")[0] for _, note in found.notes] == [
        "in: skipping results of earlier runs",
        f"in: skipping {tmp_path}/in/out, the folder for results",
        "in: skipping links to folders: loop",
    ]


@pytest.mark.parametrize("word", ["in", "in/*"])
def test_results_are_left_out_beside_their_sources_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "in", "a.mkv", "a.x2.mp4", "a.x2.deblur.mp4", "alone.deblur.mp4")
    found = expand(word)
    assert names(found) == ["in/a.mkv", "in/alone.deblur.mp4"]
    assert "a.x2.deblur.mp4" in found.notes[0][1].text
    assert len(names(expand(word, choice=Choice(results=True)))) == 4
    assert names(expand("in/*.x2.mp4")) == ["in/a.x2.mp4"]


def test_brackets_of_a_folder_that_exists_are_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "[Grp] Show [1080p]", "e10.mkv", "e2.mkv", "._e2.mkv")
    assert names(expand("[Grp] Show [1080p]/*.mkv")) == ["[Grp] Show [1080p]/e2.mkv", "[Grp] Show [1080p]/e10.mkv"]
    assert names(expand(f"{tmp_path}/[Grp] Show [1080p]/e[2].mkv")) == [f"{tmp_path}/[Grp] Show [1080p]/e2.mkv"]


def test_a_percent_sign_in_a_folder_is_part_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "50%done", "f_0001.png")
    assert names(expand("50%done/f_%04d.png")) == ["50%done/f_%04d.png"]


def test_all_words_that_name_nothing_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.mkv", "empty/x.txt")
    (tmp_path / "broken.mkv").symlink_to("gone.mkv")
    found = expand(
        "a.mkv",
        "none.mkv",
        "https://example.com/in.mp4",
        "f_%03d.png",
        "*.avi",
        "empty",
        "broken.mkv",
        "n" * 300,
        "o.mp4",
    )
    assert names(found) == ["a.mkv"]
    said = [str(error) for _, error in found.problems]
    assert said[0] == "cannot read none.mkv: no such file"
    assert "vrx does not open addresses. Download it first" in said[1]
    assert "no such files" in said[2]
    assert "nothing matches" in said[3]
    assert "no videos or pictures in this folder" in said[4]
    assert "a link to a file that does not exist" in said[5]
    assert "File name too long" in said[6]
    assert said[7] == "cannot read o.mp4: no such file. To name the result, use -o: a.mkv -o o.mp4"
    assert all(int(error.exit_code) == 3 for _, error in found.problems)


@pytest.mark.parametrize("words", [["a.mkv", ""], [""], ["-", "-"]])
def test_empty_words_and_two_pipes_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        expand(*words)
