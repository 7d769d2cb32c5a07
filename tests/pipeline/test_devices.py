"""Which number type a processor gets."""

import shutil
import threading
from pathlib import Path

import cv2
import pytest
import torch

from vrx.errors import DeviceError
from vrx.pipeline import devices, pool
from vrx.pipeline.devices import pick_device, pick_dtype
from vrx.pipeline.pool import ModelPool
from vrx.settings import ModelSettings, RestoreSettings, Task

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("units", "gain", "expected"),
    [
        (True, 0.5, torch.bfloat16),  # believed, however busy the machine is
        (False, 0.4, torch.float32),
        (False, 1.05, torch.float32),
        (False, 1.5, torch.bfloat16),
    ],
)
def test_bf16_is_taken_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, units: bool, gain: float, expected: torch.dtype
) -> None:
    monkeypatch.setattr(devices, "bf16_units", lambda: units)
    monkeypatch.setattr(devices, "bf16_gain", lambda: gain)
    assert pick_dtype("auto", CPU) is expected


def test_an_explicit_type_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "bf16_gain", lambda: pytest.fail("measured"))
    assert pick_dtype("fp32", CPU) is torch.float32
    assert pick_dtype("fp16", CPU) is torch.float16


def test_threads_are_limited_in_threads_that_begin_meanwhile_and_only_then() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    found = []
    with devices.limit_threads(1):
        worker = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        worker.start()
        worker.join()
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    assert found == [1]
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    with devices.limit_threads(None):
        assert (torch.get_num_threads(), cv2.getNumThreads()) == before


