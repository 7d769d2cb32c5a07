"""Everything that goes wrong: one clear line, the right status, nothing lost and nothing left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import traces
from tests.clips import ClipMaker, read, save_picture
from tests.conftest import EXAMPLES, Command
from tests.end_to_end.stopping import launch, stop_once_saved
from tests.forked import COMMAND, Forked, run
from tests.held import HeldEncoder, hold_encoder
from vrx.pipeline.resume import opening, writer
from vrx.pipeline.resume.writer import SEGMENT_FRAMES


def one_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("vrx: ")]
    assert len(lines) == 1, stderr
    assert "Traceback" not in stderr
    return lines[0]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["upscale", "none.mp4"], 3, "none.mp4: no such file"),
        (["upscale", "text.mp4"], 3, "text.mp4: truncated, damaged or not a video"),
        (["upscale", "empty.mp4"], 3, "empty.mp4: the file is empty"),
        (["upscale", "sound.mp4"], 3, "sound.mp4: no video stream (1 audio)"),
        (["upscale", "half.mp4"], 3, "half.mp4: truncated"),
        (["upscale", "clip.mkv", "-s", "17"], 2, "--scale 17 is out of range. Use 1 to 16"),
        (["upscale", "clip.mkv", "-o", "nowhere/out.mkv"], 6, "the folder nowhere does not exist"),
        (["upscale", "clip.mkv", "-o", "clip.mkv"], 2, "is the input"),
        (["upscale", "clip.mkv", "-o", "clip.mkv", "-y"], 2, "is the input"),
        (["upscale", "clip.mkv", "-o", "link.mkv", "-y"], 2, "is the input"),
        (["upscale", "clip.mkv", "-o", "there.mkv"], 6, "there.mkv exists"),
        (["upscale", "clip.mkv", "-o", "out.xyz"], 2, "unknown format: out.xyz"),
        (["upscale", "clip.mkv", "-o", "{what}.mkv"], 2, "unknown field in the output name"),
        (["upscale", "clip.mkv", "--codec", "cinepak9"], 2, "unknown codec"),
        (["upscale", "clip.mkv", "--codec", "vp9", "-o", "out.mov"], 2, "vp9 only supported in MP4"),
        (["upscale", "clip.mkv", "-o", "one.png"], 2, "one.png is a single image"),
        (["upscale", "clip.mkv", "--device", "cuda:77"], 5, "cuda:77 is not available"),
        (["upscale", "clip.mkv", "--dtype", "fp4"], 2, "--dtype is 'fp4'"),
        (["upscale", "clip.mkv", "--model", "nothing"], 4, "unknown model 'nothing'"),
        (["upscale", "clip.mkv", "--model", "clip.mkv"], 4, "clip.mkv"),
        (["upscale", "clip.mkv", "--start", "9"], 3, "no frames in the chosen part"),
        (["upscale", "clip.mkv", "--start", "2", "--end", "1"], 2, "--end is not after --start"),
        (["upscale", "clip.mkv", "--start", "soon"], 2, "invalid time 'soon'"),
        (["upscale", "clip.mkv", "--scenes", "none.csv"], 3, "cannot read the cut list"),
        (["upscale", "clip.mkv", "--progress", "loud"], 2, "--progress is 'loud'"),
        (["upscale", "clip.mkv", "--strength", "3"], 2, "--strength 3 is out of range"),
        (["upscale", "clip.mkv", "there.mkv", "-o", "one.mkv"], 2, "cannot share the output"),
        (["upscale", "nothing*.mp4"], 3, "nothing matches"),
        (["upscale", "a" * 300 + ".mkv"], 3, "File name too long"),
        (["info", "動" * 100 + ".mkv"], 3, "File name too long"),
        (["upscale", "clip.mkv", "-o", "動" * 100 + ".mkv"], 6, "File name too long"),
        (["upscale", "clip.mkv", "--scenes", "a" * 300], 3, "File name too long"),
        (["upscale", "hollow"], 3, "no videos or pictures in this folder"),
        (["deblur", "clip.mkv", "--sigma", "99"], 2, "sigma 99 is out of range"),
        (["deblur", "clip.mkv", "--sigma", "much"], 2, "--sigma is 'much'"),
        (
            ["deblur", "clip.mkv", "--prompt", "glasses"],
            2,
            "To get it (over 14.5 GB, for a GPU): vrx models pull instantvir-deblur",
        ),
        (["inpaint", "clip.mkv"], 2, "needs a mask"),
        (["inpaint", "clip.mkv", "-m", "none.png"], 3, "none.png: no such file"),
        (["inpaint", "clip.mkv", "-m", "square.png"], 2, "square.png is 32x32, the video is displayed at 64x48"),
        (["inpaint", "clip.mkv", "-m", "white.png"], 2, "all white"),
        (["inpaint", "clip.mkv", "-m", "hollow"], 2, "has no pictures"),
        (["info", "none.mp4"], 3, "no such file"),
        (["scenes", "text.mp4"], 3, "not a video"),
        (["models", "show", "nothing"], 4, "unknown model"),
        (["bench", "--size", "big"], 2, "--size is 'big'"),
    ],
)
def test_bad_words_and_files_get_one_line(
    vrx: Command, clip: ClipMaker, tmp_path: Path, words: list[str], status: int, said: str
) -> None:
    clip("clip.mkv", frames=3)
    clip("there.mkv", frames=2)
    if "half.mp4" in words:
        whole = clip("half.mp4", codec="mpeg4", frames=30)
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    if "sound.mp4" in words:
        sound_only(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("once upon a time " * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "hollow").mkdir()
    (tmp_path / "link.mkv").symlink_to(tmp_path / "clip.mkv")
    save_picture(tmp_path / "square.png", np.eye(32, dtype=np.uint8) * 255)
    save_picture(tmp_path / "white.png", np.full((48, 64), 255, np.uint8))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    done = vrx(*words)
    assert done.returncode == status, done.stderr
    assert said in one_line(done.stderr)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def sound_only(path: Path) -> None:
    import av

    with av.open(str(path), "w") as box:
        stream = box.add_stream("aac", rate=16000)
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        chunk.sample_rate = 16000
        box.mux(stream.encode(chunk))
        box.mux(stream.encode(None))


@pytest.mark.parametrize("words", [["upscale", "--no-such-option"], ["frobnicate"], ["upscale", "a.mkv", "-s", "two"]])
def test_usage_errors_end_with_two(vrx: Command, words: list[str]) -> None:
    done = vrx(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(vrx: Command) -> None:
    done = vrx("upscale", "none.mp4", "--debug")
    assert done.returncode == 3
    assert "Traceback" in done.stderr


def test_a_truncated_source_is_restored_as_far_as_it_goes_and_said(
    vrx: Command, clip: ClipMaker, tmp_path: Path
) -> None:
    whole = clip("whole.mkv", frames=100, size=(128, 96))
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = vrx("deblur", "cut.mkv", "--sigma", "1", "-q")
    assert done.returncode == 0, done.stderr
    assert "the video ends at" in done.stderr
    assert (tmp_path / "cut.deblur.mkv").exists()


def test_control_characters_in_names_do_not_reach_the_terminal(vrx: Command, tmp_path: Path) -> None:
    done = vrx("upscale", "evil\x1b[31m\n.mp4")
    assert done.returncode == 3
    assert "\x1b" not in done.stderr


def test_names_with_dashes_and_colons(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("plain.mkv", frames=2).rename(tmp_path / "-a:b.mkv")
    done = vrx("upscale", "-s", "2", "--", "-a:b.mkv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "-a:b.x2.mkv").exists()


def start(tmp_path: Path, *words: object, held: HeldEncoder) -> Forked:
    """The command on a long clip once it has begun to write, which an encoder does that has got some of it."""
    child = launch(tmp_path, *words, held=held)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob(".*.part*")):
        if child.poll() is not None or time.monotonic() > deadline:
            child.kill()  # or it would wait for its encoder
            raise AssertionError(child.communicate()[1].decode())
        time.sleep(0.05)
    return child


def encoders_in(folder: Path) -> list[int]:
    """Living ffmpeg processes at work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words, place = (entry / "cmdline").read_bytes(), (entry / "cwd").readlink()
        except OSError:
            continue
        if b"ffmpeg" in words and place.is_relative_to(folder):
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("words", [("models", "list"), ("upscale", "--help"), ("upscale", "in.mkv", "--json")])
def test_a_reader_that_has_exited_ends_the_run_as_sigpipe_would(
    clip: ClipMaker, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """In silence, with the status that shells give to what SIGPIPE ended, and nothing left behind."""
    clip("in.mkv", frames=2)
    reading, writing = os.pipe()
    os.close(reading)
    done = run(words, cwd=tmp_path, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to see child processes")
@pytest.mark.parametrize(
    ("number", "status", "stands_still"),
    [(signal.SIGINT, 130, False), (signal.SIGTERM, 143, True)],
)
def test_a_stopped_run_leaves_nothing_behind(
    clip: ClipMaker, tmp_path: Path, number: signal.Signals, status: int, stands_still: bool
) -> None:
    """One signal is enough, even where the encoder takes nothing more."""
    clip("long.mkv", frames=120, size=(64, 48))
    held = hold_encoder(tmp_path, size=4_500_000)  # of 8,800,000; an encoder looks ahead before it writes
    child = start(tmp_path, "upscale", "long.mkv", "-o", "stop-me.mp4", held=held)
    time.sleep(0.5)
    if stands_still:
        for encoder in encoders_in(tmp_path):
            os.kill(encoder, signal.SIGSTOP)
        time.sleep(1.5)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=20)
    assert child.returncode == status, stderr
    assert len([line for line in stderr.decode().splitlines() if line.startswith("vrx: ")]) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"long.mkv"}
    assert encoders_in(tmp_path) == []


