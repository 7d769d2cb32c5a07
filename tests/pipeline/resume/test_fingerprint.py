"""Every setting that changes the picture keeps two runs apart."""

from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from vrx.media import ffmpeg
from vrx.pipeline.resume.fingerprint import fingerprint
from vrx.pipeline.resume.journal import Fingerprint
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task

ROOMS = {
    "model": ModelSettings,
    "restore": RestoreSettings,
    "selection": SelectionSettings,
    "output": OutputSettings,
}
SAME = {  # settings whose outcome is compared instead, or that change no picture
    "model": {"name", "device", "dtype", "offline"},
    "output": {"path", "overwrite", "resume", "skip_existing"},
}
OTHER: dict[str, Any] = {
    "prompt": "glasses",
    "seed": 7,
    "decoder": "tiny",
    "color_fix": "wavelet",
    "tile": "512",
    "scale": 3,
    "sigma": 2.5,
    "mask": Path("other.png"),
    "dilate": 2,
    "strength": 0.7,
    "blend": 0.5,
    "start": Fraction(1),
    "end": Fraction(9),
    "frames": 11,
    "scenes": "off",
    "scene_threshold": 20.0,
    "deinterlace": "on",
    "stream": 1,
    "codec": "hevc",
    "crf": 30,
    "preset": "fast",
    "pix_fmt": "yuv444p",
    "encoder_args": ("-g", "5"),
    "audio": False,
}


def job(source: Path) -> Job:
    restore = RestoreSettings(task=Task.UPSCALE, scale=2)
    return Job(
        source=str(source),
        model=ModelSettings(),
        restore=restore,
        selection=SelectionSettings(),
        output=OutputSettings(),
    )


@pytest.fixture(autouse=True)
def version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "version", lambda _: "9.0")  # asked once for every fingerprint


def marks(wanted: Job) -> Fingerprint:
    return fingerprint(wanted, "embedded", [], (torch.device("cpu"), torch.float32))


@pytest.mark.parametrize(
    ("room", "name"),
    [(room, f.name) for room, kind in ROOMS.items() for f in fields(kind) if f.name not in SAME.get(room, set())],
)
def test_another_setting_is_another_fingerprint(tmp_path: Path, room: str, name: str) -> None:
    source = tmp_path / "in.mkv"
    source.touch()
    plain = job(source)
    if name == "task":
        changed: Any = RestoreSettings(task=Task.DEBLUR)
    else:
        changed = replace(getattr(plain, room), **{name: OTHER[name]})
    assert marks(replace(plain, **{room: changed})) != marks(plain)
    assert marks(plain) == marks(plain)


@pytest.mark.parametrize(
    ("room", "name"),
    [(room, f.name) for room, names in SAME.items() for f in fields(ROOMS[room]) if f.name in names],
)
def test_a_setting_that_changes_no_picture_is_not_in_it(tmp_path: Path, room: str, name: str) -> None:
    source = tmp_path / "in.mkv"
    source.touch()
    other: dict[str, Any] = {"name": "infvsr", "device": "cuda", "dtype": "bf16", "path": "x.mkv"}
    plain = job(source)
    changed = replace(getattr(plain, room), **{name: other.get(name, True)})
    assert marks(replace(plain, **{room: changed})) == marks(plain)
