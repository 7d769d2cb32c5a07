"""Where results go."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vrx.errors import OutputError, UsageError
from vrx.pipeline.paths import (
    Destination,
    check_folder,
    check_kind,
    find_destination,
    first_number,
    in_subfolder,
    make_folder,
)
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task


def job(source: str, output: str | None = None) -> Job:
    return Job(
        source=source,
        model=ModelSettings(),
        restore=RestoreSettings(task=Task.UPSCALE, scale=2),
        selection=SelectionSettings(),
        output=OutputSettings(path=output),
    )


def destination(source: str, output: str | None = None) -> Destination | None:
    return find_destination(job(source, output), Path(source), "embedded")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "output", "expected"),
    [
        ("d/a.mkv", None, "d/a.x2.mkv"),
        ("d/a.mkv", "new/", "new/a.x2.mkv"),
        ("d/a.mkv", "{task}/", "x2/a.x2.mkv"),
        ("d/{a}.mkv", "{stem}-{task}-{model}.{ext}", "{a}-x2-embedded.mkv"),
        ("d/a.mkv", "{{{stem}}}.mp4", "{a}.mp4"),
    ],
)
def test_names(source: str, output: str | None, expected: str) -> None:
    found = destination(source, output)
    assert found is not None
    assert found.path == Path(expected)


@pytest.mark.parametrize(
    "template",
    [
        "{stem.x}",
        "{stem[x]}",
        "{stem.__class__}",
        "{stem:>2000000000}",
        "{stem!r}",
        "{}",
        "{0}",
        "{what}",
        "{stem",
        "{stem }",
    ],
)
def test_fields_of_a_template_are_plain(template: str) -> None:
    with pytest.raises(UsageError, match="Known fields"):
        destination("a.mkv", f"{template}.mkv")


def test_a_percent_sign_in_a_source_makes_no_sequence(here: Path) -> None:
    (here / "r%03d x.png").touch()
    (here / "f_0007.png").touch()
    found = [
        destination("r%03d x.png"),
        destination("r%03d x.png", "{stem}.png"),
        destination("r%03d x.png", "o_%d.png"),
        destination("f_%04d.png"),
        destination("f_%04d.png", "new/"),
        destination("f_%04d.png", "{stem}.jpg"),
        destination("a.mkv", "o_%03d.png"),
        destination("p.jpg", "{stem}_%03d.{ext}"),
        destination("a.mkv", "o_%03d.mkv"),
    ]
    assert [one is not None and one.sequence for one in found] == [False, False, *[True] * 6, False]


def test_a_link_is_written_through(here: Path) -> None:
    (here / "live.mkv").touch()
    for name, target in (("to-live.mkv", "live.mkv"), ("dangling.mkv", "later.mkv")):
        (here / name).symlink_to(target)
        found = destination("a.mkv", name)
        assert found is not None
        assert found.path == here / target
    for name, target in (("other.mkv", "data.bin"), ("loop.mkv", "loop.mkv")):
        (here / name).symlink_to(target)
        with pytest.raises(OutputError, match="link to"):
            destination("a.mkv", name)


def test_only_plain_files_are_replaced(here: Path) -> None:
    os.mkfifo(here / "pipe.mkv")
    (here / "folder.mkv").mkdir()
    for name, said in (("pipe.mkv", "pipe or a device"), ("folder.mkv", "it is a folder")):
        with pytest.raises(OutputError, match=said):
            check_kind(Destination(here / name))
    with pytest.raises(OutputError, match="File name too long"):
        Destination(here / ("n" * 300 + ".mkv")).existing()


def test_a_folder_for_results_is_made_when_it_is_written_into(here: Path) -> None:
    found = destination("a.mkv", "new/deep/")
    assert found is not None
    check_folder(found)
    assert list(here.iterdir()) == []
    make_folder(found)
    assert (here / "new" / "deep").is_dir()
    (here / "file").touch()
    blocked = destination("a.mkv", "file/deep/")
    assert blocked is not None
    with pytest.raises(OutputError, match="is a file"):
        check_folder(blocked)
    (here / "file.mkv").touch()
    with pytest.raises(OutputError, match=r"file\.mkv is not a folder"):
        check_folder(Destination(here / "file.mkv" / "a.mkv"))
    with pytest.raises(OutputError, match="mkdir -p nowhere"):
        check_folder(Destination(Path("nowhere/a.mkv")))


def test_subfolders_are_kept_in_a_folder_for_results_only() -> None:
    assert in_subfolder(job("in/s/a.mkv", "out/"), "s").output.path == "out/s/"
    assert in_subfolder(job("in/s/a.mkv", "{stem}.mkv"), "s").output.path == "{stem}.mkv"
    assert in_subfolder(job("in/s/a.mkv"), "s").output.path is None


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, 1001),
        ({"start": Fraction(1, 24)}, 1002),
        ({"start": Fraction(1)}, 1025),
        ({"start": Fraction(1), "fps": Fraction(30)}, 1031),
    ],
)
def test_pictures_are_numbered_as_those_of_the_source(here: Path, selection: dict[str, Any], expected: int) -> None:
    for number in range(1001, 1040):
        (here / f"f_{number}.png").touch()
    assert first_number(Path("f_%04d.png"), SelectionSettings(**selection)) == expected
    assert first_number(Path("a.mkv"), SelectionSettings(**selection)) == 1
