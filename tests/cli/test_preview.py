"""`vrx preview`, and --preview of the restoring commands: words, files, events, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.forked import Forked

FAST = ("--device", "cpu", "--at", "0", "--length", "0.1")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_both_ways_to_ask_give_the_same_files(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv")
    for words in (
        ("preview", "upscale", "in.mkv", "-s", "2", "-o", "a.mkv"),
        ("preview", "-s", "2", "in.mkv", "-o", "b.mkv"),
        ("upscale", "in.mkv", "-s", "2", "-o", "c.mkv", "--preview"),
    ):
        done = vrx(*words, *FAST)
        assert done.returncode == 0, done.stderr
    for suffix in ("png", "mp4"):
        files = [(tmp_path / f"{name}.preview.{suffix}").read_bytes() for name in "abc"]
        assert files[0] == files[1] == files[2]
    assert (
        "a.preview.png and a.preview.mp4: 1 place, 3 frames, "
        in vrx("preview", "in.mkv", "-s", "2", "-o", "a.mkv", "-y", *FAST).stderr
    )


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["in.mkv"], "in.x4.preview.png"),
        (["in.mkv", "--sigma", "1.5"], "in.deblur.preview.png"),
        (["--height=100", "in.mkv"], "in.h100.preview.png"),
        (["in.mkv", "--box", "4,4,8,8"], "in.inpaint.preview.png"),
        (["deblur", "in.mkv"], "in.deblur.preview.png"),
        (["in.mkv", "-s2", "-o", "new/"], "new/in.x2.preview.png"),
        (["in.mkv", "-s2", "-o", "look.png"], "look.preview.png"),
        (["in.mkv", "-s2", "-o", "look.preview.png"], "look.preview.png"),
        (["in.mkv", "-s2", "-o", "{stem}-{task}.{ext}"], "in-x2.preview.png"),
    ],
)
def test_the_task_is_the_one_of_its_options(
    vrx: Command, clip: ClipMaker, tmp_path: Path, words: list[str], made: str
) -> None:
    clip("in.mkv", frames=2)
    done = vrx("preview", *words, "--device", "cpu", "--at", "0", "--length", "frame")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / made).exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("preview in.mkv -s 2 --sigma 1", "options of two tasks: -s of upscale and --sigma of deblur"),
        ("preview upscael in.mkv", "no task 'upscael'. Did you mean vrx preview upscale?"),
        ("preview deblur in.mkv -s 2", "no option -s. It is an option of vrx preview upscale. See: "),
        ("preview in.mkv --at 9", "--at 0:00:09.000 is past the end of in.mkv, which ends at 0:00:00.480"),
        ("preview in.mkv --at soon", "invalid time 'soon'"),
        ("preview in.mkv --at 0.1 --at 0:00.1", "--at names a place twice"),
        ("preview in.mkv " + " ".join(f"--at 0.{n:02}" for n in range(13)), "--at names 13 places. Name at most 12"),
        ("preview in.mkv --length 11", "--length 11 is out of range. Use up to 10 seconds, or frame"),
        ("preview in.mkv --length 0", "--length 0 is out of range"),
        ("preview in.mkv --length long", "invalid time 'long'"),
        ("preview in.mkv --vary strength", "--vary is 'strength'. Write OPTION=VALUE,VALUE with one of: scale, "),
        ("preview in.mkv --vary strengt=1,0", "--vary is 'strengt=1,0'. Did you mean strength?"),
        ("preview in.mkv --vary start=1,2", "--vary is 'start=1,2'"),
        ("preview in.mkv --vary sigma=1,2", "--vary is 'sigma=1,2'"),
        ("preview inpaint in.mkv --box 1,1,2,2 --vary box=1,1,2,2", "--vary is 'box=1,1,2,2'"),
        ("preview in.mkv --vary strength=,", "--vary strength has no values"),
        ("preview in.mkv --vary strength=1,1", "--vary gives strength 1 twice"),
        ("preview in.mkv --vary strength=1 --vary strength=0", "--vary names strength twice"),
        ("preview in.mkv --vary strength=0,1,.2,.3 --vary look=faithful,sharp --vary scale=2", None),
        ("preview in.mkv --vary strength=0,1,.2 --vary blend=0,1,.5", "--vary gives 9 choices. Compare at most 8"),
        ("preview in.mkv --vary strength=0,much", "--strength is 'much'. Use a number or auto"),
        ("preview in.mkv --vary grain=0,some", "--grain is 'some'. Use a number, keep or remove"),
        ("preview in.mkv --vary denoise=0,some", "--denoise is 'some'. Use a number, auto or off"),
        ("preview in.mkv --vary crf=18,much", "--crf is 'much'. Use a whole number"),
        ("preview in.mkv --vary look=soft,sharp", "--look is 'soft'. Choose faithful or sharp"),
        ("preview in.mkv --vary model=embedded,nothing", "unknown model 'nothing'"),
        ("preview in.mkv -o -", "a preview cannot be written to standard output. Name a file or a folder with -o"),
        ("preview in.mkv --until 06:30", "--until is for runs that a later one resumes, and previews are not"),
        ("upscale in.mkv --at 0", "--at is for previews. Add --preview, or remove it"),
        ("upscale in.mkv --vary strength=0,1", "--vary is for previews"),
        ("upscale in.mkv --length 2", "--length is for previews"),
    ],
)
def test_wrong_words_end_with_one_line(
    vrx: Command, clip: ClipMaker, tmp_path: Path, words: str, line: str | None
) -> None:
    clip("in.mkv")
    done = vrx(*words.split(), *(["--dry-run"] if line is None else []))
    if line is None:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == (4 if "model" in line else 2)
    assert done.stderr.startswith(f"vrx: {line}")
    assert done.stderr.count("\n") == 1
    assert names(tmp_path) == ["in.mkv"]


def test_variants_are_named_in_events_and_plan(vrx: Command, clip: ClipMaker) -> None:
    clip("in.mkv")
    words = ("preview", "in.mkv", "-s", "2", "--vary", "model=embedded,instavsr-small", *FAST)
    done = vrx(*words, "--dry-run", "--json")
    (plan,) = [json.loads(line) for line in done.stdout.splitlines() if '"plan"' in line]
    assert plan["model"] == "embedded, instavsr-small"
    assert plan["frames"] == 6
    done = vrx(*words, "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["type"] for event in found]
    assert kinds[0] == "opening"
    assert kinds[-2:] == ["previewed", "batch-finished"]
    assert kinds.count("started") == 1
    assert found[-2]["clip"] == "in.x2.preview.mp4"
    assert found[-2]["places"] == [0.0]
    assert found[-1] | {"input": ""} == {
        "type": "batch-finished", "input": "", "done": 1, "failed": 0, "skipped": 0, "exit_code": 0
    }  # fmt: skip


def test_prompts_may_hold_commas(vrx: Command, clip: ClipMaker) -> None:
    clip("in.mkv", frames=2)
    done = vrx("preview", "in.mkv", "--vary", 'encoder-args="-g 2, -bf 0",-g 3', "--vary", "crf= 18 ,x")
    assert done.stderr.startswith("vrx: --crf is 'x'")
    done = vrx("preview", "in.mkv", "--vary", 'prompt="a, b"', *FAST)
    assert done.returncode == 2
    assert "prompt" in done.stderr


def test_presets_beside_each_other(
    vrx: Command, clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vrx.cli import batch

    clip("in.mkv", frames=2)
    (tmp_path / ".vrx").mkdir()
    (tmp_path / ".vrx" / "config.toml").write_text(
        '[defaults]\ncrf = 30\npreset-name = "a"\n'
        '[presets.a]\nabout = "one"\nstrength = "0.2"\nblend = 0.5\n[presets.b]\nabout = "other"\nstrength = "0.7"\n'
    )
    seen = []
    monkeypatch.setattr(batch, "run", lambda words, template, options: seen.append(template))
    words = ("preview", "in.mkv", "-s", "2", "--vary", "preset-name=a,b,none")
    assert vrx(*words).returncode == 0
    assert vrx(*words, "--blend", "0.9").returncode == 0
    for template, blends in zip(seen, ((0.5, 1.0, 1.0), (0.9, 0.9, 0.9)), strict=True):
        variants = template.preview.variants
        assert [variant.name for variant in variants] == ["preset-name a", "preset-name b", "preset-name none"]
        assert [variant.restore.strength for variant in variants] == [0.2, 0.7, None]
        assert tuple(variant.restore.blend for variant in variants) == blends
        assert [variant.output.crf for variant in variants] == [30, 30, 30]
        assert [variant.restore.scale for variant in variants] == [2, 2, 2]
    assert "no preset 'c'" in vrx("preview", "in.mkv", "--vary", "preset-name=a,c").stderr


def test_a_batch(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.mkv", "b.mkv"):
        clip(f"in/{name}", frames=4)
    (tmp_path / "in" / "c.mp4").write_text("no video")
    words = ("preview", "in", "-s", "2", "--device", "cpu", "--length", "frame", "--at", "0.04")
    done = vrx(*words)
    assert done.returncode == 7
    assert "2 of 3 done" in done.stderr
    made = ["a.mkv", "a.x2.preview.png", "b.mkv", "b.x2.preview.png", "c.mp4"]
    assert names(tmp_path / "in") == made
    done = vrx(*words)  # previews are not taken for inputs
    assert done.returncode == 7
    assert "a.x2.preview.png exists" in done.stderr
    done = vrx(*words, "-n")
    assert "2 skipped, 1 failed" in done.stderr
    (tmp_path / "in" / "c.mp4").unlink()
    assert vrx(*words, "-n").returncode == 0
    done = vrx(*words[:-2], "--at", "9", "-y")
    assert done.returncode == 7
    assert done.stderr.count("is past the end of") == 4  # two lines, and two rows of the table
    assert names(tmp_path / "in") == [name for name in made if name != "c.mp4"]


def test_results_that_would_share_a_file_are_refused(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv")
    clip("b.mkv")
    done = vrx("preview", "a.mkv", "b.mkv", "-s", "2", "-o", "same.mp4")
    assert done.returncode == 2
    assert "cannot share the output same.preview.png" in done.stderr
    clip("a.preview.mp4", codec="libx264")
    done = vrx("preview", "a.preview.mp4", "-s", "2", "-o", "a.mp4", "-y")
    assert done.returncode == 2
    assert "the output a.preview.mp4 is the input a.preview.mp4" in done.stderr


def test_standard_input(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    content = clip("in.mkv", frames=4).read_bytes()
    done = vrx("preview", "-s", "2", *FAST, stdin=content)
    assert done.returncode == 2
    assert "cannot be written to standard output" in done.stderr
    done = vrx("preview", "-s", "2", "-o", "piped.mkv", *FAST, stdin=content)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path) == ["in.mkv", "piped.preview.mp4", "piped.preview.png"]
    assert "standard input: " in done.stderr
    assert "/tmp" not in done.stderr


def test_python_gives_the_command_s_bytes(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    import vrx as package
    from vrx.errors import UsageError

    clip("in.mkv")
    varied = ("--vary", "strength=0,1", "--vary", "look=faithful,sharp")
    done = vrx("preview", "in.mkv", "-s", "2", "-o", "a.mkv", "--threads", "1", *varied, *FAST)
    assert done.returncode == 0, done.stderr
    made = package.preview(
        tmp_path / "in.mkv", tmp_path / "b.mkv", scale=2, device="cpu", threads=1, at=[0], length="0.1",
        vary={"strength": [0, 1], "look": ["faithful", "sharp"]},
    )  # fmt: skip
    assert made.places == (Fraction(0),)
    assert made.path.read_bytes() == (tmp_path / "a.preview.png").read_bytes()
    assert made.clip is not None
    assert made.clip.read_bytes() == (tmp_path / "a.preview.mp4").read_bytes()
    for words in ({"task": "denoise"}, {"task": "deblur", "scale": 2}, {"vary": {"sigma": [1, 2]}}, {"length": 60}):
        with pytest.raises(UsageError):
            package.preview(tmp_path / "in.mkv", **words)


@pytest.mark.parametrize(
    ("varied", "code", "said"),
    [
        ("pix-fmt=yuv420p,yuv999", 2, "yuv999"),
        ("encoder-args=-g 2,-such 3", 2, "such"),
        ("scenes=auto,gone.txt", 3, "gone.txt"),
        ("codec=h264,prores_ks", 2, "prores_ks"),
    ],
)
def test_a_wrong_later_choice_is_found_before_the_first_is_restored(
    vrx: Command, clip: ClipMaker, tmp_path: Path, varied: str, code: int, said: str
) -> None:
    for name in ("a.mp4", "b.mp4"):
        clip(name, frames=2, codec="libx264")
    for sources in (("a.mp4",), ("a.mp4", "b.mp4")):
        done = vrx("preview", *sources, "-s", "2", "--vary", varied, "--json", *FAST)
        kinds = {json.loads(line)["type"] for line in done.stdout.splitlines()}
        assert done.returncode in (code, 7), done.stderr
        assert said in done.stderr
        assert "progress" not in kinds
    assert names(tmp_path) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_nothing(clip: ClipMaker, tmp_path: Path, number: signal.Signals) -> None:
    clip("in.mkv", frames=40, size=(160, 120))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {**os.environ, "VRX_HOME": str(tmp_path / ".vrx"), "TMPDIR": str(temporary)}
    words = ["preview", "in.mkv", "--json", "--device", "cpu", "--at", "0.4"]
    child = Forked(words, cwd=tmp_path, env=env, stdout=subprocess.PIPE)
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(json.loads(line))
        if lines[-1]["type"] == "progress":
            child.send_signal(number)
            break
    begin = time.monotonic()
    rest, stderr = child.communicate(timeout=60)
    assert time.monotonic() - begin < 30
    assert child.returncode == (130 if number is signal.SIGINT else 143), stderr
    (stopped,) = [event for event in map(json.loads, rest.splitlines()) if event["type"] == "stopped"]
    assert stopped["input"] == "in.mkv"
    assert (stopped["frames"], stopped["saved"]) == (35, 0)
    assert "frames. No frames saved; the same command starts again" in stderr.decode()
    assert names(tmp_path) == ["in.mkv", "tmp"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] in ([], [".vrx"])
    assert not list(temporary.iterdir())


def test_read_back(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mp4", frames=60, cuts=[30], codec="libx264", audio=True)
    done = vrx("preview", "in.mp4", "-s", "2", "--device", "cpu", "--length", "0.2")
    assert done.returncode == 0, done.stderr
    assert "showing 0:00:0" in done.stderr
    assert "(detail)" in done.stderr
    assert len(read(tmp_path / "in.x2.preview.mp4").frames) == 15
