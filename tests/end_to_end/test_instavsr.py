"""InstaVSR through the real command: a checkpoint of its layout is imported, runs, and continues after a signal."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.end_to_end.stopping import check_interruption
from tests.models import small


def test_without_a_checkpoint_one_line_says_that_none_is_published(
    vrx: Command, clip: ClipMaker, tmp_path: Path
) -> None:
    for words in (("upscale", clip(size=(40, 24), frames=2), "--model", "instavsr"), ("models", "pull", "instavsr")):
        done = vrx(*words)
        assert done.returncode == 4
        assert "the weights of instavsr are not published" in " ".join(done.stderr.split())
    torch.save(small.autoencoder(), tmp_path / "other.pt")
    done = vrx("models", "import", "instavsr", "other.pt")
    assert done.returncode == 4
    assert "is not a part of instavsr" in " ".join(done.stderr.split())


def test_an_imported_checkpoint_restores_a_clip(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    model, path = small.instavsr(tmp_path / "mine.pt"), clip(size=(42, 24), frames=5, cuts=[3], audio=True)
    done = vrx("models", "import", "instavsr", model)
    assert done.returncode == 0, done.stderr
    assert json.loads(vrx("models", "show", "instavsr", "--json").stdout)["state"] == "ready"
    (tmp_path / "folder").mkdir()
    small.instavsr(tmp_path / "folder" / "any.pt")
    done = vrx("models", "convert", "folder", "one.safetensors")
    assert done.returncode == 0, done.stderr
    results = []
    for name in ("instavsr", model, "one.safetensors"):
        done = vrx("upscale", path, "--model", name, "--codec", "ffv1", "--dtype", "fp32", "-o", "out.mkv", "-y")
        assert done.returncode == 0, done.stderr
        results.append(read(tmp_path / "out.mkv"))
    assert results[0].frames.shape == (5, 96, 168, 3)
    assert results[0].kinds == ["video", "audio"]
    for result in results[1:]:
        assert (result.frames == results[0].frames).all()


@pytest.mark.parametrize(("scale", "note"), [(4, False), (2, True)])
def test_the_model_in_the_package_works_offline(
    vrx: Command, clip: ClipMaker, tmp_path: Path, scale: int, note: bool
) -> None:
    path = clip(size=(42, 24), frames=3)
    words = ("--model", "instavsr-small", "-s", scale, "--codec", "ffv1", "--offline", "-o", "out.mkv")
    done = vrx("upscale", path, *words)
    assert done.returncode == 0, done.stderr
    assert ("instavsr enlarges by 4" in " ".join(done.stderr.split())) == note
    found, source = read(tmp_path / "out.mkv").frames, read(path).frames
    assert found.shape == (3, 24 * scale, 42 * scale, 3)
    means = found.reshape(3, 24, scale, 42, scale, 3).mean((2, 4))
    assert np.abs(means - source).mean() < 3  # levels: it is the same picture


def test_an_interrupted_run_continues_with_the_same_frames(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    small.instavsr(tmp_path / "mine.pt")
    clip("long.mkv", frames=11, size=(24, 16))
    words = ("upscale", "long.mkv", "--model", "mine.pt", "--codec", "ffv1", "--dtype", "fp32", "--scenes", "off")
    check_interruption(vrx, tmp_path, *words, segment=8, saved=8)
