"""What fits the device, on machines that are made up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job
from vrx import events
from vrx.errors import DeviceError, UsageError, resource_errors
from vrx.geometry import TargetSize
from vrx.models.components import Components
from vrx.models.family import BuildRequest
from vrx.models.footprint import Fit, Footprint, Linear
from vrx.models.registry import FAMILIES
from vrx.pipeline import devices, fitting, pool
from vrx.pipeline.batch import Batch
from vrx.pipeline.memory import HostMemory
from vrx.pipeline.select_model import USUAL
from vrx.settings import Dtype, ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

ENTRIES = catalogue.load_file(catalogue.packaged_path(), FAMILIES)
UPSCALE = RestoreSettings(task=Task.UPSCALE, scale=4)
CUDA = torch.device("cuda")


def test_the_size_of_an_output_is_known_before_its_model(clip: ClipMaker) -> None:
    assert fitting.output_pixels(str(clip(size=(64, 48), frames=2)), UPSCALE) == 256 * 192
    same = replace(UPSCALE, size=TargetSize(factor=1))
    assert fitting.output_pixels(str(clip("same.mkv", size=(64, 48), frames=2)), same) == 64 * 48
    higher = replace(UPSCALE, size=TargetSize(height=100))
    assert fitting.output_pixels(str(clip("higher.mkv", size=(64, 48), frames=2)), higher) == 192 * 144


def test_a_source_that_cannot_be_looked_into_is_taken_for_a_usual_one(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for source in ("-", str(tmp_path / "none.mp4"), str(tmp_path / "text.mp4")):
        assert fitting.output_pixels(source, UPSCALE) == USUAL


def test_memory_that_torch_keeps_for_reuse_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 25)
    assert devices.free_memory(CUDA) == 15
    assert devices.free_memory(torch.device("cpu")) is None


@pytest.mark.parametrize(("free", "whole"), [(84_500_000_000, True), (24_900_000_000, False)])
def test_a_request_knows_what_fits_in_one_piece(free: int, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "free_memory", lambda _: free)
    request = BuildRequest(Components(), ModelSettings(), CUDA, torch.bfloat16)
    tiling = fitting.limit_to_memory(request, ENTRIES["infvsr"]).tiling
    assert (tiling.tiles(1088, 1920) is None) == whole
    assert tiling.free is not None
    assert tiling.free() == free


def test_on_a_processor_rows_decide() -> None:
    request = BuildRequest(Components(), ModelSettings(), torch.device("cpu"), torch.float32)
    tiling = fitting.limit_to_memory(request, ENTRIES["infvsr"]).tiling
    assert tiling.tiles(1024, 1920) is None
    assert tiling.tiles(1080, 1920) is not None


@pytest.mark.parametrize(
    ("gigabytes", "dtype", "pixels"), [(32, "bf16", 1_703_000), (56, "fp32", 1_183_000), (12, "bf16", 0)]
)
def test_what_fits_a_processor_in_one_piece_depends_on_all_its_memory(
    gigabytes: int, dtype: Dtype, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "host_memory", lambda swap: HostMemory(gigabytes * 10**9, 0))
    request = BuildRequest(Components(), ModelSettings(dtype=dtype), torch.device("cpu"), torch.bfloat16)
    found = fitting.limit_to_memory(request, ENTRIES["satb-vr"])
    assert found.host_pixels == pytest.approx(pixels, rel=0.01)
    assert found.untiled is None


@pytest.mark.parametrize(
    ("words", "full"),
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("CUDA error: out of memory", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_memory_of_a_gpu_that_ran_out_is_known_by_its_libraries_words(words: str, full: bool) -> None:
    with pytest.raises(DeviceError if full else RuntimeError) as caught, resource_errors("cuda:0"):
        raise RuntimeError(words)
    if isinstance(caught.value, DeviceError):
        assert "--tile 512" in caught.value.hint


def test_the_model_is_chosen_by_free_memory_and_size(clip: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "pick_device", lambda _: CUDA)
    monkeypatch.setattr(pool, "free_memory", lambda _: 5_000_000_000)
    chosen = {}
    for size in ((64, 48), (640, 360)):
        source = clip(f"{size[0]}.mkv", size=size, frames=1)
        found = pool.ModelPool().select(ModelSettings(), UPSCALE, (str(source),))
        chosen[size] = (found.entry.name, bool(found.notes))
    assert chosen == {(64, 48): ("relayvsr", True), (640, 360): ("embedded", False)}


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_the_largest_video_of_a_batch_decides_whatever_their_order(
    order: slice, clip: ClipMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "pick_device", lambda _: CUDA)
    monkeypatch.setattr(pool, "free_memory", lambda _: 30_000_000_000)
    models, jobs = pool.ModelPool(), []
    for size in ((64, 48), (640, 360)):
        source = clip(f"{size[0]}.mkv", size=size, frames=1)
        jobs.append(make_job(source, clip.folder / f"{size[0]}.out.mkv", restore=UPSCALE))
    jobs = [replace(job, model=ModelSettings()) for job in jobs]
    Batch(jobs[order], events.ignore, pool=models)
    assert {models.select(job.model, job.restore, (job.source,)).entry.name for job in jobs} == {"relayvsr"}
    note = models.exclude(jobs[0].model, jobs[0].restore, jobs[0].source)  # the small one, where it comes first
    assert note is not None
    assert note.facts["model"] == "recavsr"


@pytest.mark.parametrize(
    ("gigabytes", "dtype", "expected"),
    [
        (24, "auto", Fit()),
        (16, "auto", Fit(quantized="int8")),
        (16, "bf16", Fit(offload=True)),
        (16, "int8", Fit()),  # as it was asked for
        (16, "fp8", Fit()),
        (10, "auto", Fit(offload=True)),
        (10, "int8", Fit(offload=True)),
        (None, "auto", Fit()),
    ],
)
def test_weights_are_in_8_bits_or_wait_where_the_memory_is_short(
    gigabytes: int | None, dtype: Dtype, expected: Fit
) -> None:
    free = None if gigabytes is None else gigabytes * 1_000_000_000
    found = fitting.fit_weights(ENTRIES["swiftvr"], ModelSettings(dtype=dtype), free, 1920 * 1088)
    assert found == expected
    notes = fitting.describe_fit(found, ENTRIES["swiftvr"], free)
    assert bool(notes) == (found != Fit())
    for note in notes:
        assert f"as {gigabytes}.0 GB of the GPU's memory are free" in note.text


@pytest.mark.parametrize(("tile", "expected"), [("auto", Fit()), ("off", Fit(offload=True))])
def test_tiles_are_no_way_to_fit_where_they_are_switched_off(tile: str, expected: Fit) -> None:
    """17.2 GB are needed in tiles, 26.7 GB in one piece, 17.8 GB so with weights that wait."""
    free = 17_500_000_000
    assert fitting.fit_weights(ENTRIES["relayvsr"], ModelSettings(tile=tile), free, 3840 * 2160) == expected


@pytest.mark.parametrize("name", ["relayvsr", "recavsr"])
def test_weights_in_fp8_need_not_wait_where_those_in_bf16_do(name: str) -> None:
    entry, family = ENTRIES[name], FAMILIES[name]
    found = {
        dtype: fitting.fit_weights(entry, ModelSettings(dtype=dtype), 12_000_000_000, 1920 * 1088)
        for dtype in ("auto", "fp8")
    }
    assert found == {"auto": Fit(offload=True), "fp8": Fit()}
    footprint = family.footprint(entry)
    assert footprint is not None
    assert footprint.quantized is not None
    assert isinstance(footprint.whole, Linear)
    saved = 30 * (6 * 3072**2 + 2 * 3072 * 14336)  # bytes: a block's matrices but those of the prompt
    assert footprint.whole.fixed - footprint.quantized.fixed == pytest.approx(saved, rel=0.02)


@pytest.mark.parametrize(
    ("name", "gigabytes", "expected"),
    [
        ("relayvsr", 16, Fit()),
        ("relayvsr", 14, Fit(offload=True)),
        ("recavsr", 14, Fit(offload=True)),
        ("satb-vr", 24, Fit(offload=True)),
        ("infvsr", 24, Fit(offload=True)),
    ],
)
def test_weights_wait_from_the_start_where_an_output_is_known_not_to_fit_beside_them(
    name: str, gigabytes: int, expected: Fit
) -> None:
    found = fitting.fit_weights(ENTRIES[name], ModelSettings(), gigabytes * 1_000_000_000, 1920 * 1088)
    assert found == expected


@pytest.mark.parametrize(
    ("gigabytes", "megapixels", "int8", "expected"),
    [
        (13, 1, True, Fit()),
        (9, 1, True, Fit(quantized="int8")),
        (9, 1, False, Fit(offload=True)),  # in tiles it would fit, too
        (9.6, 6, True, Fit()),  # in tiles only
        (4, 1, True, Fit(offload=True)),  # not in any way
    ],
)
def test_tiles_are_the_last_way_that_fits(gigabytes: float, megapixels: int, int8: bool, expected: Fit) -> None:
    footprint = Footprint(
        Linear(10e9, 1000), tiled=Linear(8e9, 100), offloaded=Linear(3e9, 1000), quantized=Linear(6e9, 1000)
    )
    assert footprint.fit(int(gigabytes * 1e9), megapixels * 10**6, int8=int8) == expected


def test_fastvr_has_the_same_ways() -> None:
    found = {
        gigabytes: fitting.fit_weights(ENTRIES["fastvr"], ModelSettings(), gigabytes * 10**9, 1280 * 720)
        for gigabytes in (24, 16, 10)
    }
    assert found == {24: Fit(), 16: Fit(quantized="int8"), 10: Fit(offload=True)}


@pytest.mark.parametrize(
    ("change", "pixels"), [({}, 0), ({"quantized": "fp8"}, 2_122_314), ({"offload": True}, 3_104_132)]
)
def test_tiles_begin_where_the_chosen_way_does_not_fit(
    change: dict[str, Any], pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "free_memory", lambda _: 12_140_000_000)
    request = replace(BuildRequest(Components(), ModelSettings(), CUDA, torch.bfloat16), **change)
    assert fitting.limit_to_memory(request, ENTRIES["swiftvr"]).untiled == pytest.approx(pixels, abs=600_000)


@pytest.mark.parametrize(
    ("dtype", "task", "units", "expected"),
    [
        ("auto", Task.UPSCALE, True, Fit(quantized="int8")),
        ("auto", Task.UPSCALE, False, Fit()),
        ("bf16", Task.UPSCALE, True, Fit()),
        ("auto", Task.DEBLUR, True, Fit()),
    ],
)
def test_a_processor_multiplies_in_8_bits_where_it_gains_by_it(
    dtype: Dtype, task: Task, units: bool, expected: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "int8_units", lambda: units)
    assert fitting.fit_processor(ENTRIES["embedded"], ModelSettings(dtype=dtype), task) == expected
    own = replace(ENTRIES["embedded"], packaged=False)  # which may lack what 8 bits take
    for other in (own, ENTRIES["swiftvr"]):
        assert fitting.fit_processor(other, ModelSettings(dtype=dtype), task) == Fit()
    assert fitting.describe_fit(expected, ENTRIES["embedded"], None) == ()


def test_8_bits_of_the_embedded_model_are_refused_on_a_gpu_before_it_is_loaded() -> None:
    wanted = ModelSettings(dtype="int8")
    with pytest.raises(UsageError, match="embedded works in int8 on processors only, not on cuda"):
        fitting.check_processor(ENTRIES["embedded"], wanted, Task.UPSCALE, CUDA)
    fitting.check_processor(ENTRIES["embedded"], wanted, Task.UPSCALE, torch.device("cpu"))
    fitting.check_processor(ENTRIES["embedded"], ModelSettings(), Task.UPSCALE, CUDA)
    fitting.check_processor(ENTRIES["swiftvr"], wanted, Task.UPSCALE, CUDA)
