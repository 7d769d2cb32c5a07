"""upscale, deblur and inpaint in Python: options, results, and the command's bytes."""

import doctest
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import pytest

import vrx as package
from tests.clips import ClipMaker
from tests.conftest import Command
from vrx import api, events, tasks
from vrx.errors import OutputError, UsageError
from vrx.settings import ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task
from vrx.tasks import Options, make_job

# arguments of the calls themselves
OWN = {
    "name",
    "path",
    "task",
    "scale",
    "sigma",
    "mask",
    "mask_time",
    "dilate",
    "size",
    "boxes",
    "look",
    "quality",
    "square",
}
X2 = RestoreSettings(task=Task.UPSCALE, scale=2)


def test_every_setting_of_the_command_is_an_option() -> None:
    settings = (ModelSettings, RestoreSettings, SelectionSettings, OutputSettings)
    names = {field.name for kind in settings for field in fields(kind)}
    assert Options.__annotations__.keys() == names - OWN | {"model", "on_event"}


def test_every_option_is_named_where_people_look() -> None:
    text = " ".join((tasks.upscale.__doc__ or "").split())
    assert ", ".join(Options.__annotations__) in text


def test_options_become_settings() -> None:
    job = make_job(Path("a.mp4"), Path("b.mp4"), X2, {"start": "1:20.5", "end": 90, "crf": 18, "device": "cpu"})
    assert (job.source, job.output.path, job.output.crf, job.model.device) == ("a.mp4", "b.mp4", 18, "cpu")
    assert (job.selection.start, job.selection.end) == (Fraction(161, 2), Fraction(90))
    assert make_job("a.mp4", None, X2, {}).output.path is None


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(UsageError, match=r"unknown option 'scal'.*overwrite"):
        make_job("a.mp4", None, X2, {"scal": 2})  # type: ignore[typeddict-unknown-key]


def test_a_file_is_the_command_s_file_byte_by_byte(clip: ClipMaker, tmp_path: Path, vrx: Command) -> None:
    source = clip("in.mkv", frames=6, audio=True, cuts=[4])
    heard: list[events.Event] = []
    result = package.upscale(source, tmp_path / "api.mp4", scale=2, device="cpu", on_event=heard.append)
    assert (result.path, result.frames, result.scenes) == (tmp_path / "api.mp4", 6, 2)
    assert isinstance(heard[-1], events.Finished)
    done = vrx("upscale", "in.mkv", "-s", "2", "-o", "command.mp4", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "api.mp4").read_bytes() == (tmp_path / "command.mp4").read_bytes()


def test_an_existing_result_stays(clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv", frames=2)
    (tmp_path / "out.mkv").write_text("mine")
    with pytest.raises(OutputError, match=r"exists\. Replace it with overwrite=True") as refused:
        package.deblur(tmp_path / "in.mkv", tmp_path / "out.mkv", sigma=1.5)
    assert "-y" not in str(refused.value)
    assert (tmp_path / "out.mkv").read_text() == "mine"


def test_the_examples_of_the_docstrings_run(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vrx.pipeline import model

    monkeypatch.chdir(tmp_path)
    clip("in.mp4", frames=4, codec="libx264")
    write_mask(Path("m.png"))
    for module in (tasks, model, api):
        found = doctest.testmod(module)
        assert found.attempted > 0
        assert found.failed == 0


def write_mask(path: Path) -> None:
    from PIL import Image

    mask = Image.new("L", (64, 48))
    mask.paste(255, (8, 8, 24, 16))
    mask.save(path)
