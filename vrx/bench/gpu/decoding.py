"""Video decoded by the processor and by the GPU, in turn: how fast, and the same pictures?"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from vrx.bench.gpu.context import Context
from vrx.bench.gpu.environment import is_missing
from vrx.bench.gpu.overlap import TURNS, switched
from vrx.media.ffmpeg import executable
from vrx.media.read import Reader, Span

LOGGER = "vrx.media.hardware"  # which says where the GPU is not used


def compare(context: Context, words: Sequence[str]) -> None:
    """`CODER:WIDTHxHEIGHT`: a moving pattern, written by an encoder of ffmpeg and read with the GPU off and on."""
    if is_missing("av") or is_missing("imageio_ffmpeg"):
        context.results.emit("embedded", part="decoding", skipped="PyAV or ffmpeg is missing")
        return
    for word in words:
        with context.results.guard("embedded", what=word, part="decoding"), tempfile.TemporaryDirectory() as folder:
            coder, size = word.split(":")
            path, frames = Path(folder) / "in.mkv", 24 if context.tiny else 120
            source = f"testsrc2=size={'160x96' if context.tiny else size}:rate=25"
            written = ["-f", "lavfi", "-i", source, "-frames:v", str(frames), "-pix_fmt", "yuv420p", "-c:v", coder]
            subprocess.run([executable(), "-v", "error", *written, str(path)], check=True)
            fps: dict[str, list[float]] = {"off": [], "on": []}
            digests, said = set(), Said()
            logging.getLogger(LOGGER).addHandler(said)
            try:
                for way in TURNS:
                    with switched("VRX_NVDEC", way):
                        rate, digest = read(path, frames)
                    fps[way].append(rate)
                    digests.add(digest)
            finally:
                logging.getLogger(LOGGER).removeHandler(said)
            same = len(digests) == 1
            context.results.emit("embedded", what=word, part="decoding", fps=fps, same=same, said=said.lines)


class Said(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self.lines.append(record.getMessage())


def read(path: Path, frames: int) -> tuple[float, str]:
    """Frames a second, and a hash of all samples."""
    found, begin = [], perf_counter()
    with Reader(path, Span(), lambda _: None) as reader:
        for frame in reader.frames():
            found.append(frame.planes)
    seconds, digest = perf_counter() - begin, hashlib.sha256()
    for planes in found:
        for plane in planes:
            digest.update(np.ascontiguousarray(plane).tobytes())
    return round(frames / seconds, 1), digest.hexdigest()
