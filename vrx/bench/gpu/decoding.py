"""Video decoded by the processor and by the GPU, in turn: how fast, and the same pictures?"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from vrx.bench.gpu.context import Context
from vrx.bench.gpu.environment import is_missing
from vrx.bench.gpu.overlap import TURNS, switched
from vrx.events import Note, Notify
from vrx.media.ffmpeg import executable
from vrx.media.read import Reader, Span


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
            digests, notes = set[str](), list[Note]()
            for way in TURNS:
                with switched("VRX_NVDEC", way):
                    rate, digest = read(path, frames, notes.append)
                fps[way].append(rate)
                digests.add(digest)
            same = len(digests) == 1
            context.results.emit(
                "embedded", what=word, part="decoding", fps=fps, same=same, said=[note.text for note in notes]
            )


def read(path: Path, frames: int, notify: Notify) -> tuple[float, str]:
    """Frames a second, and a hash of all samples."""
    found, begin = [], perf_counter()
    with Reader(path, Span(), notify) as reader:
        for frame in reader.frames():
            found.append(frame.planes)
    seconds, digest = perf_counter() - begin, hashlib.sha256()
    for planes in found:
        for plane in planes:
            digest.update(np.ascontiguousarray(plane).tobytes())
    return round(frames / seconds, 1), digest.hexdigest()