@pytest.mark.parametrize(("number", "segment"), [(signal.SIGKILL, 16), (signal.SIGINT, SEGMENT_FRAMES)])
def test_the_same_command_goes_on_after_a_stop(
    vrx: Command, clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, segment: int
) -> None:
    for module in (opening, writer):
        monkeypatch.setattr(module, "SEGMENT_FRAMES", segment)
    frames = segment + 15
    clip("long.mkv", frames=frames, size=(48, 32), audio=True)
    words = ("upscale", "long.mkv", "-s", "2", "-o", "stop-me.mp4")
    child = launch(tmp_path, *words, held=hold_encoder(tmp_path, free=1), segment=segment)
    stderr = stop_once_saved(child, tmp_path / ".stop-me.mp4.vrx", 120, number)
    if number is signal.SIGINT:
        assert encoders_in(tmp_path) == []
        assert f"{segment} saved; the same command resumes there" in stderr.decode()
    assert {p.name for p in tmp_path.iterdir()} == {"long.mkv", ".stop-me.mp4.vrx"}
    done = vrx(*words)
    assert done.returncode == 0, done.stderr
    assert f"resuming after {segment} frames of an earlier run" in done.stderr
    assert f"{frames} frames ({segment} from an earlier run)" in done.stderr
    result = read(tmp_path / "stop-me.mp4")
    assert [round(float(t) * 1000) for t in result.times] == [40 * i for i in range(frames)]
    assert result.kinds == ["video", "audio"]
    assert {p.name for p in tmp_path.iterdir()} - {".vrx", ".hub"} == {"long.mkv", "stop-me.mp4"}