class Driver:
    """A PyTorch with CUDA, on a machine of some GPUs whose driver may have a fault."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fault: str = "", count: int = 1) -> None:
        def init() -> None:
            if fault:
                raise RuntimeError(fault)

        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


TOO_OLD = "The NVIDIA driver on your system is too old (found version 11040).\nPlease update your GPU driver."


def test_why_a_gpu_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="cuda is not available: this PyTorch was built without CUDA"):
        pick_device("cuda")
    Driver(monkeypatch, TOO_OLD)
    with pytest.raises(DeviceError, match=r"cuda:0 is not available: .* is too old \(found version 11040\)\. See"):
        pick_device("cuda:0")
    assert pick_device("auto") == CPU
    Driver(monkeypatch, count=2)
    with pytest.raises(DeviceError, match="cuda:2 is not available: the last one is cuda:1"):
        pick_device("cuda:2")


def test_a_gpu_without_kernels_for_it_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver(monkeypatch)
    ones = torch.ones

    def fails(*given: object, **options: object) -> torch.Tensor:
        if options.get("device") == torch.device("cuda"):
            raise RuntimeError(
                "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors"
            )
        return ones(*given, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(torch, "ones", fails)
    fault = devices.device_fault(torch.device("cuda"))
    assert fault == "CUDA error: no kernel image is available for execution on the device"
    assert pick_device("auto") == CPU
    assert devices.attention_fault(CPU) == ""


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_that_is_there_and_cannot_be_used_is_named(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Driver(monkeypatch, TOO_OLD)
    monkeypatch.setattr(devices, "DRIVER_FILES", (tmp_path if there else tmp_path / "none",))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    wanted = RestoreSettings(task=Task.UPSCALE, scale=2)
    notes = [note for note in ModelPool().select(ModelSettings(), wanted).notes if note.code == "gpu-unusable"]
    assert [note.level for note in notes] == ["warning"] * there
    assert all("driver on your system is too old" in note.text for note in notes)
    asked = ModelPool().select(ModelSettings(device="cpu"), wanted)
    assert not [note for note in asked.notes if note.code == "gpu-unusable"]


@pytest.mark.parametrize(
    ("capability", "bf16", "instead"), [((8, 6), True, "bf16"), ((7, 5), False, "fp16"), ((8, 9), True, "")]
)
def test_fp8_is_refused_where_a_gpu_does_not_multiply_in_it(
    capability: tuple[int, int], bf16: bool, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = torch.device("cuda")
    devices.fp8_fault.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A card")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bf16)
    monkeypatch.setattr(devices, "Fp8Linear", lambda *_: lambda _: torch.full((1,), 16.0))
    monkeypatch.setattr(torch, "ones", lambda *_, **__: None)
    devices.check_dtype("bf16", cuda)
    if not instead:
        devices.check_dtype("fp8", cuda)
    else:
        with pytest.raises(DeviceError) as refused:
            devices.check_dtype("fp8", cuda)
        major, minor = capability
        found = f"A card has compute capability {major}.{minor}, fp8 needs 8.9"
        assert refused.value.message == f"--dtype fp8 does not work on cuda: {found}"
        assert refused.value.hint == f"Use --dtype {instead}"
    devices.fp8_fault.cache_clear()


def test_fp8_is_tried_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    devices.fp8_fault.cache_clear()
    assert devices.fp8_fault(CPU) == ""

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("torch._scaled_mm is only supported on CUDA devices\nmore")

    monkeypatch.setattr(torch, "_scaled_mm", fails)
    devices.fp8_fault.cache_clear()
    with pytest.raises(DeviceError, match="only supported on CUDA devices"):
        ModelPool().select(ModelSettings(device="cpu", dtype="fp8"), RestoreSettings(task=Task.UPSCALE, scale=2))
    devices.fp8_fault.cache_clear()


def test_what_cannot_be_compiled_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object) -> object:
        raise RuntimeError("Failed to find C compiler. Please specify via CC\nmore")

    monkeypatch.setattr(torch, "compile", broken)
    assert devices.compile_fault(CPU) == "Failed to find C compiler. Please specify via CC"


@pytest.mark.parametrize(
    ("dtype", "bf16", "expected"),
    [
        (torch.float16, True, "bf16"),
        (torch.float16, False, "fp32"),
        (torch.bfloat16, True, "fp32"),
        (torch.float32, True, None),
    ],
)
def test_the_next_wider_type(
    dtype: torch.dtype, bf16: bool, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "bf16_units", lambda: bf16)
    monkeypatch.setattr(devices, "bf16_gain", lambda: 0.0)
    assert devices.wider_type(dtype, CPU) == expected


@pytest.mark.parametrize(
    ("version", "wrong"), [("2.9.0+cu130", True), ("2.9.1", True), ("2.8.0", False), ("2.10.0", False), ("2.11", False)]
)
def test_the_torch_whose_convolutions_take_too_much_memory_is_named(version: str, wrong: bool) -> None:
    assert devices.torch_fault(version).startswith(f"torch {version} takes up to 17 times the memory") is wrong


def test_a_run_on_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "torch_fault", lambda: "torch 2.9.1 takes too much")
    found = {
        name: [note.text for note in pool.device_notes(ModelSettings(device=name), torch.device(name))]
        for name in ("cuda", "cpu")
    }
    assert found == {"cuda": ["torch 2.9.1 takes too much"], "cpu": []}


@pytest.mark.parametrize(
    ("units", "asked", "right", "expected"),
    [
        ({"avx512_vnni": True}, False, True, True),
        ({"avx_vnni": True, "avx512_vnni": False}, False, True, True),
        ({"amx_int8": True}, False, True, True),
        ({"avx2": True}, False, True, False),
        (None, True, True, True),  # torch before 2.10 answers one question only
        (None, False, True, False),
        ({"avx512_vnni": True}, True, False, False),
    ],
)
def test_8_bits_need_units_and_a_torch_that_uses_them(
    units: dict[str, bool] | None, asked: bool, right: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if units is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: asked, raising=False)
    monkeypatch.setattr(devices, "multiplies_rightly", lambda: right)
    assert devices.int8_units() is expected
