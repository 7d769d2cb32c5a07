"""The real command on real files."""

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tests import forked
from tests.clips import ClipMaker, read, tones, write_interlaced
from tests.conftest import EXAMPLES, ROOT, Command
from vrx.media.ffmpeg import FFmpegProcess

VARIABLE = [0, 40, 80, 200, 240, 410]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_upscale_keeps_frames_times_and_sound(vrx: Command, clip: ClipMaker, tmp_path: Path, scale: int) -> None:
    path = clip(times=VARIABLE, audio=True)
    done = vrx("upscale", path, "-s", scale, "-o", "out.mkv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    result = read(tmp_path / "out.mkv")
    assert result.frames.shape == (6, 48 * scale, 64 * scale, 3)
    assert [float(t) for t in result.times] == [t / 1000 for t in VARIABLE]
    assert result.kinds == ["video", "audio"]
    assert result.pix_fmt == "yuv420p"


def test_results_stand_beside_their_inputs_with_the_task_in_the_name(
    vrx: Command, clip: ClipMaker, tmp_path: Path
) -> None:
    clip("a.mp4", codec="mpeg4", frames=3)
    shutil.copy(EXAMPLES / "mask.png", tmp_path)
    assert vrx("upscale", "a.mp4", "-s", "2").returncode == 0
    assert vrx("deblur", "a.mp4", "--sigma", "1").returncode == 0
    clip("b.mkv", size=(320, 180), frames=2)
    assert vrx("inpaint", "b.mkv", "--mask", "mask.png").returncode == 0
    names = {p.name for p in tmp_path.iterdir()}
    assert {"a.x2.mp4", "a.deblur.mp4", "b.inpaint.mkv"} <= names


def test_upscaling_beats_bicubic_on_a_real_clip(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    import torch
    import torch.nn.functional as F

    from tests.clips import Read
    from vrx.networks.embedded.classical import bicubic

    truth = read(EXAMPLES / "flower.mp4").frames[:6, :176]
    x = torch.from_numpy(truth).permute(0, 3, 1, 2).float() / 255
    low = (F.interpolate(x, scale_factor=0.5, mode="bicubic", antialias=True).clamp(0, 1) * 255).round()
    write_rgb(tmp_path / "low.mkv", low.permute(0, 2, 3, 1).byte().numpy())
    done = vrx("upscale", "low.mkv", "-s", "2", "--codec", "ffv1", "-o", "out.mkv")
    assert done.returncode == 0, done.stderr
    found: Read = read(tmp_path / "out.mkv")
    assert found.pix_fmt in ("bgr0", "gbrp")
    plain = bicubic(low / 255, 2).permute(0, 2, 3, 1).numpy().clip(0, 1) * 255
    ours = ((found.frames.astype(float) - truth) ** 2).mean()
    theirs = ((plain - truth) ** 2).mean()
    assert 10 * np.log10(theirs / ours) > 0.5


def write_rgb(path: Path, frames: np.ndarray) -> None:
    import av

    with av.open(str(path), "w") as box:
        stream = box.add_stream("ffv1", rate=24)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        for picture in frames:
            box.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        box.mux(stream.encode(None))


def test_inpainting_leaves_known_pixels_untouched(vrx: Command, tmp_path: Path) -> None:
    source = read(EXAMPLES / "flower-marked.mp4").frames[:5]
    write_rgb(tmp_path / "in.mkv", source)
    done = vrx("inpaint", "in.mkv", "-m", EXAMPLES / "mask.png", "--dilate", "2", "--codec", "ffv1", "-o", "out.mkv")
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "out.mkv").frames
    clean = read(EXAMPLES / "flower.mp4").frames[:5]
    mask = read(EXAMPLES / "mask.png").frames[0][..., 0] > 0
    changed = (found != source).any(-1).any(0)
    grown = np.zeros_like(mask)
    ys, xs = np.nonzero(mask)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            grown[np.clip(ys + dy, 0, 179), np.clip(xs + dx, 0, 319)] = True
    assert not (changed & ~grown).any()
    before = np.abs(source.astype(int) - clean)[:, mask].mean()
    after = np.abs(found.astype(int) - clean)[:, mask].mean()
    assert after < before / 4


def test_a_box_is_filled_in_its_time(vrx: Command, tmp_path: Path) -> None:
    source = read(EXAMPLES / "flower.mp4").frames[:4]
    write_rgb(tmp_path / "in.mkv", source)
    done = vrx("inpaint", "in.mkv", "--box", "40,20,10%,30@0.05-", "--codec", "ffv1", "-o", "out.mkv")
    assert done.returncode == 0, done.stderr
    changed = (read(tmp_path / "out.mkv").frames != source).any(-1)
    inside = np.zeros(source.shape[1:3], bool)
    inside[20:50, 40:72] = True
    assert not changed[:, ~inside].any()
    assert [bool(frame.any()) for frame in changed] == [False, False, True, True]


def test_deblur_says_what_it_found(vrx: Command, tmp_path: Path) -> None:
    import torch

    from vrx.networks.embedded.classical import KERNEL_RADIUS, gaussian, separable

    sharp = read(EXAMPLES / "flower.mp4").frames[:4]
    x = torch.from_numpy(sharp).permute(0, 3, 1, 2).float()
    blurred = separable(x, gaussian(2.0, KERNEL_RADIUS, x)).round().byte().permute(0, 2, 3, 1).numpy()
    write_rgb(tmp_path / "in.mkv", blurred)
    done = vrx("deblur", "in.mkv", "--codec", "ffv1", "-o", "out.mkv")
    assert done.returncode == 0, done.stderr
    words = next(line for line in done.stderr.splitlines() if "scene 1: " in line)
    assert 1.5 <= float(words.split("blur ")[1].split(" px")[0]) <= 2.7
    assert "(Gaussian)" in words
    found = read(tmp_path / "out.mkv").frames.astype(float)
    assert ((found - sharp) ** 2).mean() < ((blurred - sharp.astype(float)) ** 2).mean()


def test_interlaced_video_is_made_whole_but_for_inpainting(vrx: Command, tmp_path: Path) -> None:
    write_interlaced(tmp_path / "tape.mkv", flagged=True)
    done = vrx("upscale", "-i", "tape.mkv", "-s", "2", "-n", "-o", "whole.mkv")
    assert done.returncode == 0, done.stderr
    assert "source is interlaced; deinterlaced first" in done.stderr
    result = read(tmp_path / "whole.mkv").frames.astype(float)
    assert len(result) == 7
    assert np.abs(result[:, 2:-2] - (result[:, :-4] + result[:, 4:]) / 2).mean() < 4  # no combs
    mask = np.zeros((1, 64, 96, 3), np.uint8)
    mask[:, 20:30, 20:30] = 255
    write_rgb(tmp_path / "mask.mkv", mask)
    plan = vrx("inpaint", "tape.mkv", "--mask", "mask.mkv", "--dry-run", "--json")
    assert "stays so; to deinterlace: --deinterlace on" in plan.stdout


@pytest.mark.parametrize(
    ("mode", "filters", "rate", "count"),
    [
        ("double", "testsrc2=size=64x48:rate=50,interlace=scan=bff", Fraction(50), 50),
        ("film", "testsrc2=size=64x48:rate=24000/1001,telecine=pattern=23", Fraction(24_000, 1001), 24),
    ],
)
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.avi"])
def test_fields_become_frames_with_the_sound_in_step(
    vrx: Command, tmp_path: Path, mode: str, filters: str, rate: Fraction, count: int, name: str
) -> None:
    seconds = count / rate
    source = ["-f", "lavfi", "-i", f"{filters},setparams=field_mode=bff", "-f", "lavfi", "-i", "sine=500:duration=1.5"]
    coded = ["-c:v", "libx264", "-crf", "8", "-flags", "+ildct+ilme", "-c:a", "ac3", "-t", str(float(seconds))]
    FFmpegProcess(["-y", *source, *coded, str(tmp_path / "in.mkv")]).finish()
    done = vrx("upscale", "in.mkv", "-s", "2", "--deinterlace", mode, "-o", name)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / name)
    assert len(found.times) == count
    begin = found.times[0]
    assert max(abs(time - begin - number / rate) for number, time in enumerate(found.times)) <= Fraction(1, 500)
    sounds = tones(tmp_path / name)
    start, end = sounds[0][1], sounds[-1][2]
    assert abs(start - float(begin)) < 1 / rate + 0.001  # AVI shows a first frame one later
    assert abs(end - start - float(seconds)) < 0.04
    plan = json.loads(vrx("upscale", "in.mkv", "-s", "2", "--deinterlace", mode, "--dry-run", "--json").stdout)
    assert plan["frames"] in (count, count + 1)