def test_a_full_disk_is_said_and_nothing_is_published(clip: ClipMaker, tmp_path: Path) -> None:
    """A file size limit stands for a small disk: the kernel refuses the encoder's writes either way."""
    clip("clip.mkv", frames=12, size=(160, 120))
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)); "
    )
    words = ["upscale", "clip.mkv", "--codec", "ffv1", "-o", "out.mkv", "-q"]
    done = run(words, cwd=tmp_path, program=limit + COMMAND)
    assert done.returncode == 6, done.stderr
    assert "cannot write out.mkv" in one_line(done.stderr)
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mkv"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk(vrx: Command, clip: ClipMaker, small_disk: Path) -> None:
    clip("clip.mkv", frames=12, size=(160, 120))
    done = vrx("upscale", "clip.mkv", "--codec", "ffv1", "-o", small_disk / "out.mkv", "-q")
    assert done.returncode == 6, done.stderr
    line = one_line(done.stderr)
    assert "No space left" in line
    assert "Free some space" in line
    assert list(small_disk.iterdir()) == []


def test_a_closed_pipe_ends_quietly(clip: ClipMaker, tmp_path: Path) -> None:
    clip("clip.mkv", frames=200, size=(160, 120))
    words = ["deblur", "clip.mkv", "--sigma", "1", "-o", "-", "-q"]
    child = Forked(words, cwd=tmp_path, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read(100)
    child.stdout.close()
    assert child.wait(60) != 0
    assert child.stderr is not None
    assert b"Traceback" not in child.stderr.read()
    child.stderr.close()


def test_the_sample_mask_fits_the_sample_clip(vrx: Command, tmp_path: Path) -> None:
    done = vrx("inpaint", EXAMPLES / "flower-marked.mp4", "-m", EXAMPLES / "mask.png", "-o", "o.mp4", "--frames", "3")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("number", "complete"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
def test_the_trace_of_a_run_that_was_ended_opens(
    clip: ClipMaker, tmp_path: Path, number: signal.Signals, complete: bool
) -> None:
    clip("long.mkv", frames=120, size=(64, 48))
    held = hold_encoder(tmp_path, size=4_500_000)  # of 8,800,000; an encoder looks ahead before it writes
    child = start(tmp_path, "upscale", "long.mkv", "-o", "stop-me.mp4", "--trace", "t.json", held=held)
    deadline = time.monotonic() + 60
    while "decode chunk" not in ((tmp_path / "t.json").read_text() if (tmp_path / "t.json").exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(number)
    child.communicate(timeout=20)
    events = traces.events_of(tmp_path / "t.json")
    spans = traces.check(events, complete=False)
    assert "decode chunk" in spans["vrx decode"]
    assert (events[-1]["name"] == "end of the trace") == complete


DASHED = "vrx: -dash.mkv is read as options. For the file of that name: ./-dash.mkv, or -dash.mkv after --\n"


@pytest.mark.parametrize(
    "words",
    [
        *(("upscale",), ("upscale", "-n"), ("restore", "-o", "out.mkv"), ("deblur",), ("inpaint", "--box", "1,1,5,5")),
        *(("preview",), ("preview", "deblur"), ("info",), ("scenes",), ("mask",), ("compare", "./-dash.mkv")),
    ],
)
def test_a_file_whose_name_starts_with_a_dash_is_explained(
    words: tuple[str, ...], vrx: Command, clip: ClipMaker
) -> None:
    clip("-dash.mkv", frames=2)
    done = vrx(*words, "-dash.mkv")
    assert (done.returncode, done.stderr) == (2, DASHED)
    plan = ("--dry-run",) if words[0] in ("upscale", "restore", "deblur", "inpaint", "preview") else ()
    for name in (("./-dash.mkv",), ("--", "-dash.mkv")):
        done = vrx(*words, *plan, *name)
        assert done.returncode == 0, done.stderr


def test_a_value_that_starts_with_a_dash_is_a_value(vrx: Command, clip: ClipMaker) -> None:
    clip("-dash.mkv", frames=2)
    assert vrx("upscale", "./-dash.mkv", "-o", "-dash.mkv", "-y").stderr.startswith("vrx: the output -dash.mkv is the")
    done = vrx("upscale", "--", "-dash.mkv", "-o", "out.mkv")
    assert (done.returncode, done.stderr) == (
        2,
        "vrx: -o is read as an input, as it is after --. Put options before --\n",
    )


def test_a_word_is_an_option_or_a_long_value_first(vrx: Command, clip: ClipMaker) -> None:
    """Files may be called as options are, and a text longer than any name is no file."""
    for name in ("-y", "-"):
        clip("in.mkv", frames=2).rename(clip.folder / name)
    clip("in.mkv", frames=2)
    assert vrx("upscale", "in.mkv", "-y", "--dry-run").returncode == 0
    assert "is read as options" not in vrx("upscale", "-", "--dry-run").stderr
    done = vrx("upscale", "in.mkv", "--prompt=" + "long " * 200)
    assert done.stderr.startswith("vrx: model embedded does not take a prompt")
    assert vrx("upscale", "in.mkv", "--unknown=" + "long " * 200).stderr.startswith("vrx: no option --unknown")


def test_commands_that_are_suggested_name_files_as_files(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("-dash.mkv", frames=2)
    done = vrx("mask", "--write-empty", "--", "-dash.mkv")
    assert "vrx inpaint ./-dash.mkv --mask ./-dash.mask.mkv" in done.stderr
    assert vrx("compare", "--html", "page.html", "--", "-dash.mkv", "-dash.mkv").returncode == 0
    assert "vrx compare ./-dash.mkv ./-dash.mkv" in (tmp_path / "page.html").read_text()
