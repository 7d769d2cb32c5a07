"""What every part works with: the device, its clock and its memory, the time left, and where results go."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter

import torch

from vrx.bench.gpu.results import Results
from vrx.pipeline.gpu import prepare


class Context:
    """A part under way.  `tiny` runs the same code at toy sizes on the processor."""

    def __init__(self, results: Results, limit: float, tiny: bool) -> None:
        self.results, self.tiny = results, tiny
        self.device = torch.device("cpu" if tiny else "cuda")
        self.dtype = torch.float32 if tiny else torch.bfloat16
        self._end = perf_counter() + limit
        prepare(self.device)

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU at work."""
        return self.device.type == "cuda"

    def left(self) -> float:
        """Seconds."""
        return self._end - perf_counter()

    def sync(self) -> None:
        """Wait for the device."""
        if self.cuda:
            torch.cuda.synchronize()

    def clear(self) -> None:
        """Give back what nothing needs any more, and forget the peak."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def reset_peak(self) -> None:
        """Measure memory from here on."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> float:
        """Gigabytes since the peak was forgotten; 0 on the processor."""
        return round(torch.cuda.max_memory_allocated() / 1e9, 2) if self.cuda else 0.0

    def reserved(self) -> float:
        """Gigabytes that torch took of the device since the peak was forgotten; 0 on the processor."""
        return round(torch.cuda.max_memory_reserved() / 1e9, 2) if self.cuda else 0.0

    def time(self, work: Callable[[], object], runs: int = 5, warm: int = 2) -> float:
        """Milliseconds that work takes: the median."""
        for _ in range(warm):
            work()
        spent = []
        for _ in range(1 if self.tiny else runs):
            self.sync()
            begin = perf_counter()
            work()
            self.sync()
            spent.append(perf_counter() - begin)
        return round(sorted(spent)[len(spent) // 2] * 1e3, 3)

    def random(self, *shape: int) -> torch.Tensor:
        """Normal random numbers of the part's number type."""
        return torch.randn(*shape, device=self.device, dtype=self.dtype)
