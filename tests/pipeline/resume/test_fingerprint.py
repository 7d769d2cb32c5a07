"""Every setting that changes the picture keeps two runs apart."""

import os
from dataclasses import fields, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job, open_session
from vrx.geometry import Crop, TargetSize, TimeRange, parse_box
from vrx.media import ffmpeg
from vrx.networks.quantized import WeightFormat
from vrx.pipeline.encoding_pace import Pace, keep_pace
from vrx.pipeline.resume import fingerprint as marking
from vrx.pipeline.resume.fingerprint import (
    SAMPLE,
    SAMPLES,
    describe_file,
    fingerprint,
    fingerprint_of,
    sample_ranges,
)
from vrx.pipeline.resume.journal import Fingerprint
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task

ROOMS = {
    "model": ModelSettings,
    "restore": RestoreSettings,
    "selection": SelectionSettings,
    "output": OutputSettings,
}
SAME = {  # settings whose outcome is compared instead, or that change no picture
    "model": {"name", "device", "dtype", "prefer", "offline", "threads"},
    "output": {"path", "overwrite", "resume", "skip_existing"},
}
OTHER: dict[str, Any] = {
    "prompt": "glasses",
    "seed": 7,
    "decoder": "tiny",
    "color_fix": "wavelet",
    "tile": "512",
    "steps": 4,
    "guidance": 3.0,
    "compile": "off",
    "scale": 3,
    "sigma": 2.5,
    "mask": Path("other.png"),
    "mask_time": TimeRange(Fraction(1), Fraction(2)),
    "boxes": (parse_box("1,2,3,4"),),
    "size": TargetSize(height=1080),
    "dilate": 2,
    "strength": 0.7,
    "denoise": 0.4,
    "grain": 0.6,
    "blend": 0.5,
    "look": "sharp",
    "quality": "fast",
    "square": True,
    "start": Fraction(1),
    "end": Fraction(9),
    "frames": 11,
    "scenes": "off",
    "scene_threshold": 20.0,
    "deinterlace": "on",
    "stream": 1,
    "fps": Fraction(25),
    "crop": Crop(32, 24, 0, 4),
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
    other: dict[str, Any] = {
        "name": "infvsr",
        "device": "cuda",
        "dtype": "bf16",
        "prefer": "speed",
        "path": "x.mkv",
        "threads": 3,
    }
    plain = job(source)
    changed = replace(getattr(plain, room), **{name: other.get(name, True)})
    assert marks(replace(plain, **{room: changed})) == marks(plain)


@pytest.mark.parametrize("name", ["the model", "the device", "the number type", "the checkpoint", "the input"])
def test_what_computes_the_picture_is_in_it(tmp_path: Path, name: str) -> None:
    for file in ("a.mkv", "b.mkv"):
        (tmp_path / file).touch()
    plain: list[Any] = [job(tmp_path / "a.mkv"), "embedded", [tmp_path / "a.mkv"]]
    where: list[Any] = [torch.device("cpu"), torch.float32]
    before = fingerprint(plain[0], plain[1], plain[2], (where[0], where[1]))
    if name == "the device":
        where[0] = torch.device("cuda:1")
    elif name == "the number type":
        where[1] = torch.bfloat16
    else:
        other: dict[str, tuple[int, Any]] = {
            "the input": (0, job(tmp_path / "b.mkv")),
            "the model": (1, "infvsr"),
            "the checkpoint": (2, [tmp_path / "b.mkv"]),
        }
        place, value = other[name]
        plain[place] = value
    after = fingerprint(plain[0], plain[1], plain[2], (where[0], where[1]))
    assert [key for key in before if before[key] != after[key]] == [name]


def test_the_format_of_weights_in_8_bits_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "in.mkv").touch()
    where = torch.device("cpu"), torch.float32
    formats: tuple[WeightFormat | None, ...] = (None, "int8", "fp8")
    found = [fingerprint(job(tmp_path / "in.mkv"), "swiftvr", [], where, kind).get("the weights") for kind in formats]
    assert found == [None, "in int8", "in fp8"]


@pytest.mark.parametrize(
    ("device", "word", "expected"), [("cuda", "auto", None), ("cuda", "flash", "flash"), ("cpu", "flash", None)]
)
def test_another_attention_kernel_on_a_gpu_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, word: str, expected: str | None
) -> None:
    (tmp_path / "in.mkv").touch()
    monkeypatch.delenv("VRX_ATTENTION", raising=False)
    where = torch.device(device), torch.float32
    usual = fingerprint(job(tmp_path / "in.mkv"), "swiftvr", [], where)
    monkeypatch.setenv("VRX_ATTENTION", word)
    for switch in ("STREAMS", "GRAPHS", "FLOW", "SEGMENTS"):  # which change no number
        monkeypatch.setenv(f"VRX_{switch}", "off")
    found = fingerprint(job(tmp_path / "in.mkv"), "swiftvr", [], where)
    assert found == usual | ({"the attention kernel": expected} if expected else {})


@pytest.mark.parametrize(
    ("name", "module", "attribute"), [("vrx", "vrx", "__version__"), ("torch", "torch", "__version__")]
)
def test_versions_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, attribute: str
) -> None:
    (tmp_path / "in.mkv").touch()
    before = marks(job(tmp_path / "in.mkv"))
    monkeypatch.setattr(getattr(marking, module), attribute, "0.0")
    after = marks(job(tmp_path / "in.mkv"))
    assert [key for key in before if before[key] != after[key]] == [name]
    monkeypatch.setattr(ffmpeg, "version", lambda _: "9.1")
    assert marks(job(tmp_path / "in.mkv"))["ffmpeg"] != after["ffmpeg"]


def test_a_touched_file_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    path.write_bytes(b"frames")
    before = describe_file(path)
    os.utime(path, ns=(0, 1))
    assert describe_file(path) != before


def test_samples_are_spread_over_a_large_file() -> None:
    """16 MiB are hashed whatever the size: 64 samples of 256 KiB, the first and the last byte among them."""
    whole = SAMPLES * SAMPLE
    assert sample_ranges(whole) == [(0, whole)]
    found = sample_ranges(whole + 63)
    assert len(found) == 64
    assert {length for _, length in found} == {1 << 18}
    assert (found[0][0], found[-1][0] + SAMPLE) == (0, whole + 63)
    assert {after - before for (before, _), (after, _) in pairwise(found)} == {SAMPLE + 1}


def test_work_in_an_encoder_that_was_chosen_to_keep_up_is_not_continued_in_another(clip: ClipMaker) -> None:
    with open_session(make_job(clip("in.mp4", frames=1, codec="libx264"), clip.folder / "out.mp4")) as session:
        usual, found = fingerprint_of(session, []), []
        for cores in (1, 2):
            session.target, note = keep_pace(replace(session.target, preset=None), Pace(50e6, cores))
            assert note is not None
            session.encoder_remark = note.text
            found.append(fingerprint_of(session, []))
    assert "the encoder" not in usual
    assert [names - usual.items() for names in (marks.items() for marks in found)] == [
        {("the encoder", "libx264 veryfast")},
        {("the encoder", "libx264 fast")},
    ]
