"""The ways in which a run can work: the same frames in each? how fast, in how much memory? and which it takes when a
GPU's memory really runs out.  Number formats of weights in the same manner.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from time import perf_counter
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

from vrx.batches import Deadline
from vrx.bench.gpu.context import Context
from vrx.bench.gpu.driver import LAYOUT, Stream, moving_pattern
from vrx.bench.gpu.restorers import Spec, restorer_of
from vrx.errors import VrxError
from vrx.events import Event, Note
from vrx.media.frame import Color, Frame
from vrx.models.base import Restorer
from vrx.models.registry import FAMILIES
from vrx.pipeline.devices import release_memory
from vrx.pipeline.fallback import Fallback
from vrx.pipeline.progress import Progress
from vrx.pipeline.run import Attempt
from vrx.pipeline.session import Session
from vrx.pipeline.trace import Trace
from vrx.pipeline.ways import Way
from vrx.settings import ModelSettings, RestoreSettings, Task

WAYS = {"plain": ("plain",), "compiled": (), "offloaded": ("plain",)}  # and flags of a `Spec` in each
FORMATS = {
    "plain": ("plain",),
    "int8": ("plain", "int8"),
    "fp8": ("plain", "fp8"),
    "fp8 offloaded": ("plain", "fp8"),
    "chains": ("chains",),
    "fp8 chains": ("chains", "fp8"),
    "compiled": (),
    "fp8 compiled": ("fp8",),
}
CHUNKS = 4
SEED = 1


def compare(context: Context, words: Sequence[str]) -> None:
    """Models in `words`, a few chunks in every way: milliseconds, memory, and how far the frames are apart."""
    compare_each(context, words, WAYS)


def compare_formats(context: Context, words: Sequence[str]) -> None:
    """The same for the number formats of weights, whose frames are expected to be apart: see `psnr`."""
    compare_each(context, words, FORMATS)


def compare_each(context: Context, words: Sequence[str], ways: Mapping[str, tuple[str, ...]]) -> None:
    """Models in `words` with the flags of every way; frames are compared with those of the first."""
    for word in words:
        expected: list[Tensor] = []
        for way, flags in ways.items():
            if context.left() < 12:
                context.results.emit("bench", what=word, way=way, skipped="no time")
                continue
            context.clear()
            with context.results.guard("bench", what=word, way=way), torch.inference_mode():
                spec = Spec.parse(":".join((word, *flags)), context.tiny)
                found, record = run_chunks(context, spec, Way(offload=way.endswith("offloaded")))
                if expected:
                    record["worst"] = round(max(apart(a, b) for a, b in zip(found, expected, strict=True)), 5)
                    record["psnr"] = round(decibels(torch.cat(found), torch.cat(expected)), 1)
                context.results.emit("bench", what=word, way=way, steady=True, **record)
                expected = expected or found


def run_chunks(context: Context, spec: Spec, way: Way) -> tuple[list[Tensor], dict[str, object]]:
    """The frames of a few chunks on the host, and seconds of the first, milliseconds of a later one, and memory."""
    torch.manual_seed(SEED)
    stream = Stream(restorer_of(spec, context, way), source_size(spec))
    torch.manual_seed(SEED)
    frames, ends, host = [], [perf_counter()], 0.0
    for number in range(CHUNKS):
        chunk = stream.noise(context.device, spec.masked)
        context.sync()
        if number == 1:
            context.reset_peak()
        begin = perf_counter()
        result = stream.step(chunk)
        host = perf_counter() - begin
        context.sync()
        ends.append(perf_counter())
        frames.append(result[:2].float().cpu())
    spent = [after - before for before, after in pairwise(ends)]
    record = {"first_s": round(spent[0], 1), "ms": round(spent[-1] * 1e3, 1), "host_ms": round(host * 1e3, 1)}
    return frames, {**record, "peak_gb": context.peak()}


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two results."""
    return float((found - expected).abs().max())


def decibels(found: Tensor, expected: Tensor) -> float:
    """PSNR of frames in 0..1; 200 where they are equal."""
    return -10 * math.log10(max(float((found - expected).square().mean()), 1e-20))


def source_size(spec: Spec) -> tuple[int, int]:
    """Height and width of the source that gives a result of the wanted size."""
    scale = 4 if spec.task is Task.UPSCALE else 1
    return spec.height // scale, spec.width // scale


# ---------------------------------------------------------------- out of memory


