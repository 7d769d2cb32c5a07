"""Everything that only a GPU can tell, in one go: does vrx run there, is it right, how fast is it, what takes the time.

    python -m vrx.bench.gpu [--out DIR] [--budget SECONDS] [--only 1,3] [--tiny]

In a checkout, with torch, numpy, safetensors, msgspec and platformdirs; other packages that are missing are stood in
for, and what needs them is left out.  Parts run one after the other, the most valuable first, each in a process of its
own under a time limit; every result is written at once.  `--tiny` runs the same code at toy sizes on the processor.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from vrx.bench.gpu import stubs
from vrx.bench.gpu.results import Results

if TYPE_CHECKING:
    from vrx.bench.gpu.context import Context

RESERVE = 4.0  # seconds of the budget for the summary
LEAST = 12.0  # seconds that a part is started with
MARGIN = 3.0  # seconds before its limit at which a part begins nothing more
PATIENCE = 6  # times the limit for toys on a processor


@dataclass(frozen=True)
class Part:
    """A function of `vrx.bench.gpu`, the file its failure goes to, its arguments, and its seconds at most."""

    name: str
    module: str
    function: str
    file: str
    seconds: float
    words: tuple[str, ...] = ()

    def run(self, context: Context) -> None:
        """All of it, here."""
        function: Callable[[Context, Sequence[str]], None] = getattr(
            import_module(f"vrx.bench.gpu.{self.module}"), self.function
        )
        with context.results.guard(self.file, part=self.name):
            function(context, self.words)


def bench(seconds: float, *words: str) -> Part:
    """Large models at some sizes, see `vrx.bench.gpu.restorers.Spec`."""
    return Part("bench", "models", "measure", "bench", seconds, words)


EMBEDDED = ("upscale:832x480", "upscale:1280x720", "upscale:1920x1080")
PARTS = (  # in order of value, but for those that were added later
    Part("environment", "environment", "measure", "env", 45),
    Part("small", "agreement", "compare", "small", 125),
    bench(80, "infvsr:1280x720:auto:auto:profile", "infvsr:1280x720:auto:auto:plain", "infvsr:832x480:auto:auto"),
    bench(100, "flashvsr:1280x720:auto:auto:profile", "flashvsr:832x480:auto:auto", "flashvsr:1920x1080:auto:auto"),
    Part("embedded", "models", "measure_embedded", "embedded", 50),
    bench(50, "instantvir-inpaint-lean:832x480:auto:auto:profile", "infvsr:1280x720:tiny:auto"),
    Part("micro", "kernels", "measure", "micro", 70),
    bench(75, "infvsr:1920x1080:auto:auto", "infvsr:1920x1080:tiny:auto", "instantvir-inpaint:832x480:tiny:auto"),
    Part("streams", "overlap", "measure", "bench", 90, ("flashvsr:1280x720:auto:auto", "infvsr:1280x720:tiny:auto")),
    Part("command", "commands", "run_command", "embedded", 60),
    Part("tests", "commands", "run_tests", "small", 90),
    Part("ways", "ways", "compare", "bench", 75, ("flashvsr:1280x720:auto:auto",)),
    Part("ways", "ways", "compare", "bench", 75, ("infvsr:1280x720:tiny:auto",)),
    Part(
        "memory", "ways", "run_out", "small", 60, ("infvsr:1280x720:auto:auto@18@15@12", "flashvsr:832x480:auto:auto@8")
    ),
    bench(25, "instavsr:1280x720:auto:auto"),
    bench(30, "stream-diffvsr:1280x720:auto:auto"),
    bench(45, "satb-vr:1280x720:auto:auto:steps=1"),
    Part("copies", "overlap", "measure_copies", "embedded", 40, ("upscale:1280x720", "upscale:1920x1080")),
    Part("trace", "ways", "record_trace", "bench", 45, ("flashvsr:1280x720:auto:auto",)),
    bench(60, "relayvsr:1280x720:auto:auto", "relayvsr:1920x1080:auto:auto"),
    bench(80, "recavsr:1280x720:auto:auto", "recavsr:1920x1080:auto:auto", "recavsr:1280x720:full:auto"),
    bench(60, "swiftvr:1280x720:auto:auto", "swiftvr:1920x1080:auto:auto"),
    bench(60, "fastvr:1280x720:auto:auto", "fastvr:1920x1080:auto:auto"),
    Part("formats", "ways", "compare_formats", "bench", 60, ("flashvsr:1280x720:auto:auto",)),
    Part("formats", "ways", "compare_formats", "bench", 75, ("swiftvr:1280x720:auto:auto",)),
    Part("graphs", "overlap", "measure_graphs", "embedded", 60, EMBEDDED),
    Part("flow", "overlap", "measure_flow", "embedded", 60, EMBEDDED),
    Part(
        "attention order",
        "settings",
        "compare_orders",
        "bench",
        75,
        ("infvsr:1280x720:tiny:auto", "instantvir-inpaint-lean:832x480:auto:auto"),
    ),
    Part("decoding", "decoding", "compare", "embedded", 60, ("libx264:1920x1080", "libx265:3840x2160")),
    Part("segments", "settings", "compare_segments", "bench", 75, ("infvsr:1280x720:auto:auto:plain",)),
)


def run_all(options: argparse.Namespace, results: Results) -> None:
    """The wanted parts, inside the budget."""
    results.clear()
    missing = [name for name in stubs.OPTIONAL if not stubs.exists(name)]
    results.say(f"missing here: {', '.join(missing) or 'nothing'}; results in {results.folder}")
    for number in options.only or range(1, len(PARTS) + 1):
        part = PARTS[number - 1]
        left = options.budget - (perf_counter() - results.began) - RESERVE
        if left < LEAST:
            results.say(f"no time for part {number} ({part.name}) and those after it")
            break
        seconds = min(part.seconds * (PATIENCE if options.tiny else 1), left)
        begin = perf_counter()
        status = run_apart(number, seconds, options)
        results.say(f"== part {number} {part.name} {' '.join(part.words)}: {status}, {perf_counter() - begin:.0f} s")
    results.summarize()


def run_apart(number: int, seconds: float, options: argparse.Namespace) -> str:
    """One part in a process of its own, which is ended with all it started when its time is over."""
    words = ["--part", str(number), "--limit", str(seconds - MARGIN), "--out", str(options.out)]
    command = [sys.executable, "-m", "vrx.bench.gpu", *words, *(["--tiny"] if options.tiny else [])]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return f"status {process.wait(timeout=seconds)}"
    except subprocess.TimeoutExpired:
        return "out of time"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def numbers(text: str) -> tuple[int, ...]:
    """`3,1` as numbers of parts.  Raises ValueError for one that there is not."""
    found = tuple(int(word) for word in text.split(","))
    if not all(1 <= number <= len(PARTS) for number in found):
        raise ValueError(text)
    return found


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m vrx.bench.gpu", description=__doc__.splitlines()[0])
    default = Path(os.environ.get("OUT", "gpu-results"))
    parser.add_argument("--out", type=Path, default=default, help="folder of the results [$OUT or gpu-results]")
    parser.add_argument("--budget", type=float, default=500.0, help="seconds for everything")
    parser.add_argument("--only", type=numbers, default=(), help="numbers of parts in their order, commas between")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, on the processor")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=60.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    results = Results(options.out, perf_counter())
    if options.part is None:
        run_all(options, results)
        return
    stubs.install()
    from vrx.bench.gpu.context import Context

    PARTS[options.part - 1].run(Context(results, options.limit, options.tiny))


if __name__ == "__main__":
    main()
