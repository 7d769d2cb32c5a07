"""ReCaVSR with `--decoder full` through the real command: Wan 2.2's autoencoder, in the published layouts."""

from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.conftest import Command
from tests.end_to_end.stopping import check_interruption
from tests.end_to_end.test_wan22_families import FLAGS, own_catalogue
from tests.models import small_wan22 as small
from tests.weights.conftest import command, hub
from tests.weights.hub_server import Hub, Pull

__all__ = ["command", "hub"]  # fixtures
FULL = (*FLAGS, "--decoder", "full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.recavsr(tmp_path_factory.mktemp("small") / "model")


def test_either_decoder_gives_all_frames_and_tiles_change_the_result(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    path = clip(size=(90, 10), frames=22, audio=True)
    done = vrx("models", "convert", folder, "one.safetensors")
    assert done.returncode == 0, done.stderr
    results = []
    tiled = (*FULL, "--tile", "256")
    for model, words in ((folder, FULL), ("one.safetensors", FULL), (folder, FLAGS), (folder, tiled)):
        done = vrx("upscale", path, "--model", model, *words, "-o", "out.mkv", "-y")
        assert done.returncode == 0, done.stderr
        results.append(read(tmp_path / "out.mkv"))
        assert results[-1].frames.shape == (22, 40, 360, 3)
        assert results[-1].kinds == ["video", "audio"]
    whole, again, other, in_tiles = (result.frames for result in results)
    assert (whole == again).all()
    assert (whole != other).any()
    assert (whole != in_tiles).any()


def test_an_interrupted_run_continues_with_the_same_frames(
    vrx: Command, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    clip("long.mkv", frames=23, size=(8, 8), cuts=[8, 20])
    (tmp_path / "cuts.txt").write_text("8\n20\n")
    words = ("upscale", "long.mkv", "--model", folder, *FULL, "--scenes", "cuts.txt")
    check_interruption(vrx, tmp_path, *words, segment=12, saved=20)


def test_the_autoencoder_is_downloaded_once_it_is_asked_for(
    command: Pull, hub: Hub, clip: ClipMaker, folder: Path, tmp_path: Path
) -> None:
    for path in folder.glob("*.safetensors"):
        hub.files[f"kopper/ReCaVSR/{path.name}"] = path.read_bytes()
    own = own_catalogue(folder, "recavsr", tmp_path / "own.toml")
    lines = command("models", "show", "recavsr", **own).stdout.splitlines()
    shown = {line.split()[1]: line.split()[0] for line in lines if "kopper/" in line}
    assert shown["kopper/ReCaVSR/vae.safetensors,"] == "optional"
    assert shown["kopper/ReCaVSR/flashdecoder.safetensors,"] == "part"
    assert command("models", "pull", "recavsr", **own).returncode == 0
    words = ("upscale", clip(size=(20, 12), frames=2), "--model", "recavsr", *FULL, "-o", "out.mkv")
    done = command(*words, "--offline", **own)
    assert done.returncode == 4
    assert "vae.safetensors" in done.stderr
    done = command(*words, **own)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out.mkv").frames.shape == (2, 48, 80, 3)
    done = command("models", "verify", "recavsr", **own)
    assert done.returncode == 0, done.stderr
