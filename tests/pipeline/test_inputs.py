"""What the words of a command line stand for."""

import functools
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.forked import write_command
from tests.pipeline.jobs import make_job
from vrx import api
from vrx.errors import InputError, UsageError
from vrx.geometry import TargetSize, parse_box
from vrx.pipeline.addresses import address_hint
from vrx.pipeline.inputs import Choice, Expansion, Input, expand_inputs
from vrx.pipeline.paths import tag
from vrx.settings import RestoreSettings, Task

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


def test_the_mask_of_a_batch_is_no_input_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "in", "a.png", "logo.png", "s/b.png", "masks/1.png", "masks/2.png")
    found = expand("in", choice=Choice(mask=Path("in/logo.png")))
    assert names(found) == ["in/a.png"]
    assert "in: skipping in/logo.png, the mask" in [note.text for _, note in found.notes]
    assert names(expand("in/*.png", choice=Choice(mask=tmp_path / "in" / "logo.png"))) == ["in/a.png"]
    found = expand("in", choice=Choice(recursive=True, mask=Path("in/masks")))
    assert names(found) == ["in/a.png", "in/logo.png", "in/s/b.png"]
    assert [note.text for _, note in found.notes] == ["in: skipping in/masks, the mask"]
    for elsewhere in ("in/s/b.png", "else.png"):
        found = expand("in", choice=Choice(mask=Path(elsewhere)))
        assert names(found) == ["in/a.png", "in/logo.png"]
        assert not any("the mask" in note.text for _, note in found.notes)
    assert names(expand("in/logo.png", choice=Choice(mask=Path("in/logo.png")))) == ["in/logo.png"]  # as it is named


@pytest.mark.parametrize("word", ["in", "in/*"])
def test_what_the_command_writes_besides_results_is_no_input_and_not_said_to_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "in", "a.mkv", "b.mkv", "run.log", "page.html")
    found = expand(word, choice=Choice(written=(Path("in/run.log"), tmp_path / "in" / "page.html", Path("none.json"))))
    assert names(found) == ["in/a.mkv", "in/b.mkv"]
    assert found.notes == ()


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


@pytest.mark.parametrize(
    ("restore", "skipped"),
    [
        (RestoreSettings(task=Task.UPSCALE, scale=1), True),
        (RestoreSettings(task=Task.UPSCALE, scale=4), True),
        (RestoreSettings(task=Task.UPSCALE, scale=4, size=TargetSize(factor=1)), True),
        (RestoreSettings(task=Task.UPSCALE, scale=4, size=TargetSize(factor=2.5)), True),
        (RestoreSettings(task=Task.DEBLUR), True),
        (RestoreSettings(task=Task.INPAINT, boxes=(parse_box("0,0,2,2"),)), True),
        ("x264", False),
    ],
)
def test_results_have_the_names_that_runs_give_them(
    tmp_path: Path, restore: RestoreSettings | str, skipped: bool
) -> None:
    mark = restore if isinstance(restore, str) else tag(make_job("a.mkv", restore=restore))
    touch(tmp_path, "a.mkv", f"a.{mark}.mkv", f"a.{mark}.preview.png")
    assert len(names(expand(str(tmp_path)))) == (1 if skipped else 3)


@pytest.mark.parametrize("mark", ["h265", "1080x1920"])
def test_names_with_a_size_are_peoples_too_unless_they_are_those_of_previews(tmp_path: Path, mark: str) -> None:
    touch(tmp_path, "a.mkv", f"a.{mark}.mkv", f"a.{mark}.preview.png")
    assert len(names(expand(str(tmp_path)))) == 2


@pytest.mark.parametrize(
    ("mark", "size", "skipped"),
    [
        ("h96", (128, 96), True),
        ("w128", (128, 96), True),
        ("200x96", (128, 96), True),
        ("64x48", (64, 48), True),
        ("h96", (96, 128), False),  # of another shape
        ("96x54", (96, 54), False),
        ("32x24", (32, 24), False),  # smaller: a copy to look at
        ("h264", (128, 96), False),
        ("1x96", (128, 96), False),
    ],
)
def test_results_are_recognized_by_a_size_that_their_pictures_have(
    clip: ClipMaker, tmp_path: Path, mark: str, size: tuple[int, int], skipped: bool
) -> None:
    clip("a.mkv", frames=1, size=(64, 48))
    clip(f"a.{mark}.mkv", frames=1, size=size)
    for word in (str(tmp_path), f"{tmp_path}/*.mkv"):
        assert len(names(expand(word))) == (1 if skipped else 2)


