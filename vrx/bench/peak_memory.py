"""The most memory that this process had resident, in all or since a moment."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

FORGET = Path("/proc/self/clear_refs")  # Linux: writing 5 forgets the peak (man 5 proc)
STATUS = Path("/proc/self/status")


def reset_peak() -> None:
    """Reset the peak, where the system can; elsewhere it is that of the process so far."""
    with suppress(OSError):  # not Linux, or not allowed
        FORGET.write_text("5")


def peak_memory() -> int:
    """Bytes, since `reset_peak` where the system supports that."""
    try:
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
