"""`--html` after a run: the source as the run read it, beside the result."""

import json
import re
from pathlib import Path

import pytest

from tests.clips import ClipMaker, write_interlaced
from tests.conftest import Command


def page_data(path: Path) -> dict[str, list[float]]:
    """What the script of a page gets."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text())
    assert found is not None
    return json.loads(found.group(1))


def test_a_page_shows_the_part_that_was_restored_and_the_command(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv", frames=12)
    words = ("upscale", "in.mkv", "-s", "2", "--start", "0.16", "--frames", "5", "-o", "out.mkv")
    done = vrx(*words, "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "wrote page.html"
    text = (tmp_path / "page.html").read_text()
    assert f"<code>vrx {' '.join(words)} --html page.html</code>" in text
    assert "source and result compared" in text
    data = page_data(tmp_path / "page.html")
    assert data["numbers"] == [0, 1, 2, 3, 4]
    psnr = data["lines"]["psnr"]["1"]  # type: ignore[call-overload]
    assert min(psnr) > 25  # of soft blobs; beside other frames of the pan it would be less
    again = vrx(*words, "-n", "--html", "page.html")
    assert again.returncode == 0, again.stderr
    assert "skipped" in again.stderr


def test_the_source_is_read_as_the_run_read_it(vrx: Command, tmp_path: Path) -> None:
    """A frame of each field: as many of the source as of the result, and none left over."""
    write_interlaced(tmp_path / "in.mkv", True)
    words = ("upscale", "in.mkv", "-s", "2", "--deinterlace", "double", "-o", "out.mkv", "--json")
    done = vrx(*words, "--html", "page.html")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    frames = next(event["frames"] for event in found if event["type"] == "finished")
    assert len(page_data(tmp_path / "page.html")["numbers"]) == frames
    assert "frames-left-over" not in {event.get("code") for event in found}
    assert found[-1]["code"] == "page-written"
    assert "a part, or frames made of fields" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a.mkv", "b.mkv"), "--html is for one input. Name one, or compare later"),
        (("a.mkv", "--preview"), "--html is for runs, and this is a preview"),
        (("a.mkv", "-o", "-"), "--html and pipes are mutually exclusive"),
    ],
)
def test_what_has_no_page_is_refused_before_work(
    vrx: Command, clip: ClipMaker, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    for name in ("a.mkv", "b.mkv"):
        clip(name, frames=1)
    done = vrx("upscale", *words, "--html", "page.html")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "page.html").exists()


def test_an_existing_page_is_refused_before_work(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=1)
    (tmp_path / "page.html").touch()
    done = vrx("upscale", "a.mkv", "--html", "page.html")
    assert (done.returncode, "page.html exists" in done.stderr) == (2, True)
    assert not (tmp_path / "a.x4.mkv").exists()
