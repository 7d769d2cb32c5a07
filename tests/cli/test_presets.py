"""Presets and defaults on the command line: what is used, what is refused, what is listed."""

import json
from pathlib import Path

import pytest
from typer.main import get_command

from tests.clips import ClipMaker
from tests.conftest import Command
from vrx import configuration
from vrx.cli import batch
from vrx.cli.app import app
from vrx.cli.defaults import known_options
from vrx.settings import Job

NAMES = ("film", "vhs", "web", "anime", "phone")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that commands would run."""
    found: list[Job] = []
    monkeypatch.setattr(batch, "run", lambda words, template, options: found.append(template))
    return found


def configure(tmp_path: Path, text: str) -> None:
    (tmp_path / ".vrx").mkdir(exist_ok=True)
    (tmp_path / ".vrx" / "config.toml").write_text(text)


def test_a_preset_sets_options_and_the_line_replaces_them(vrx: Command, jobs: list[Job]) -> None:
    assert vrx("upscale", "in.mkv", "--preset-name", "vhs").returncode == 0
    assert vrx("upscale", "in.mkv", "--preset-name", "vhs", "--denoise", "off", "--height", "480").returncode == 0
    assert vrx("deblur", "in.mkv", "--preset-name", "vhs").returncode == 0
    first, second, third = jobs
    assert (first.restore.denoise, first.restore.scale, first.selection.deinterlace) == (1.0, 2, "on")
    assert second.restore.size is not None
    assert (second.restore.denoise, second.restore.size.height, second.selection.deinterlace) == (0.0, 480, "on")
    assert (third.restore.denoise, third.restore.scale, third.selection.deinterlace) == (1.0, 1, "on")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task", ["upscale", "deblur", "inpaint"])
def test_every_preset_of_the_package_is_valid_and_changes_something(
    vrx: Command, jobs: list[Job], name: str, task: str
) -> None:
    box = ("--box", "1,1,8,8") if task == "inpaint" else ()
    assert vrx(task, "in.mkv", *box, "--preset-name", name).returncode == 0
    assert vrx(task, "in.mkv", *box).returncode == 0
    if task == "inpaint":
        assert jobs[0].restore.keeps_known
    else:
        assert jobs[0] != jobs[1]


def test_presets_are_listed_with_what_they_set_and_why(vrx: Command, tmp_path: Path) -> None:
    configure(tmp_path, '[presets.tape]\nabout = "my tapes"\ncrf = 12\n[presets.tape.upscale]\nscale = 3\n')
    shown = vrx("presets")
    assert shown.returncode == 0
    for name in (*NAMES, "tape"):
        assert f"\n{name}\n" in f"\n{shown.stdout}"
    assert shown.stdout.count("why ") == len(NAMES)
    assert "vrx upscale  --scale 3" in shown.stdout
    assert f"Yours go into {tmp_path}/.vrx/config.toml, as [presets.NAME]" in shown.stderr
    found = [json.loads(line) for line in vrx("presets", "tape", "--json").stdout.splitlines()]
    assert [preset["name"] for preset in found] == ["tape"]
    assert found[0]["options"]["shared"][0]["option"] == "crf"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[defaults]\ncrf = 99\n", "'crf' in [defaults]: --crf 99 is out of range. Use 0 (best) to 63"),
        ("[defaults]\ncrf = 'best'\n", "'crf' in [defaults]: --crf is 'best'. Use a whole number"),
        ("[defaults]\nlook = 'soft'\n", "'look' in [defaults]: --look is 'soft'. Choose faithful or sharp"),
        ("[defaults.upscale]\nscale = 99\n", "'scale' in [defaults.upscale]: --scale 99"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_key(vrx: Command, tmp_path: Path, text: str, words: str) -> None:
    configure(tmp_path, text)
    done = vrx("upscale", "in.mkv")
    assert done.returncode == 2
    assert f"vrx: {tmp_path}/.vrx/config.toml: {words}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_value_is_no_matter_where_the_line_replaces_it(vrx: Command, tmp_path: Path, jobs: list[Job]) -> None:
    configure(tmp_path, "[defaults]\ncrf = 99\n")
    assert vrx("upscale", "in.mkv", "--crf", "20").returncode == 0
    assert jobs[0].output.crf == 20


def test_previews_have_the_same_defaults(vrx: Command, tmp_path: Path) -> None:
    configure(tmp_path, "[defaults.upscale]\nlook = 'soft'\n[defaults]\noutput = 'x.mkv'\n")
    done = vrx("preview", "in.mkv")
    assert (done.returncode, "config.toml: 'look' in [defaults.upscale]: --look is 'soft'" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("default", "choices"), [('prefer = "quality"', "model=embedded,instavsr-small"), ("height = 300", "scale=2,4")]
)
def test_choices_of_a_preview_drop_the_defaults_of_their_alternatives(
    vrx: Command, clip: ClipMaker, tmp_path: Path, default: str, choices: str
) -> None:
    configure(tmp_path, f"[defaults]\n{default}\n")
    done = vrx("preview", "upscale", clip("in.mkv", frames=2), "--vary", choices, "--dry-run")
    assert done.returncode == 0, done.stderr


def test_a_wrong_variable_is_named(vrx: Command) -> None:
    done = vrx("upscale", "in.mkv", env={"VRX_DEFAULT_CRF": "99"})
    assert (done.returncode, done.stderr) == (2, "vrx: VRX_DEFAULT_CRF: --crf 99 is out of range. Use 0 (best) to 63\n")


def test_help_works_whatever_the_file_says(vrx: Command, tmp_path: Path) -> None:
    configure(tmp_path, "[")
    assert vrx("upscale", "--help").returncode == 0
    assert vrx("info", "--help").returncode == 0


def test_doctor_names_the_file_in_use(vrx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vrx.api.doctor", list)
    file = f"{tmp_path}/.vrx/config.toml"

    def check() -> tuple[int, bool, str]:
        done = vrx("doctor", "--json")
        found = json.loads(done.stdout)
        assert found["name"] == "configuration"
        return done.returncode, found["good"], found["detail"]

    assert check() == (0, True, f"{file}, which does not exist")
    configure(tmp_path, "[defaults]\ncrf = 20\n")
    assert check() == (0, True, file)
    configure(tmp_path, "[defaults]\ncrff = 20\n")
    status, good, detail = check()
    assert (status, good) == (1, False)
    assert detail.startswith(f"{file}: unknown key 'crff'")


def test_a_default_changes_the_result(vrx: Command, clip: ClipMaker, tmp_path: Path) -> None:
    clip("in.mkv", frames=1)
    configure(tmp_path, '[defaults]\noutput = "there.mkv"\n[defaults.upscale]\nscale = 2\n')
    done = vrx("upscale", "in.mkv", "--dry-run")
    assert "there.mkv" in done.stdout
    assert "64x48 to 128x96" in done.stdout


def test_names_of_commands_are_not_names_of_options() -> None:
    """A key in a table of defaults is one or the other."""
    known = known_options(get_command(app))
    assert set(known) == {"upscale", "restore", "deblur", "inpaint"}
    assert not set(known) & {option for options in known.values() for option in options}
    assert not set(configuration.TEXTS) & {option for options in known.values() for option in options}
