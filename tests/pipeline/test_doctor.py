"""Checks of an installation, and what they say where something is broken."""

from pathlib import Path

import pytest
import torch

from vrx.errors import ModelError, OutputError
from vrx.media import encoders, ffmpeg
from vrx.pipeline import doctor
from vrx.pipeline.doctor import check_ffmpeg, check_packaged_models, check_torch
from vrx.weights import hashes, hub


def test_torch_and_the_processor_are_named() -> None:
    checks = {check.name: check for check in check_torch()}
    assert set(checks) == {"vrx", "torch", "bf16 on the processor", "CUDA"}
    assert checks["torch"].good
    assert not checks["CUDA"].needed


def test_every_encoder_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "encoder_error", lambda program, name, *_, **__: "" if name == "libx264" else "no")
    checks = {check.name: check for check in check_ffmpeg()}
    assert checks["ffmpeg"].good
    assert checks["encoder libx264"].good
    assert checks["encoder libx264"].needed
    assert (checks["encoder h264_nvenc"].good, checks["encoder h264_nvenc"].needed) == (False, False)
    assert checks["encoder libx265"].detail == "no"


def test_encoders_of_editing_are_tried_in_a_form_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "SHORT_NAMES", {"prores": "prores_ks", "dnxhr": "dnxhd"})
    monkeypatch.setattr(doctor, "HARDWARE_ENCODERS", ())
    assert [check.detail for check in check_ffmpeg()][1:] == ["works", "works"]


def test_what_networks_use_on_a_gpu_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "device_fault", lambda _: "")
    monkeypatch.setattr(doctor, "machine_name", lambda _: "a GPU")
    monkeypatch.setattr(doctor, "free_memory", lambda _: 20_000_000_000)
    monkeypatch.setattr(doctor, "gpu_memory", lambda _: 24_000_000_000)
    monkeypatch.setattr(doctor, "pick_dtype", lambda *_: torch.bfloat16)
    monkeypatch.setattr(doctor, "attention_fault", lambda _: "")
    monkeypatch.setattr(doctor, "fp8_fault", lambda _: "it has compute capability 8.6, fp8 needs 8.9")
    monkeypatch.setattr(doctor, "compile_fault", lambda _: "Failed to find C compiler")
    checks = {check.name: check for check in check_torch()}
    assert checks["CUDA"].detail == "a GPU"
    assert checks["GPU memory"].detail == "20.0 GB of 24.0 GB are free"
    assert checks["GPU attention"].detail == "works in bfloat16"
    assert (checks["GPU compiler"].good, checks["GPU compiler"].detail) == (False, "Failed to find C compiler")
    assert (checks["GPU fp8"].good, checks["GPU fp8"].detail) == (False, "it has compute capability 8.6, fp8 needs 8.9")
    assert not any(check.needed for name, check in checks.items() if name.startswith("GPU"))


def test_the_cache_is_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    assert doctor.check_cache().good
    assert not list((tmp_path / "cache").iterdir())
    (tmp_path / "file").touch()
    monkeypatch.setenv("VRX_HOME", str(tmp_path / "file"))
    check = doctor.check_cache()
    assert not check.good
    assert "Set VRX_HOME" in check.detail


@pytest.mark.parametrize(
    ("address", "fault", "detail"),
    [
        ("https://hub.example", "", "https://hub.example answers"),
        ("", "cannot download anything from https://hub.example: no route", "cannot download anything from"),
    ],
    ids=["there", "not there"],
)
def test_the_hub_is_asked(address: str, fault: str, detail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def ping() -> str:
        if fault:
            raise ModelError(fault)
        return address

    monkeypatch.setattr(hub, "ping", ping)
    check = doctor.check_hub()
    assert (check.good, check.needed) == (not fault, False)
    assert check.detail.startswith(detail)


def test_a_missing_ffmpeg_is_one_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise OutputError("no ffmpeg", "Install it")

    monkeypatch.setattr(ffmpeg, "executable", missing)
    (check,) = check_ffmpeg()
    assert (check.good, check.detail) == (False, "no ffmpeg. Install it")


def test_a_changed_packaged_model_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(check.good for check in check_packaged_models())

    def wrong(path: Path, size: int | None, sha256: str | None) -> None:
        raise ModelError("another file")

    monkeypatch.setattr(hashes, "verify_file", wrong)
    assert not any(check.good for check in check_packaged_models())
