"""The real command on a terminal: something at once, one line in motion that fits, nothing left of it."""

import re
from pathlib import Path

from tests.cli.screen import Moment, Screen, press_ctrl_c, run_on_terminal
from tests.clips import ClipMaker
from tests.held import hold_encoder

NAME = "a-long-name-of-a-holiday-in-the-mountains.mkv"
RUNNING = re.compile(r"\d+%.* \d+/\d+")
FULL = re.compile(r"━.*\d+% .*\d+/\d+.* \d+\.\d (fps|s/frame) .*\d:\d\d")


def running(lines: list[str]) -> list[str]:
    """The lines in motion."""
    return [line for line in lines if RUNNING.search(line)]


def test_a_run_shows_progress_in_one_line_and_leaves_only_its_result(clip: ClipMaker, tmp_path: Path) -> None:
    columns = 50
    clip(NAME, frames=40, size=(64, 48))
    held = hold_encoder(tmp_path, size=500_000)  # of 740,000
    moment = Moment(lambda lines: any(FULL.search(line) for line in lines), lambda _: held.release())
    words = ("upscale", NAME, "-s", "2", "-o", "out.mkv")
    shown = run_on_terminal(tmp_path, columns, *words, moment=moment, held=held)
    assert shown.status == 0
    moving = [line for _, lines in shown.frames for line in running(lines)]
    assert moving
    for line in moving:
        assert len(line) <= columns - 3
        assert "…" in line
        assert "s.mkv" in line  # the end of the name says most
        assert "encode" not in line
    assert all(len(running(lines)) <= 1 for _, lines in shown.frames)
    assert "out.mkv: 40 frames, 1 scene, " in "".join(shown.screen.lines())
    assert not any("━" in line or "opening" in line for line in shown.screen.lines())
    assert shown.screen.cursor_shown


def test_something_is_shown_before_torch_is_there(clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv", frames=2)
    shown = run_on_terminal(tmp_path, 80, "upscale", "in.mkv", "-s", "2", "-o", "out.mkv")
    assert next(lines for _, lines in shown.frames if lines) == ["opening in.mkv"]
    assert shown.first("opening in.mkv") < shown.first("out.mkv: 2 frames") / 2


def test_a_stop_leaves_one_line_that_says_what_is_saved(clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv", frames=80, size=(64, 48))

    def begun(lines: list[str]) -> bool:
        return any(re.search(r" [1-9]\d*/80", line) for line in lines)

    held = hold_encoder(tmp_path, size=1_000_000)  # of 5,900,000
    moment = Moment(begun, press_ctrl_c)
    shown = run_on_terminal(tmp_path, 120, "upscale", "in.mkv", "-o", "out.mkv", moment=moment, held=held)
    assert shown.status == 130
    text = " ".join(shown.screen.lines())
    assert re.search(r"vrx: interrupted after \d+ of 80 frames\. No frames saved; the same command starts again", text)
    assert "━" not in text
    assert shown.screen.cursor_shown


def test_details_come_with_verbose(clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv", frames=20)
    held = hold_encoder(tmp_path, size=20_000)

    def detailed(lines: list[str]) -> bool:
        return any(re.search(r"scene 1 .*encode:\d", line) for line in lines)

    moment = Moment(detailed, lambda _: held.release())
    words = ("upscale", "in.mkv", "-s", "2", "-o", "out.mkv", "-v")
    assert run_on_terminal(tmp_path, 120, *words, moment=moment, held=held).status == 0


def test_the_screen_of_these_tests_knows_what_is_erased() -> None:
    screen = Screen(10)
    screen.feed("one\r\ntwo\x1b[31mx\x1b[0m\r\x1b[2Kthree\r\n\x1b[1A\x1b[2Kfour")
    assert screen.lines() == ["one", "four"]


def test_inputs_side_by_side_have_a_line_each_that_fits_80_columns(clip: ClipMaker, tmp_path: Path) -> None:
    for name in "ab":
        clip(f"{name}{NAME}", frames=120, size=(64, 48))
    words = ("upscale", f"a{NAME}", f"b{NAME}", "-s", "2", "-o", "out/", "--jobs", "2")
    held = hold_encoder(tmp_path)
    moment = Moment(lambda lines: len(running(lines)) == 2, lambda _: held.release())
    shown = run_on_terminal(tmp_path, 80, *words, moment=moment, held=held)
    assert shown.status == 0
    together = [moving for _, lines in shown.frames if len(moving := running(lines)) == 2]
    assert all(len(line) <= 77 and re.search(r"━|─", line) and "/120 frames" in line for line in together[-1])
    assert not any("━" in line or "opening" in line for line in shown.screen.lines())
    assert "2 of 2 done" in shown.screen.lines()