@dataclass
class Stand:
    """What a run asks of a session, and of the writer of its result, without a file."""

    spec: Spec
    context: Context
    count: int
    notes: list[str] = field(default_factory=list)
    written: list[Frame] = field(default_factory=list)
    mask: None = None
    run_part: None = None
    boundaries: None = None
    cuts: frozenset[int] = frozenset()
    source: str = "none.mp4"
    deadline: Deadline = field(default_factory=Deadline)
    scene: int = 0
    resumed_frames: int = 0
    saved: int = 0
    trace: Trace = field(default_factory=lambda: Trace(None))

    def __post_init__(self) -> None:
        restore = RestoreSettings(task=Task.UPSCALE, scale=4)
        selection = SimpleNamespace(scene_threshold=None)
        model = ModelSettings(tile=self.spec.tile, decoder=self.spec.decoder)
        self.job = SimpleNamespace(model=model, restore=restore, source=self.source, selection=selection)
        self.entry, self.device, self.dtype = self.spec.entry, self.context.device, self.context.dtype
        height, width = source_size(self.spec)
        color = Color(matrix="bt709", full_range=False)
        self.target = SimpleNamespace(layout=LAYOUT, color=color, size=(width * 4, height * 4))
        self.reader = SimpleNamespace(
            size=(width, height),
            info=SimpleNamespace(still=False),
            frames=lambda: moving_pattern(self.count, (height, width)),
        )
        self._loaded: dict[Way, Restorer] = {}

    @property
    def frames(self) -> int:
        """Frames written."""
        return len(self.written)

    def restorer(self, way: Way) -> Restorer:
        """The model, as it is to work."""
        key = replace(way, in_turn=False)
        if key not in self._loaded:
            torch.manual_seed(SEED)
            self._loaded[key] = restorer_of(self.spec, self.context, way)
        return self._loaded[key]

    def drop_model(self) -> None:
        """As a session does."""
        self._loaded.clear()
        release_memory(self.device)

    def rewind(self) -> None:
        """The source begins with every reading."""

    def notify(self, note: Note) -> None:
        """Remember what the run says."""
        self.notes.append(str(note.facts.get("step", note.code)))

    def watch(self, event: Event) -> None:
        """Nobody watches."""

    def write(self, frame: Frame) -> None:
        """Keep a frame of the result."""
        self.written.append(frame)


def run_out(context: Context, words: Sequence[str]) -> None:
    """`SPEC@GIGABYTES`: a model under real limits of memory; the steps that it takes, and whether the frames stay."""
    for word in words:
        text, *limits = word.split("@")
        spec, expected = Spec.parse(f"{text}:plain", context.tiny), list[Frame]()
        for limit in ("", *limits):
            if context.left() < 8:
                context.results.emit("small", what=text, limit_gb=limit, skipped="no time")
                continue
            context.clear()
            with context.results.guard("small", what=text, limit_gb=limit), memory_limit(context, limit):
                begin = perf_counter()
                stand, failure = run_to_end(context, spec)
                record: dict[str, Any] = {"steps": stand.notes, "failure": failure, "frames": stand.frames}
                if expected and not failure:
                    record["worst_levels"] = worst_levels(stand.written, expected)
                expected = expected or stand.written
                seconds = round(perf_counter() - begin, 1)
                context.results.emit("small", what=text, limit_gb=limit, seconds=seconds, **record)


def record_trace(context: Context, words: Sequence[str]) -> None:
    """A run as --trace records it, into `trace.json`: seconds of work by stage, of its thread and of the device."""
    for word in words:
        with context.results.guard("bench", what=word, part="trace"):
            spec, trace = Spec.parse(word, context.tiny), Trace(context.results.folder / "trace.json")
            with trace.recording():
                stand, failure = run_to_end(context, spec, trace)
            found = {"failure": failure or trace.fault, "frames": stand.frames, "seconds": busy(trace)}
            context.results.emit("bench", what=word, part="trace", steady=True, **found)


def busy(trace: Trace) -> dict[str, float]:
    """Seconds that each track of a trace spent on chunks."""
    assert trace.path is not None
    spent: Counter[str] = Counter()
    names: dict[int, str] = {}
    for event in json.loads(trace.path.read_text()):
        if event["name"] == "thread_name":
            names[event["tid"]] = event["args"]["name"]
        elif event["name"].endswith(" chunk"):
            sign = {"B": -event["ts"], "E": event["ts"], "X": event.get("dur", 0.0)}[event["ph"]]
            spent[names[event["tid"]]] += sign / 1e6
    return {name: round(seconds, 3) for name, seconds in spent.items()}


def run_to_end(context: Context, spec: Spec, trace: Trace | None = None) -> tuple[Stand, str]:
    """A run of two chunks and a bit, and its failure, if it is one."""
    schedule = FAMILIES[spec.entry.family].capabilities.schedule
    stand = Stand(spec, context, schedule.first + schedule.next + 1, trace=trace or Trace(None))
    session = cast(Session, stand)
    fallback = Fallback(session, None)
    try:
        attempt = Attempt(session, fallback, cast(Any, stand), Progress(session, cast(Any, stand), perf_counter()))
        while (error := attempt.run()) is not None:
            fallback.advance(error)
    except VrxError as error:
        return stand, error.message
    finally:
        stand.drop_model()
    return stand, ""


@contextmanager
def memory_limit(context: Context, limit: str) -> Iterator[None]:
    """No more than so many gigabytes for this process; all there are for an empty text."""
    if not context.cuda:
        yield
        return
    total = torch.cuda.get_device_properties(context.device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, float(limit) * 1e9 / total) if limit else 1.0)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def worst_levels(found: list[Frame], expected: list[Frame]) -> int:
    """The largest difference of a sample."""
    return max(
        int(abs(a.astype(int) - b.astype(int)).max())
        for one, other in zip(found, expected, strict=True)
        for a, b in zip(one.planes, other.planes, strict=True)
    )
