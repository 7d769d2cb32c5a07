"""The real command with checkpoints of the full layout at small sizes."""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests import forked
from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.models import small


def test_a_folder_of_parts_restores_a_clip(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    path = clip(size=(40, 24), frames=23, audio=True)
    model = small.infvsr(tmp_path / "model")
    for decoder in ("full", "tiny"):
        done = vrx("upscale", path, "--model", model, "--decoder", decoder, "-o", f"{decoder}.mkv")
        assert done.returncode == 0, done.stderr
        result = read(tmp_path / f"{decoder}.mkv")
        assert result.frames.shape == (23, 96, 160, 3)
        assert result.kinds == ["video", "audio"]


def test_one_file_of_all_parts_does_what_the_folder_does(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    path = clip(size=(40, 24), frames=5)
    folder = small.flashvsr(tmp_path / "model")
    done = vrx("models", "convert", folder, "flash.safetensors")
    assert done.returncode == 0, done.stderr
    for model in (folder, "flash.safetensors"):
        done = vrx(
            "upscale", path, "--model", model, "--codec", "ffv1", "--dtype", "fp32", "-o", f"{Path(model).stem}.mkv"
        )
        assert done.returncode == 0, done.stderr
    first, second = (read(tmp_path / f"{name}.mkv") for name in ("model", "flash"))
    assert first.frames.shape == (5, 96, 160, 3)
    assert (first.frames == second.frames).all()


def test_a_prompt_reaches_the_model_that_hears_it(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    path = clip(size=(40, 24), frames=2)
    model = small.instantvir(tmp_path / "model")
    for prompt in ("cat", "tree"):
        done = vrx("deblur", path, "--model", model, "-p", prompt, "--codec", "ffv1", "-o", f"{prompt}.mkv")
        assert done.returncode == 0, done.stderr
    assert (read(tmp_path / "cat.mkv").frames != read(tmp_path / "tree.mkv").frames).any()


def test_what_a_model_cannot_do_is_said(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    path = clip(size=(40, 24), frames=2)
    model = small.infvsr(tmp_path / "model")
    for words, code, message in (
        (("deblur", path, "--model", model), 4, "does not support deblur"),
        (("upscale", path, "--model", model, "-p", "cat"), 2, "does not take a prompt"),
        (("upscale", path, "--model", "instantvir-sr4", "-s", "2"), 2, "does not upscale by 2"),
        (("upscale", path, "--model", "infvsr", "--offline"), 4, "zzqingz/InfVSR/InfVSR.ckpt is not on this machine"),
        (
            ("deblur", path, "--model", "instantvir-deblur", "--offline"),
            4,
            "(transformer, over 2.6 GB): it is not on this machine",
        ),
        (("upscale", path, "--model", tmp_path / "none.pth"), 4, "no such file"),
    ):
        done = vrx(*words)
        assert done.returncode == code, (words, done.stderr)
        assert message in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr


def test_a_hostile_checkpoint_is_refused_by_name(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    path = clip(size=(40, 24), frames=2)
    model = small.infvsr(tmp_path / "model")
    torch.save({"x": Path}, model / "InfVSR.ckpt")
    done = vrx("upscale", path, "--model", model)
    assert done.returncode == 4
    assert "it contains pathlib" in " ".join(done.stderr.split())
    (model / "InfVSR.ckpt").write_bytes(b"PK\x03\x04 no checkpoint")
    done = vrx("upscale", path, "--model", model)
    assert done.returncode == 4
    assert "is truncated or corrupt" in " ".join(done.stderr.split())
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors", {"family": "unheard", "config": json.dumps({})})
    done = vrx("upscale", path, "--model", tmp_path / "m.safetensors")
    assert done.returncode == 4
    assert "cannot run the family unheard" in " ".join(done.stderr.split())


def test_what_comes_by_hand_is_taken_in(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    path = clip(size=(40, 24), frames=2)
    folder = small.instantvir(tmp_path / "model", lean=True)
    text = '[models.mine]\nfamily = "instantvir"\ntasks = ["deblur"]\navailable = true\n'
    text += 'license = "x"\nsource = "a friend"\n'
    for role, name, sizes in (
        ("transformer", "model.pt", "sizes = { num_heads = 2, text_len = 12 }"),
        ("lean", "LeanVAE-dim16.ckpt", ""),
        ("text", "t5.pth", ""),
        ("tokenizer", "tokenizer.json", ""),
    ):
        text += f'[[models.mine.parts]]\nrole = "{role}"\npath = "{name}"\n{sizes}\n'
    own = tmp_path / "own.toml"
    own.write_text(text)
    env = {"VRX_WEIGHTS_FILE": str(own)}
    done = vrx("deblur", path, "--model", "mine", env=env)
    assert done.returncode == 4
    assert "which you must download yourself (a friend)" in " ".join(done.stderr.split())
    for name in ("model.pt", "LeanVAE-dim16.ckpt", "models_t5_umt5-xxl-enc-bf16.pth"):
        done = vrx("models", "import", "mine", folder / name, env=env)
        assert done.returncode == 0, done.stderr
    (tmp_path / ".vrx" / "models" / "mine" / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    done = vrx("models", "import", "mine", small.infvsr(tmp_path / "other") / "Wan2.1_VAE.pth", env=env)
    assert done.returncode == 4
    assert "is not a part of mine" in " ".join(done.stderr.split())
    assert vrx("models", "verify", "mine", env=env).returncode == 0
    done = vrx("deblur", path, "--model", "mine", "-o", "out.mkv", env=env)
    assert done.returncode == 0, done.stderr
    assert len(read(tmp_path / "out.mkv").frames) == 2


def test_a_compiler_that_fails_is_said_and_nothing_is_lost(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    path, model = clip(size=(40, 24), frames=3), small.infvsr(tmp_path / "model")
    words = ("upscale", path, "--model", model, "--codec", "ffv1", "--dtype", "fp32", "--decoder", "tiny", "-v")
    env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kept"), "CXX": "/bin/false"}
    plain = vrx(*words, "-o", "off.mkv")
    assert "networks are not compiled" in plain.stderr
    done = forked.run([*words, "--compile", "on", "-o", "on.mkv"], cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert f"compiled are chains of elementwise operations, and layers, saved in {tmp_path / 'kept'}" in done.stderr
    told = [line for line in done.stderr.splitlines() if " runs uncompiled: " in line]
    assert told
    assert len(told) == len(set(told))
    off, on = (read(tmp_path / f"{name}.mkv").frames for name in ("off", "on"))
    assert (off == on).all()


def test_a_model_that_is_never_compiled_refuses_the_wish(vrx: Command, clip: ClipMaker) -> None:
    done = vrx("upscale", clip(frames=2), "--compile", "on", "--model", "embedded")
    assert done.returncode == 2
    assert "--compile has no effect with model embedded" in done.stderr
