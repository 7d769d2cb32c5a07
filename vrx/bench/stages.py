"""Measuring the large systems stage by stage, with random weights of the published sizes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from vrx.bench.peak_memory import peak_memory, reset_peak
from vrx.bench.random_weights import RandomComponents, random_context
from vrx.errors import ModelError
from vrx.models.base import DeviceChunk, Restorer, SceneStart
from vrx.models.family import BuildRequest
from vrx.models.loader import load_model
from vrx.models.measures import MEASURES
from vrx.models.registry import FAMILIES
from vrx.models.runner import SceneRunner
from vrx.networks.fusion import take_failures
from vrx.pipeline import memory
from vrx.pipeline.cost import bandwidth, matrix_rate, product_rate
from vrx.pipeline.devices import check_dtype, describe_type, machine_name, pick_device, pick_dtype, weight_format
from vrx.pipeline.fitting import limit_to_memory
from vrx.pipeline.gpu import prepare
from vrx.pipeline.memory import Need
from vrx.pipeline.select_model import check_format, least_entry_memory
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights.catalogue import EMBEDDED, Entry

logger = logging.getLogger(__name__)

Say = Callable[[str], object]
SIZES = ((832, 480), (1280, 720), (1920, 1080))  # of output, width and height
PROCESSOR_SIZES = ((128, 128),)  # where two cores take up to a minute for a chunk


def attention_operations(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    """Of one fused attention, from the shapes."""
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


# torch counts the fused attention of a GPU, but not that of a processor
ON_PROCESSOR = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_operations}


@dataclass(frozen=True)
class Rates:
    """What a device was measured to reach: operations a second in the type of the run and in fp8, bytes a second."""

    matrix: float
    fp8: float
    bandwidth: float

    @classmethod
    def of(cls, device: torch.device, dtype: torch.dtype, fp8: bool) -> Rates:
        """Of a device; that in fp8 is measured where it is used."""
        matrix = max(matrix_rate(device, dtype), product_rate(device, dtype))
        return cls(matrix, product_rate(device, dtype, fp8=True) if fp8 else matrix, bandwidth(device))


@dataclass(frozen=True)
class Operations:
    """Multiplications and additions, each counted: all of them, and those in fp8 among them."""

    total: float
    fp8: float

    @classmethod
    def of(cls, counter: FlopCounterMode) -> Operations:
        """What was counted."""
        fp8 = counter.get_flop_counts().get("Global", {}).get(torch.ops.aten._scaled_mm, 0)
        return cls(float(counter.get_total_flops()), float(fp8))

    def seconds(self, rates: Rates) -> float:
        """The least that they take."""
        return (self.total - self.fp8) / rates.matrix + self.fp8 / rates.fp8


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """One stage at one size: seconds a chunk, frames per second, and the least it could take.

    `operations` multiplications and additions, each counted; `bytes` weights and caches that must be
    read; `floor` seconds, the larger of both over what this device was measured to reach; `gap` seconds
    over floor; `memory` the stage's own peak in bytes.
    """

    width: int
    height: int
    stage: str
    frames: int
    seconds: float
    fps: float
    operations: float
    bytes: int
    floor: float
    gap: float
    memory: int


@dataclass(frozen=True, kw_only=True)
class LargeBenchmark:
    """All sizes on one machine; rates in operations and bytes per second."""

    machine: str
    model: str
    device: str
    dtype: str
    torch: str
    parameters: int
    matrix_rate: float
    bandwidth: float
    rows: list[StageRow]


def benchmark_random(
    entry: Entry, sizes: Sequence[tuple[int, int]], chunks: int, model: ModelSettings, say: Say = logger.info
) -> LargeBenchmark:
    """Every stage of an entry at output sizes (width, height): as many chunks as fill the caches, one that is counted,
    then `chunks` timed ones.  Usual sizes where there are none; `say` takes a line about what begins.

    Raises ModelError for an entry that has no such networks, DeviceError where a processor certainly lacks the memory.
    """
    if not entry.available or entry.family == EMBEDDED or entry.family in MEASURES:
        raise ModelError(f"the model {entry.name} is not measured with random weights", "Leave --random-weights out")
    device = pick_device(model.device)
    sizes = sizes or (PROCESSOR_SIZES if device.type == "cpu" else SIZES)
    check_format(entry, model.dtype, Task(entry.tasks[0]))
    check_dtype(model.dtype, device)
    dtype = pick_dtype(model.dtype, device)
    if device.type == "cpu":
        memory.check(Need.of(max(predict(entry, size, model) for size in sizes)))
    say(f"{entry.name}: making networks of the published size")
    task = Task(entry.tasks[0])
    mask = Path("none") if task is Task.INPAINT else None  # required, never read
    restore = RestoreSettings(task=task, scale=4 if task is Task.UPSCALE else 1, mask=mask)
    family = FAMILIES[entry.family]
    components = RandomComponents.of(entry, family, device, dtype)
    prompt, quantized = random_context(family), weight_format(model.dtype)
    request = BuildRequest(components, model, device, dtype, prompt, quantized=quantized)
    prepare(device)
    restorer = load_model(entry, limit_to_memory(request, entry)).restorer(restore)
    rates = Rates.of(device, dtype, fp8=quantized == "fp8")
    meters = (Meter(restorer, size, device) for size in sizes)
    rows = [row for meter in meters for row in measure(meter, chunks, rates, say)]
    for failure in take_failures():
        logger.warning("%s", failure.text)
    counted = {id(p): p.numel() for stage in restorer.stages.values() for p in parameters(stage)}
    return LargeBenchmark(
        machine=machine_name(device),
        model=entry.name,
        device=str(device),
        dtype=describe_type(dtype, quantized),
        torch=torch.__version__,
        parameters=sum(counted.values()),
        matrix_rate=rates.matrix,
        bandwidth=rates.bandwidth,
        rows=rows,
    )


def predict(entry: Entry, size: tuple[int, int], model: ModelSettings) -> int:
    """Bytes that an entry takes of a processor at an output size."""
    return least_entry_memory(entry, size[0] * size[1], model, processor=True) or 0


def measure(meter: Meter, chunks: int, rates: Rates, say: Say = logger.info) -> list[StageRow]:
    """The rows of one size."""
    (width, height), name = meter.size, "x".join(map(str, meter.size))
    with torch.inference_mode():
        say(f"{name}: filling caches")
        meter.fill_caches()
        say(f"{name}: counting operations; the last chunk took {meter.last_seconds:.2f} s")
        operations = meter.count()
        say(f"{name}: timing {chunks} chunk{'s' * (chunks > 1)}")
        seconds = meter.time(chunks)
    frames = meter.frames
    rows = []
    for name, runner in meter.runners.items():
        read = sum(w.nbytes for w in weights(runner.stage)) + runner.stage.cache_usage(runner.state).bytes
        floor = max(operations[name].seconds(rates), read / rates.bandwidth)
        rows.append(
            StageRow(
                width=width,
                height=height,
                stage=name,
                frames=frames,
                seconds=seconds[name],
                fps=frames / seconds[name],
                operations=operations[name].total,
                bytes=read,
                floor=floor,
                gap=seconds[name] / floor,
                memory=meter.memory[name],
            )
        )
    return rows


class Meter:
    """The stages of a model on a generated stream, one after the other; `memory` their peaks in bytes.

    `size` of its output, (width, height); `frames` of a chunk.
    """

    def __init__(self, restorer: Restorer, size: tuple[int, int], device: torch.device) -> None:
        width, height = self.size = size
        self.frames = restorer.schedule.next
        self._source = (height // restorer.scale, width // restorer.scale)
        self._restorer, self._device, self._number = restorer, device, 0
        self._counters: Mapping[str, AbstractContextManager[object]] = {}
        self._seconds: dict[str, float] = {}
        self._scene = SceneRunner(restorer, self._measure)
        self._scene.start(SceneStart(0, self._source, (height, width)))
        self.runners = self._scene.runners
        self.memory = dict.fromkeys(self.runners, 0)

    def fill_caches(self) -> None:
        """Process chunks until the caches are full: the steady state of a long video.

        The first is never that, and kernels are chosen while it runs.
        """
        self._chunk()
        while not all(runner.stage.cache_usage(runner.state).full for runner in self.runners.values()):
            self._chunk()

    @property
    def last_seconds(self) -> float:
        """Seconds of all stages for the last chunk."""
        return sum(self._seconds.values())

    def count(self) -> dict[str, Operations]:
        """The operations of a chunk in each stage; apart from the timed ones, as counting costs time."""
        counters = {name: FlopCounterMode(display=False, custom_mapping=ON_PROCESSOR) for name in self.runners}
        self._counters = counters
        self._chunk()
        self._counters = {}
        return {name: Operations.of(counter) for name, counter in counters.items()}

    def time(self, chunks: int) -> dict[str, float]:
        """Seconds a chunk in each stage."""
        spent = [self._chunk() for _ in range(chunks)]
        return {name: sum(seconds[name] for seconds in spent) / chunks for name in self.runners}

    def _chunk(self) -> dict[str, float]:
        """The next chunk through all stages; seconds in each."""
        self._scene.step(pattern(self._restorer, self._source, self._number, self._device))
        self._number += 1
        return dict(self._seconds)

    @contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        """Around a stage's step: its seconds and memory, and its operations where they are counted."""
        reset(self._device)
        settle(self._device)
        begin = perf_counter()
        with self._counters.get(name, nullcontext()):
            yield
        settle(self._device)
        self._seconds[name] = perf_counter() - begin
        self.memory[name] = max(self.memory[name], peak(self._device))


