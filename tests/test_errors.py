"""Memory that runs out is one failure, in whatever words a library puts it."""

import errno
import os

import av.error
import cv2
import numpy as np
import pytest
import torch

from vrx.errors import DeviceError, InputError, OutputError, VrxError, out_of_memory, resource_errors

FAILURES = {
    "python": MemoryError(),
    "torch on a processor": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 9 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "torch on Windows": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    "torch on a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "oneDNN": RuntimeError("could not create a primitive"),
    "C++": RuntimeError("std::bad_alloc"),
    "OpenCV": cv2.error("OpenCV(5.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
    "the system": OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    "PyAV": av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory", "clip.mp4"),
    "the loader": ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    "threads": RuntimeError("can't start new thread"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_it_is_known_and_becomes_a_device_error(name: str) -> None:
    assert out_of_memory(FAILURES[name])
    with pytest.raises(DeviceError, match="out of memory"), resource_errors():
        raise FAILURES[name]


def test_a_real_one_is_known() -> None:
    for take in (lambda: np.empty(1 << 60, np.uint8), lambda: torch.empty(1 << 60, dtype=torch.uint8)):
        with pytest.raises(DeviceError), resource_errors():
            take()


def test_it_is_known_behind_another_failure() -> None:
    with pytest.raises(DeviceError), resource_errors():
        try:
            raise MemoryError
        except MemoryError as error:
            raise InputError("cannot read clip.mp4") from error


@pytest.mark.parametrize(
    "error",
    [
        InputError("out of memory.mp4: no such file"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "out of memory.mp4"),
        av.error.InvalidDataError(1094995529, "Invalid data found", "bad_alloc.mp4"),
        ValueError("out of memory"),
        RuntimeError("cuDNN Frontend error: No valid execution plans built."),  # of attention: it has other kernels
        RuntimeError("shapes do not fit"),
    ],
)
def test_other_failures_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, resource_errors():
        raise error
    assert caught.value is error


def test_a_gpu_is_named() -> None:
    with pytest.raises(DeviceError, match=r"cuda:1 ran out of memory\. Use --device cpu"), resource_errors("cuda:1"):
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((number, OutputError) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
        (errno.ENAMETOOLONG, InputError),
    ],
)
def test_what_a_disk_lacks_is_said(number: int, kind: type[VrxError]) -> None:
    with pytest.raises(kind, match="a file"), resource_errors():
        raise OSError(number, os.strerror(number))