def test_a_second_run_over_a_folder_leaves_results_of_a_size_alone(
    vrx: Command, clip: ClipMaker, tmp_path: Path
) -> None:
    for name in ("a.mkv", "b.mkv"):
        clip(name, frames=2, size=(64, 48))
    for words in (("--height", "96"), ("--width", "100"), ("--size", "90x90")):
        done = vrx("upscale", tmp_path, *words, "--device", "cpu")
        assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.mkv"))) == 2 + 3 * 2


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
    assert "vrx does not open addresses. Pipe it in: curl -fL https://example.com/in.mp4 | vrx upscale" in said[1]
    assert "no such files" in said[2]
    assert "nothing matches" in said[3]
    assert "no videos or pictures in this folder" in said[4]
    assert "a link to a file that does not exist" in said[5]
    assert "File name too long" in said[6]
    assert said[7] == "cannot read o.mp4: no such file. To name the result, use -o: a.mkv -o o.mp4"
    assert all(int(error.exit_code) == 3 for _, error in found.problems)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://a.b/c.mkv", "curl -fL https://a.b/c.mkv | vrx upscale - -o out.mp4"),
        ("https://a.b/c%20d.MP4?x=1&y=2", "curl -fL 'https://a.b/c%20d.MP4?x=1&y=2' | vrx upscale - -o out.mp4"),
        ("ftp://a.b/c.png", "curl -fL ftp://a.b/c.png | vrx upscale - -o out.png"),
        ("https://a.b/watch?v=x", "yt-dlp -o - 'https://a.b/watch?v=x' | vrx upscale - -o out.mp4"),
        ("https://a.b/live.m3u8", "ffmpeg -i https://a.b/live.m3u8 -c copy -f nut - | vrx upscale - -o out.mp4"),
        ("rtsp://cam/1", "ffmpeg -i rtsp://cam/1 -c copy -f nut - | vrx upscale - -o out.mp4"),
    ],
)
def test_an_address_is_refused_with_the_pipe_that_works(address: str, expected: str) -> None:
    assert address_hint(address, "upscale") == f"Pipe it in: {expected}"
    assert address_hint("file:///a%20b/c.mp4", "upscale") == "Name the file by its path: /a b/c.mp4"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("upscale",), "upscale"),
        (("deblur",), "deblur"),
        (("inpaint", "--mask", "m.png"), "inpaint"),
        (("deblur", "--preview"), "preview deblur"),
        (("preview",), "preview upscale"),
        (("preview", "deblur"), "preview deblur"),
    ],
)
def test_the_pipe_leads_to_the_command_that_was_given(words: tuple[str, ...], command: str, vrx: Command) -> None:
    done = vrx(*words, "https://a.b/c.mkv")
    assert done.returncode == 3
    assert done.stderr.endswith(f"Pipe it in: curl -fL https://a.b/c.mkv | vrx {command} - -o out.mp4\n")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("upscale", "in.mkv", "-o"), "-o"),
        (("preview", "in.mkv", "-o"), "-o"),
        (("mask", "in.mkv", "-o"), "-o"),
        (("compare", "in.mkv", "in.mkv", "-o"), "-o"),
        (("compare", "in.mkv", "in.mkv", "--html"), "--html"),
    ],
)
def test_no_result_goes_to_an_address(words: tuple[str, ...], option: str, vrx: Command, clip: ClipMaker) -> None:
    clip("in.mkv", frames=2)
    done = vrx(*words, "https://a.b/c.mkv")
    assert done.returncode == 2
    said = "cannot write https://a.b/c.mkv: vrx does not write to addresses. Name a file with"
    assert done.stderr.splitlines()[-1] == f"vrx: {said} {option}, and upload it when it is done"


@pytest.mark.parametrize("words", [("mask",), ("scenes",), ("info",), ("compare", "in.mkv")])
def test_commands_that_take_no_pipe_say_to_download(words: tuple[str, ...], vrx: Command) -> None:
    done = vrx(*words, "https://a.b/c.mkv")
    assert done.returncode == 3
    assert done.stderr == "vrx: cannot read https://a.b/c.mkv: vrx does not open addresses. Download it first\n"
    assert vrx(*words, "file:///a/c.mkv").stderr.endswith("Name the file by its path: /a/c.mkv\n")


def test_an_address_is_refused_in_python() -> None:
    with pytest.raises(InputError, match=r"https://a\.b/c\.mkv: vrx does not open addresses"):
        api.probe("https://a.b/c.mkv")


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that logs nothing."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_pipe_that_is_shown_works(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    """MP4 with its index at the end, and a picture, from a server."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "a b.mp4").write_bytes(clip("a.mp4", frames=3, codec="libx264", audio=True).read_bytes())
    (served / "p.png").write_bytes(clip("p.png", frames=1, codec="png", pix_fmt="rgb24").read_bytes())
    handler = functools.partial(Quiet, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, result, kinds in (("a%20b.mp4", "out.mp4", ["video", "audio"]), ("p.png", "out.png", ["video"])):
            done = vrx("upscale", f"http://127.0.0.1:{server.server_port}/{name}", "-o", "x.mp4")
            assert done.returncode == 3
            shown = done.stderr.strip().split("Pipe it in: ")[1]
            command = shown.replace("| vrx upscale", f"| {write_command(tmp_path)} upscale -s 2")
            subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True)
            assert read(tmp_path / result).kinds == kinds
        server.shutdown()


@pytest.mark.parametrize("words", [["a.mkv", ""], [""], ["-", "-"]])
def test_empty_words_and_two_pipes_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        expand(*words)
