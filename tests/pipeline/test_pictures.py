"""What pictures become: their names, their kinds, and what goes to standard output."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import heif
from tests.clips import scenery
from tests.conftest import Command
from tests.pictures import png_with_profile, profile
from vrx import api
from vrx.errors import UsageError
from vrx.pipeline.plan import Plan
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task


def planned(source: Path, output: str | None = None) -> Plan:
    return api.plan(
        Job(
            source=str(source),
            model=ModelSettings(device="cpu"),
            restore=RestoreSettings(task=Task.UPSCALE, scale=2),
            selection=SelectionSettings(),
            output=OutputSettings(path=output),
        )
    )


def animation(path: Path) -> Path:
    pictures = [Image.fromarray(scenery(number, (64, 48))) for number in range(3)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    return path


def test_a_heic_picture_gives_a_png(tmp_path: Path) -> None:
    tile = heif.encode(scenery(0, (64, 48)), "hevc", "yuv420p10le")
    plan = planned(heif.write(tmp_path / "a.heic", heif.Picture(tiles=[tile])))
    assert (Path(plan.output).name, plan.encoder, plan.pix_fmt, plan.frames) == ("a.x2.png", "png", "gbrp16le", 1)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.avif"])
def test_an_animation_gives_a_video(tmp_path: Path, name: str) -> None:
    plan = planned(animation(tmp_path / name))
    assert (Path(plan.output).name, plan.container, plan.frames) == ("a.x2.mkv", "matroska", 3)
    with pytest.raises(UsageError, match="is a single image, the result has 3 frames"):
        planned(tmp_path / name, str(tmp_path / "b.png"))


def test_a_picture_on_standard_output_is_a_png(tmp_path: Path) -> None:
    png_with_profile(tmp_path / "a.png", scenery(0, (64, 48)))
    plan = planned(tmp_path / "a.png", "-")
    assert (plan.output, plan.encoder, plan.container) == ("standard output", "png", "image2")
    assert planned(animation(tmp_path / "b.png"), "-").container == "matroska"


def test_a_picture_comes_and_leaves_through_pipes(vrx: Command, tmp_path: Path) -> None:
    png_with_profile(tmp_path / "a.png", scenery(0, (64, 48)))
    done = vrx("upscale", "-s", "2", "-o", "b.jpg", stdin=(tmp_path / "a.png").read_bytes())
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "b.jpg") as image:
        assert (image.size, image.info["icc_profile"]) == ((128, 96), profile())


def test_a_piped_picture_is_written_whole(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    png_with_profile(tmp_path / "a.png", scenery(0, (64, 48)))
    job = Job(
        source=str(tmp_path / "a.png"),
        model=ModelSettings(device="cpu"),
        restore=RestoreSettings(task=Task.DEBLUR, sigma=1.0),
        selection=SelectionSettings(),
        output=OutputSettings(path="-"),
    )
    api.restore(job)
    with Image.open(io.BytesIO(capfdbinary.readouterr().out)) as image:
        assert np.asarray(image).shape == (48, 64, 3)
        assert image.info["icc_profile"] == profile()


def test_a_result_beyond_ffmpegs_limit_is_refused_before_work(tmp_path: Path) -> None:
    Image.new("L", (9000, 2000)).save(tmp_path / "a.png")
    assert planned(tmp_path / "a.png").target_size == (18000, 4000)
    Image.new("1", (9000, 8000)).save(tmp_path / "b.png")
    with pytest.raises(UsageError, match="18000x16000"):
        planned(tmp_path / "b.png")
