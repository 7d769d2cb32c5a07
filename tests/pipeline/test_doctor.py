"""Checks of an installation, and what they say where something is broken."""

from pathlib import Path

import pytest

from vrx.errors import ModelError, OutputError
from vrx.pipeline import doctor
from vrx.pipeline.doctor import check_ffmpeg, check_packaged_models, check_torch


def test_torch_and_the_processor_are_named() -> None:
    checks = {check.name: check for check in check_torch()}
    assert set(checks) == {"vrx", "torch", "bf16 on the processor", "CUDA"}
    assert checks["torch"].good
    assert not checks["CUDA"].needed


def test_every_encoder_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor.ffmpeg, "encoder_error", lambda program, name, pix_fmt: "" if name == "libx264" else "no"
    )
    checks = {check.name: check for check in check_ffmpeg()}
    assert checks["ffmpeg"].good
    assert checks["encoder libx264"].good
    assert checks["encoder libx264"].needed
    assert (checks["encoder h264_nvenc"].good, checks["encoder h264_nvenc"].needed) == (False, False)
    assert checks["encoder libx265"].detail == "no"


def test_a_missing_ffmpeg_is_one_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise OutputError("no ffmpeg", "Install it")

    monkeypatch.setattr(doctor.ffmpeg, "executable", missing)
    (check,) = check_ffmpeg()
    assert (check.good, check.detail) == (False, "no ffmpeg. Install it")


def test_a_changed_packaged_model_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(check.good for check in check_packaged_models())

    def wrong(path: Path, size: int | None, sha256: str | None) -> None:
        raise ModelError("another file")

    monkeypatch.setattr(doctor.hashes, "verify_file", wrong)
    assert not any(check.good for check in check_packaged_models())
