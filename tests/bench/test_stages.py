import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from tests.models import small
from vrx.bench import stages
from vrx.bench.end_to_end import benchmark
from vrx.bench.gpu.restorers import ToyComponents
from vrx.bench.stages import ON_PROCESSOR, Meter, Operations, Rates, StageRow, measure, parameters
from vrx.errors import DeviceError, UsageError
from vrx.models.family import BuildRequest
from vrx.models.loader import entry_from_path, find_components, load_model
from vrx.models.registry import FAMILIES
from vrx.networks.quantized import Fp8Linear
from vrx.pipeline import memory
from vrx.pipeline.memory import HostMemory
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue
from vrx.weights.download import Downloader

CPU = torch.device("cpu")
HELP = Path(__file__).parents[1] / "data" / "texts" / "help.txt"
ENTRIES = catalogue.load_file(catalogue.packaged_path(), FAMILIES)
DOWNLOADER = Downloader(models=Path("none"), offline=True, notify=print)


def test_every_stage_is_counted_and_timed(tmp_path: Path) -> None:
    path = small.flashvsr(tmp_path / "m")
    entry, model = entry_from_path(path), ModelSettings()
    restore = RestoreSettings(task=Task.UPSCALE, scale=4)
    request = BuildRequest(find_components(entry, model, {}, DOWNLOADER), model, CPU, torch.float32)
    restorer = load_model(entry, request).restorer(restore)
    heard: list[str] = []
    rows = measure(Meter(restorer, (128, 96), CPU), 1, Rates(1e9, 2e9, 1e9), heard.append)
    assert [line.partition(";")[0] for line in heard] == [
        "128x96: filling caches",
        "128x96: counting operations",
        "128x96: timing 1 chunk",
    ]
    assert [row.stage for row in rows] == ["encode", "generate", "decode"]
    assert all((row.width, row.height) == (128, 96) for row in rows)
    for row in rows:
        held = sum(p.nbytes for p in parameters(restorer.stages[row.stage]))
        assert held
        assert row.bytes >= held
        assert row.operations > 1e5
        assert row.floor == max(row.operations, row.bytes) / 1e9
        assert row.frames == 8
        assert row.seconds > 0
    assert rows[1].bytes > sum(p.nbytes for p in parameters(restorer.stages["generate"]))  # its cache


def test_a_chunk_is_timed_once_the_cache_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small.instantvir(tmp_path / "m")
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    entry, model = entry_from_path(path), ModelSettings()
    restore = RestoreSettings(task=Task.DEBLUR)
    request = BuildRequest(find_components(entry, model, {}, DOWNLOADER), model, CPU, torch.float32)
    meter = Meter(load_model(entry, request).restorer(restore), (32, 32), CPU)
    with torch.inference_mode():
        meter.fill_caches()
        cache = meter.runners["generate"].state.cache
        assert cache.end == cache.window == 18 * 4  # latent frames of 2x2 tokens: RULE's window, six chunks


def test_sizes_are_those_that_the_help_names() -> None:
    (line,) = (line for line in HELP.read_text().splitlines() if "--random-weights:" in line)
    named = re.findall(r"(\d+)x(\d+)", line)
    assert [(int(width), int(height)) for width, height in named] == [*stages.SIZES, *stages.PROCESSOR_SIZES]


@torch.inference_mode()
def test_attention_on_the_processor_counts() -> None:
    q, k = torch.randn(1, 2, 16, 8), torch.randn(1, 2, 40, 8)
    with FlopCounterMode(display=False, custom_mapping=ON_PROCESSOR) as counter:
        F.scaled_dot_product_attention(q, k, k)
    assert counter.get_total_flops() == 2 * 2 * (2 * 16 * 40 * 8)


@torch.inference_mode()
def test_what_is_multiplied_in_fp8_counts_at_its_own_rate() -> None:
    layer, x = Fp8Linear(torch.randn(32, 64), None), torch.randn(10, 64)
    with FlopCounterMode(display=False) as counter:
        layer(F.linear(x, torch.eye(64)))
    found = Operations.of(counter)
    assert (found.total, found.fp8) == (2 * 10 * 64 * (64 + 32), 2 * 10 * 64 * 32)
    assert found.seconds(Rates(1e3, 2e3, 1.0)) == pytest.approx(2 * 10 * 64 * (64 + 32 / 2) / 1e3)


def test_a_device_is_measured_by_what_it_does_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "matrix_rate", lambda *_: 3.0)
    monkeypatch.setattr(stages, "product_rate", lambda *_, fp8=False: 9.0 if fp8 else 5.0)
    monkeypatch.setattr(stages, "bandwidth", lambda _: 1.0)
    assert Rates.of(CPU, torch.float32, fp8=False) == Rates(5.0, 5.0, 1.0)
    assert Rates.of(CPU, torch.float32, fp8=True) == Rates(5.0, 9.0, 1.0)


def test_a_processor_measures_a_small_size_unless_one_is_named_and_refuses_what_it_cannot_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[int, int]] = []

    def note_size(meter: Meter, *_: object) -> list[StageRow]:
        found.append(meter.size)
        return []

    monkeypatch.setattr(stages, "RandomComponents", ToyComponents)
    monkeypatch.setattr(stages, "bandwidth", lambda _: 1e10)
    monkeypatch.setattr(stages, "measure", note_size)
    entry, settings = ENTRIES["flashvsr"], ModelSettings(device="cpu", dtype="bf16")
    stages.benchmark_random(entry, [], 1, settings)
    stages.benchmark_random(entry, [(160, 128), (32, 32)], 1, settings)
    assert found == [(128, 128), (160, 128), (32, 32)]
    least = stages.predict(entry, (832, 480), settings)
    for total, enough in ((least, True), (least // 2, False)):
        monkeypatch.setattr(memory, "host_memory", lambda total=total: HostMemory(total, total))
        expected = nullcontext() if enough else pytest.raises(DeviceError, match="of memory are needed")
        with expected:
            stages.benchmark_random(entry, [(32, 32), (832, 480)], 1, settings)


def test_random_weights_are_measured_in_fp8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "RandomComponents", ToyComponents)
    monkeypatch.setattr(stages, "bandwidth", lambda _: 1e10)
    entry = ENTRIES["flashvsr"]
    result = stages.benchmark_random(entry, [(128, 128)], 1, ModelSettings(device="cpu", dtype="fp8"))
    assert result.dtype.endswith(", weights in fp8")
    assert [row.stage for row in result.rows] == ["encode", "generate", "decode"]
    assert all(row.operations > 1e5 for row in result.rows)
    with pytest.raises(UsageError, match="embedded does not have weights in fp8"):
        benchmark([(64, 64)], 8, ModelSettings(dtype="fp8"))
