"""What is to overlap on the device, switched off and on in turn: is it faster, and is the result the same?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from vrx.bench.gpu.context import Context
from vrx.bench.gpu.driver import Outcome, through_threads
from vrx.bench.gpu.restorers import Spec, embedded, restorer_of
from vrx.networks.fusion import take_failures

TURNS = ("off", "on", "off", "on")


def measure_copies(context: Context, words: Sequence[str]) -> None:
    """The embedded model at some sizes, with a copy for every plane and with one a chunk each way, in turn."""
    measure_embedded(context, "VRX_PACKED", "copies", words)


def measure_graphs(context: Context, words: Sequence[str]) -> None:
    """The embedded model with its steps launched anew, and recorded and replayed, in turn."""
    measure_embedded(context, "VRX_GRAPHS", "graphs", words)


def measure_flow(context: Context, words: Sequence[str]) -> None:
    """The embedded model with optical flow in its stage, and beside it, in turn."""
    measure_embedded(context, "VRX_FLOW", "flow", words)


def measure_embedded(context: Context, variable: str, part: str, words: Sequence[str]) -> None:
    """The embedded model, `TASK:WIDTHxHEIGHT` in `words`, with a switch off and on."""
    for word in words:
        task, size = word.split(":")
        width, height = (int(side) for side in size.split("x"))
        scale = 4 if task == "upscale" else 1
        source = (32, 48) if context.tiny else (height // scale, width // scale)
        with context.results.guard("embedded", what=word, part=part):
            walk = partial(restore_embedded, context, task, scale, source)
            context.results.emit("embedded", what=word, part=part, **in_turns(context, variable, walk))


def restore_embedded(context: Context, task: str, scale: int, source: tuple[int, int]) -> Outcome:
    """Frames through the embedded model, which is built as the switches are now."""
    restorer = embedded(task, scale, context.device, context.dtype)
    return through_threads(restorer, context.device, 4 if context.tiny else 160, source, task == "inpaint")


def in_turns(context: Context, variable: str, walk: Callable[[], Outcome]) -> dict[str, object]:
    """Frames a second and memory with a switch off and on, twice, after a first walk; and the largest difference."""
    outcomes: dict[str, list[Outcome]] = {"off": [], "on": []}
    peaks: dict[str, float] = {}
    for number, way in enumerate(TURNS[:3] if context.tiny else (TURNS[1], *TURNS)):
        with switched(variable, way):
            context.clear()
            outcome = walk()
        if number:
            outcomes[way].append(outcome)
            peaks[way] = context.peak()
    return {
        "fps": {way: [outcome.fps for outcome in found] for way, found in outcomes.items()},
        "stage_s": {way: found[-1].by_stage() for way, found in outcomes.items()},
        "peak_gb": peaks,
        "worst_levels": outcomes["off"][0].worst_difference(outcomes["on"][0]),
        "said": said(),
    }


def said() -> list[str]:
    """What runs in another way than it was meant to, since the last call."""
    return [failure.text for failure in take_failures()]


@contextmanager
def switched(variable: str, way: str) -> Iterator[None]:
    """A variable of this process's environment has a value."""
    before: Mapping[str, str] = dict(os.environ)
    os.environ[variable] = way
    try:
        yield
    finally:
        os.environ.pop(variable)
        os.environ.update(before)


def measure(context: Context, words: Sequence[str]) -> None:
    """Large models with a stream for all stages, and with one for each, in turn."""
    for word in words:
        if context.left() < 12:
            context.results.emit("bench", what=word, part="streams", skipped="no time")
            continue
        with context.results.guard("bench", what=word, part="streams"):
            context.clear()
            spec = Spec.parse(word, context.tiny)
            restorer = restorer_of(spec, context)
            schedule, source = restorer.schedule, (spec.height // restorer.scale, spec.width // restorer.scale)
            count = schedule.first + schedule.next * (1 if context.tiny else 6)
            walk = partial(through_threads, restorer, context.device, count, source, spec.masked)
            found = in_turns(context, "VRX_STREAMS", walk)
            context.results.emit("bench", what=word, steady=True, part="streams", **found)