def test_the_same_run_gives_the_same_bytes(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    path = clip(frames=9)
    for name in ("a.mkv", "b.mkv"):
        assert vrx("upscale", path, "-s", "2", "--codec", "ffv1", "-o", name).returncode == 0
    assert np.array_equal(read(tmp_path / "a.mkv").frames, read(tmp_path / "b.mkv").frames)


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (["--start", "0.2"], [0, 40, 210]),
        (["--end", "0.1"], [0, 40, 80]),
        (["--frames", "2"], [0, 40]),
        (["--start", "0.08", "--frames", "2"], [0, 120]),
    ],
)
def test_a_part_starts_at_zero(
    vrx: Command, clip: ClipMaker, tmp_path: Path, words: list[str], times: list[int]
) -> None:
    path = clip(times=VARIABLE, audio=True)
    done = vrx("deblur", path, "--sigma", "1", "-o", "out.mkv", *words)
    assert done.returncode == 0, done.stderr
    assert [float(t * 1000) for t in read(tmp_path / "out.mkv").times] == pytest.approx(times)


def test_pipes_in_and_out(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    path = clip("a.mp4", codec="mpeg4", frames=5, audio=True)
    with (tmp_path / "out.mkv").open("wb") as out, path.open("rb") as source:
        done = forked.run(["upscale", "-s", "2"], stdin=source.fileno(), stdout=out.fileno(), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    result = read(tmp_path / "out.mkv")
    assert result.frames.shape == (5, 96, 128, 3)
    assert result.kinds == ["video", "audio"]


def test_stills_and_sequences(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("photo.png", codec="png", pix_fmt="rgb24", frames=1, size=(51, 33))
    assert vrx("upscale", "photo.png", "-s", "3").returncode == 0
    assert read(tmp_path / "photo.x3.png").frames.shape == (1, 99, 153, 3)
    for number in range(1, 7):
        clip(f"f_{number:04d}.png", codec="png", pix_fmt="rgb24", frames=1)
    done = vrx("upscale", "f_%04d.png", "-s", "2", "-o", "big_%04d.png")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("big_*.png"))) == 6
    assert vrx("upscale", "f_%04d.png", "-s", "2", "-o", "big.mp4").returncode == 0
    assert len(read(tmp_path / "big.mp4").frames) == 6


def test_a_batch_goes_on_after_a_failure(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=2)
    clip("c.mkv", frames=2)
    (tmp_path / "b.mkv").write_text("no video")
    (tmp_path / "results").mkdir()
    done = vrx("upscale", "a.mkv", "b.mkv", "c.mkv", "-s", "2", "-o", "results")
    assert done.returncode == 7
    assert {p.name for p in (tmp_path / "results").iterdir()} == {"a.x2.mkv", "c.x2.mkv"}
    assert "2 of 3 done" in done.stderr
    assert sum("b.mkv" in line and "cannot read" in line for line in done.stderr.splitlines()) >= 1


def test_a_folder_is_a_batch_without_its_own_results(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    ClipMaker(folder)("a.mkv", frames=2)
    for _ in range(2):
        assert vrx("upscale", "in", "-s", "2", "-y").returncode == 0
    assert {p.name for p in folder.iterdir()} == {"a.mkv", "a.x2.mkv"}


def test_output_templates(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=2)
    assert vrx("upscale", "a.mkv", "-s", "2", "-o", "{stem}-{task}-{model}.{ext}").returncode == 0
    assert (tmp_path / "a-x2-embedded.mkv").exists()


def test_a_dry_run_writes_nothing(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=30)
    done = vrx("upscale", "a.mkv", "--codec", "h264", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "256x192" in done.stdout
    again = vrx("upscale", "a.mkv", "-s", "2", "--dry-run")  # whose notes stand in the plan, not beside it too
    assert ("FFV1 stays FFV1" in again.stdout, again.stderr) == (True, "")
    lines = vrx("upscale", "a.mkv", "-s", "2", "--dry-run", "--json").stdout.splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["note", "plan"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]
    plan = json.loads(vrx("upscale", "a.mkv", "--codec", "h264", "--dry-run", "--json").stdout)
    assert (plan["type"], plan["frames"], plan["target_size"]) == ("plan", 30, [256, 192])


def test_json_lines_begin_and_end_a_run(vrx: Command, clip: ClipMaker) -> None:
    clip("a.mkv", frames=40, cuts=[20])
    done = vrx("upscale", "a.mkv", "-s", "2", "--codec", "h264", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [line["type"] for line in lines]
    assert kinds[:2] == ["opening", "started"]
    assert kinds[-2:] == ["finished", "batch-finished"]
    scenes = [line for line in lines if line["type"] == "scene" and not line["soft"]]
    assert [(line["number"], line["frame"]) for line in scenes] == [(1, 0), (2, 20)]
    assert lines[-2]["frames"] == 40
    assert lines[-1] == {"type": "batch-finished", "input": "", "done": 1, "failed": 0, "skipped": 0, "exit_code": 0}
    assert done.stderr == ""


def test_quiet_says_nothing(vrx: Command, clip: ClipMaker) -> None:
    clip("a.mkv", frames=2)
    done = vrx("upscale", "a.mkv", "-s", "2", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_scenes_as_table_csv_and_json(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("a.mkv", frames=60, cuts=[20, 40], times=[40 * i + (i > 25) * 300 for i in range(60)])
    rows = vrx("scenes", "a.mkv", "--csv").stdout.splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["0", "20", "40"]
    parsed = [json.loads(line) for line in vrx("scenes", "a.mkv", "--json").stdout.splitlines()]
    assert [(s["start"], s["end"]) for s in parsed] == [(0, 20), (20, 40), (40, 60)]
    assert "end (exclusive)" in vrx("scenes", "a.mkv").stdout
    (tmp_path / "cuts.csv").write_text("\n".join(rows))
    done = vrx("upscale", "a.mkv", "-s", "2", "--scenes", "cuts.csv", "--json")
    assert done.stdout.count('"soft": false') == 3
    done = vrx("upscale", "a.mkv", "-s", "2", "--scenes", "off", "--json", "-y")
    assert done.stdout.count('"soft": false') == 1


def test_info_models_and_doctor(vrx: Command, clip: ClipMaker) -> None:
    clip("a.mkv", frames=5, audio=True)
    assert "64x48, yuv420p" in vrx("info", "a.mkv").stdout
    told = json.loads(vrx("info", "a.mkv", "--json", "--scenes").stdout)
    assert told["video"]["size"] == [64, 48]
    assert told["scenes"] == 1
    names = [json.loads(line)["name"] for line in vrx("models", "list", "--json").stdout.splitlines()]
    assert names[0] == "embedded"
    shown = vrx("models", "show", "embedded").stdout
    assert "all three tasks" in shown
    assert "trained" in shown
    assert vrx("models", "show", "nothing").returncode == 4
    checks = [json.loads(line) for line in vrx("doctor", "--json").stdout.splitlines()]
    assert all(check["good"] for check in checks if check["needed"])


def test_bench_measures_every_stage(vrx: Command) -> None:
    done = vrx("bench", "--size", "128x96", "--frames", "8", "--json", "--dtype", "fp32")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)["rows"][0]
    assert set(row["stage_fps"]) == {"read", "encode", "generate", "decode", "write"}
    assert 0 < row["fps"] < row["floor_fps"]
    assert row["memory"] > 10**8


def test_help_is_quick_and_imports_no_torch(vrx: Command) -> None:
    import subprocess
    import sys

    from tests.conftest import ROOT

    heavy = ("torch", "av", "scenedetect", "cv2")
    code = f"import sys; from vrx.cli import app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
    for command in ("upscale", "deblur", "inpaint", "info", "scenes", "models", "bench", "doctor"):
        assert vrx(command, "--help").returncode == 0


def test_a_run_does_not_load_what_it_does_not_need(clip: ClipMaker, tmp_path: Path) -> None:
    words = ["upscale", str(clip(frames=1, size=(16, 16))), "-o", str(tmp_path / "out.mkv")]
    code = f"import sys, vrx.cli.app as app; print(app.run_guarded({words}, False))"
    code += "; print([name for name in ('torch._dynamo', 'tokenizers', 'sympy.core') if name in sys.modules])"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "VRX_HOME": str(tmp_path / ".vrx")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split("\n")[:2] == ["0", "[]"], done.stdout
    assert (tmp_path / "out.mkv").exists()


def test_the_example_script_restores_a_folder(clip: ClipMaker, tmp_path: Path) -> None:
    clip("one.mkv", frames=2)
    (tmp_path / "bad.mp4").write_text("no video")
    shim = tmp_path / "bin"
    shim.mkdir()
    forked.write_command(shim)
    env = {**os.environ, "PATH": f"{shim}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = subprocess.run(
            ["sh", str(EXAMPLES / "restore-folder.sh"), str(tmp_path), "-q"],
            env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 7
    assert {p.name for p in (tmp_path / "restored").iterdir()} == {"one.x4.mkv"}


@pytest.mark.parametrize("words", [("--end", "2"), ("--frames", "25")])
@pytest.mark.parametrize("sound", ["copied", "converted", "early"])
def test_the_sound_of_a_part_is_that_part(
    vrx: Command, clip: ClipMaker, tmp_path: Path, words: tuple[str, ...], sound: str
) -> None:
    path = clip("in.mkv", frames=75, codec="libx264", audio=True)
    if sound == "converted":
        path = with_pcm(path)
    elif sound == "early":
        path = with_early_sound(path)
    done = vrx("deblur", path, "--sigma", 1, "--start", 1, *words, "-o", "out.mp4")
    assert done.returncode == 0, done.stderr
    assert [float(t) for t in read(tmp_path / "out.mp4").times] == [pytest.approx(i / 25) for i in range(25)]
    with av.open(str(tmp_path / "out.mp4")) as box:
        heard = [(frame.time, frame.samples / frame.sample_rate) for frame in box.decode(audio=0)]
    assert heard[0][0] == pytest.approx(0, abs=0.3)  # packets are copied whole
    begin, length = heard[-1]
    assert begin is not None
    assert begin + length == pytest.approx(1, abs=0.3)


def with_pcm(path: Path) -> Path:
    """The same clip with sound that MP4 does not hold."""
    target = path.with_name("pcm.mkv")
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", "error", "-i", str(path), "-c:v", "copy", "-c:a", "pcm_s16be", str(target)]
    subprocess.run(command, check=True)
    return target


def with_early_sound(path: Path) -> Path:
    """The same clip with sound that begins half a second before the picture."""
    target = path.with_name("early.mkv")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-itsoffset", "0.5", "-i", str(path), "-i", str(path)]
    subprocess.run([*command, "-map", "0:v", "-map", "1:a", "-c", "copy", str(target)], check=True)
    return target
