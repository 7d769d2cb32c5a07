"""The real command and the tests that need CUDA, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from vrx.bench.gpu.context import Context
from vrx.bench.gpu.environment import is_missing

ROOT = Path(__file__).parents[3]
CLIP = ROOT / "examples" / "flower.mp4"
TESTS = (
    "tests/models/test_cuda.py",
    "tests/models/test_offload.py",
    "tests/networks/embedded/test_network.py",
    "tests/pipeline/test_packing.py",
    "tests/pipeline/test_on_gpu.py",
)
COMMAND = "from vrx.bench.gpu import stubs; stubs.install(); import sys; from vrx.cli.app import main; main()"
PYTEST = (
    "from vrx.bench.gpu import stubs; stubs.install(); import sys, pytest; raise SystemExit(pytest.main(sys.argv[1:]))"
)


def run_command(context: Context, words: Sequence[str]) -> None:
    """`vrx bench` on random weights, and a whole file where there is something to read and write it with."""
    device = "cpu" if context.tiny else "cuda"
    size = ["--size", "832x480", "--chunks", "2", "--json", "--device", device]
    calls = [] if context.tiny else [["bench", "--model", m, "--random-weights", *size] for m in ("infvsr", "flashvsr")]
    if is_missing("av") or is_missing("imageio_ffmpeg") or is_missing("scenedetect"):
        context.results.emit("embedded", command="upscale", skipped="PyAV, ffmpeg or PySceneDetect is missing")
    else:
        result = str(Path(tempfile.gettempdir()) / f"vrx-gpu-{os.getpid()}.mkv")
        frames = ["--frames", "4" if context.tiny else "100", "--device", device, "--no-audio"]
        calls.append(["upscale", str(CLIP), "-s", "4", "--model", "embedded", "-y", "-o", result, *frames])
    for call in calls:
        name = " ".join(call)[:60]
        with context.results.guard("embedded", command=name):
            begin = perf_counter()
            done = run_python(context, COMMAND, call, {})
            output = {"rc": done.returncode, "out": done.stdout[-1500:], "err": done.stderr[-600:]}
            context.results.emit("embedded", command=name, seconds=round(perf_counter() - begin, 1), **output)


def run_tests(context: Context, words: Sequence[str]) -> None:
    """The repository's own tests of CUDA; a GPU that cannot be used is a failure."""
    required = {} if context.tiny else {"VRX_REQUIRE_CUDA": "1"}
    options = ["-q", "-m", "cuda", "-W", "default", "--no-header", "-p", "no:cacheprovider", *(words or TESTS)]
    with context.results.guard("small", what="pytest -m cuda"):
        done = run_python(context, PYTEST, options, required)
        output = {"rc": done.returncode, "out": done.stdout[-3000:], "err": done.stderr[-500:]}
        context.results.emit("small", what="pytest -m cuda", **output)


def run_python(
    context: Context, program: str, words: Sequence[str], more: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """A program of one line with arguments, in the checkout, for as long as there is time."""
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        timeout=max(5.0, context.left()),
        check=False,
    )