def pattern(restorer: Restorer, source: tuple[int, int], number: int, device: torch.device) -> DeviceChunk:
    """A chunk of a moving pattern, as conversion would give it."""
    schedule = restorer.schedule
    count = schedule.size(number)
    y, x = torch.meshgrid(torch.arange(source[0]), torch.arange(source[1]), indexing="ij")
    shift = torch.arange(count + schedule.ahead)[:, None, None] + number * schedule.next
    luma = 0.5 + 0.3 * torch.sin((x + 2 * shift) / 7) * torch.cos((y - shift) / 5)
    frames = luma[:, None].expand(-1, 3, -1, -1).to(device)
    ahead = frames[count:] if schedule.ahead else None
    return DeviceChunk(frames[:count].contiguous(), None, frozenset({0} if number == 0 else ()), ahead)


def parameters(stage: object) -> Iterator[Tensor]:
    """The parameters of every network that a stage holds."""
    for network in networks(stage, set()):
        yield from network.parameters()


def weights(stage: object) -> Iterator[Tensor]:
    """The parameters and the constants of every network that a stage holds."""
    for network in networks(stage, set()):
        yield from network.parameters()
        yield from network.buffers()


def networks(thing: object, seen: set[int]) -> Iterator[nn.Module]:
    """Every network that a stage holds; `seen` are things that were looked into."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, nn.Module):
        yield thing
    elif callable(thing) and hasattr(thing, "__self__"):
        yield from networks(thing.__self__, seen)
    elif type(thing).__module__.startswith(("vrx.models", "vrx.networks")):
        for value in vars(thing).values():
            yield from networks(value, seen)


def settle(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset(device: torch.device) -> None:
    """Reset the device's peak memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        reset_peak()


def peak(device: torch.device) -> int:
    """The device's peak since `reset`; on the processor the process's."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
