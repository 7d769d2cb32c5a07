import pytest

from vrx.bench.isolated import run_in_subprocess
from vrx.bench.peak_memory import peak_memory, reset_peak
from vrx.errors import UsageError, VrxError


def touch(megabytes: int) -> int:
    """The peak of a process that takes so much."""
    block = bytearray(megabytes << 20)
    block[:: 1 << 12] = bytes(len(block) >> 12)  # pages count once they are touched
    return peak_memory()


def fail() -> None:
    raise UsageError("no", "yes")


def leave() -> None:
    raise SystemExit(3)


def test_memory_taken_in_another_process_is_its_own() -> None:
    large, small = run_in_subprocess(touch, 200), run_in_subprocess(touch, 1)
    assert 150 << 20 < large - small < 250 << 20


def test_what_is_raised_there_is_raised_here() -> None:
    with pytest.raises(UsageError, match="no") as raised:
        run_in_subprocess(fail)
    assert raised.value.hint == "yes"
    with pytest.raises(VrxError, match="ended without a result"):
        run_in_subprocess(leave)


def test_a_peak_is_forgotten() -> None:
    before = touch(200)
    reset_peak()
    assert peak_memory() < before - (100 << 20)
