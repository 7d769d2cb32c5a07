"""Functions in a process of their own, and the memory that a process had."""

import os

import pytest

from vrx.bench.isolated import run_in_subprocess
from vrx.bench.peak_memory import peak_memory, reset_peak
from vrx.errors import UsageError, VrxError


def number(value: int) -> int:
    if value == 1:
        raise UsageError("one is refused")
    if value == 2:
        os._exit(3)
    return os.getpid() * value


def test_a_function_runs_elsewhere_and_its_failures_come_back() -> None:
    assert run_in_subprocess(number, 3) not in (0, 3 * os.getpid())
    with pytest.raises(UsageError, match="one is refused"):
        run_in_subprocess(number, 1)
    with pytest.raises(VrxError, match="without a result"):
        run_in_subprocess(number, 2)


def test_a_peak_is_that_since_it_was_forgotten() -> None:
    block = bytearray(200 << 20)
    block[::4096] = b"x" * len(block[::4096])
    before = peak_memory()
    del block
    reset_peak()
    assert 0 < peak_memory() <= before
