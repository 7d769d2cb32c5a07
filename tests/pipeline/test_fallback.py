"""Memory that runs out and numbers that overflow: the run goes on in another way, and says so."""

import gc
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clips import ClipMaker, Read, read
from tests.models import small
from tests.pipeline.jobs import make_job, notes
from vrx import events
from vrx.errors import DeviceError, MemoryExhaustedError, VrxError
from vrx.events import Event
from vrx.models import checkpoints, loader
from vrx.models.base import AnyStage, RestoredChunk, SceneStart
from vrx.models.embedded import keep_size, model, upscale
from vrx.models.registry import FAMILIES
from vrx.models.runner import StageRunner
from vrx.pipeline import devices, executor, fallback, pool, ways
from vrx.pipeline.batch import Batch
from vrx.pipeline.chunking import Chunk
from vrx.pipeline.resume import writer
from vrx.settings import Job, ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

LOSSLESS: dict[str, Any] = {"codec": "ffv1"}
SIZE = (32, 24)
WORDS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    MemoryError("bad_alloc"),
)
Fails = Callable[[int, AnyStage, Any], Exception | None]


@pytest.fixture
def clip(tmp_path: Path) -> ClipMaker:
    """Small clips: what is tested here does not depend on their size."""
    return ClipMaker(tmp_path, SIZE)


@pytest.fixture(scope="module")
def two_scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Read]:
    """A clip, and what a run without failures makes of it."""
    folder = tmp_path_factory.mktemp("two-scenes")
    path = ClipMaker(folder, SIZE)(frames=22, cuts=[9])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "SEGMENT_FRAMES", 4)
        return path, restore(make_job(path, folder / "plain.mkv", **LOSSLESS))[0]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Large models at small sizes, by name; each is one file, which loads sooner than those that are published."""
    folder = tmp_path_factory.mktemp("large")

    @cache
    def make(name: str) -> Path:
        checkpoints.convert(getattr(small, name)(folder / name), folder / f"{name}.safetensors")
        return folder / f"{name}.safetensors"

    return make


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fails], list[str]]:
    """Have stages' steps raise what a function of their number, stage and input gives; the list is of all steps."""
    steps: list[str] = []
    step, lock = StageRunner.step, threading.Lock()

    def inject(fails: Fails) -> list[str]:
        def guarded(runner: StageRunner, value: Any) -> Any:
            with lock:
                steps.append(type(runner.stage).__name__)
                number = len(steps)
            found = step(runner, value)  # the state is spent: as far as a real failure may have come
            error = fails(number, runner.stage, value)
            if error is not None:
                raise error
            return found

        monkeypatch.setattr(StageRunner, "step", guarded)
        return steps

    return inject


def at(*numbers: int, error: Exception = WORDS[0]) -> Fails:
    """A failure of the steps of these numbers, counted from 1 over all stages and attempts."""
    return lambda number, *_: type(error)(*error.args) if number in numbers else None


def at_encode(*numbers: int) -> Fails:
    """A failure of the first stage's steps of these numbers: one thread's, so that each is in an attempt of its own."""
    seen: list[str] = []

    def fails(_: int, stage: AnyStage, __: Any) -> Exception | None:
        first = seen[0] if seen else type(stage).__name__
        if type(stage).__name__ == first:
            seen.append(first)
            if len(seen) in numbers:
                return torch.OutOfMemoryError("CUDA out of memory")
        return None

    return fails


def restore(job: Job) -> tuple[Read, list[Event]]:
    heard: list[Event] = []
    Batch([job], heard.append).restore(0)
    assert job.output.path is not None
    return read(Path(job.output.path)), heard


def same(one: Read, other: Read) -> bool:
    return np.array_equal(one.frames, other.frames) and list(one.times) == list(other.times)


def steps_taken(heard: list[Event]) -> list[object]:
    found = [event for event in heard if isinstance(event, events.Noted) and event.code.endswith("-fallback")]
    assert all(event.level == "warning" for event in found)
    return [event.facts.get("step") or event.facts.get("dtype") or event.facts.get("model") for event in found]


@pytest.mark.parametrize("error", WORDS, ids=lambda error: str(error)[:20])
@pytest.mark.parametrize("resume", [True, False], ids=["saved", "unsaved"])
def test_the_chunk_that_ran_out_is_restored_again_in_the_same_bytes(
    error: Exception,
    resume: bool,
    two_scenes: tuple[Path, Read],
    tmp_path: Path,
    fail: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "SEGMENT_FRAMES", 4)
    path, plain = two_scenes
    fail(at(17, error=error))
    found, heard = restore(make_job(path, tmp_path / "found.mkv", resume=resume, **LOSSLESS))
    assert same(found, plain)
    assert steps_taken(heard) == ["one stage at a time"]
    scenes = [event.number for event in heard if isinstance(event, events.SceneBegan)]
    assert scenes == [1, 2]
    done = [event.done for event in heard if isinstance(event, events.Advanced)]
    assert done == sorted(done)
    assert done[-1] == 22


def test_one_stage_at_a_time_never_has_two_at_work(
    clip: ClipMaker, tmp_path: Path, fail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, most = [], [0, 0]
    process = executor.Worker.process

    def counted(worker: executor.Worker[Any], item: Any) -> None:
        if not isinstance(item, executor.InFlight):
            process(worker, item)
            return
        busy.append(worker.name)
        most[bool(turns)] = max(most[bool(turns)], len(busy))
        process(worker, item)
        busy.remove(worker.name)

    turns: list[bool] = []
    made = executor.ThreadedExecutor.__init__

    def make(self: Any, restorer: Any, converter: Any, in_turn: bool, *more: Any) -> None:
        busy.clear()
        turns.extend([True] * in_turn)
        made(self, restorer, converter, in_turn, *more)

    monkeypatch.setattr(executor.Worker, "process", counted)
    monkeypatch.setattr(executor.ThreadedExecutor, "__init__", make)
    fail(at(6))
    restore(make_job(clip(frames=16), tmp_path / "found.mkv", **LOSSLESS))
    assert turns
    assert most[1] == 1


@pytest.mark.parametrize(("large", "in_turn"), [(64 * 48, False), (64 * 48 - 1, True)])
def test_large_results_on_a_processor_go_through_the_stages_in_turn(
    large: int, in_turn: bool, clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    made = executor.ThreadedExecutor.__init__

    def make(self: Any, restorer: Any, converter: Any, in_turn: bool, *more: Any) -> None:
        found.append(in_turn)
        made(self, restorer, converter, in_turn, *more)

    monkeypatch.setattr(executor.ThreadedExecutor, "__init__", make)
    for name in ("SCHEDULE", "LOOKING_AHEAD"):
        monkeypatch.setattr(model, name, replace(getattr(model, name), large=large))
    source = clip(frames=6, size=(32, 24))
    restore(make_job(source, tmp_path / "found.mkv", **LOSSLESS))
    assert found == [in_turn]


def test_what_the_failed_attempt_held_is_free_before_the_next(clip: ClipMaker, tmp_path: Path, fail: Any) -> None:
    held: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def fails(number: int, stage: AnyStage, value: Any) -> Exception | None:
        if number == 5:
            held.append(weakref.ref(value))
            held.append(weakref.ref(stage))
            return torch.OutOfMemoryError("CUDA out of memory")
        if number == 6:
            gc.collect()
            alive.append(sum(ref() is not None for ref in held))
        return None

    fail(fails)
    restore(make_job(clip(), tmp_path / "found.mkv", **LOSSLESS))
    assert alive == [0]


def test_a_chunk_of_several_frames_becomes_single_ones(clip: ClipMaker, tmp_path: Path, fail: Any) -> None:
    path = clip(frames=9, cuts=[5])
    plain, _ = restore(make_job(path, tmp_path / "plain.mkv", **LOSSLESS))

    def fails(_: int, stage: AnyStage, value: Any) -> Exception | None:
        several = isinstance(stage, upscale.Encode) and len(value.frames) > 1
        return torch.OutOfMemoryError("CUDA out of memory") if several else None

    fail(fails)
    found, heard = restore(make_job(path, tmp_path / "found.mkv", **LOSSLESS))
    assert steps_taken(heard) == ["one stage at a time", "single frames"]
    difference = np.abs(found.frames.astype(int) - plain.frames)  # what later frames show is looked at in other blocks
    assert difference.max() <= 8
    assert difference.mean() < 0.1


def test_masks_are_read_again_with_the_frames(clip: ClipMaker, tmp_path: Path, fail: Any) -> None:
    path, mask = clip(frames=7), clip("mask.mkv", frames=7, codec="ffv1", pix_fmt="gray")
    wanted = RestoreSettings(task=Task.INPAINT, mask=mask)
    plain, _ = restore(make_job(path, tmp_path / "plain.mkv", restore=wanted, **LOSSLESS))
    fail(at(3))
    found, heard = restore(make_job(path, tmp_path / "found.mkv", restore=wanted, **LOSSLESS))
    assert same(found, plain)
    assert steps_taken(heard) == ["one stage at a time"]


def large_job(model: Path, clip: Path, output: Path, **settings: Any) -> Job:
    job = make_job(clip, output, restore=RestoreSettings(task=Task.UPSCALE, scale=4), **LOSSLESS)
    return replace(job, model=ModelSettings(**{"name": str(model), "device": "cpu", "dtype": "fp32", **settings}))


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor counts as a device with memory of its own, as a GPU has."""
    monkeypatch.setattr(ways, "HOSTS", frozenset())


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize(("name", "frames"), [("infvsr", 21), ("flashvsr", 25)])  # two chunks
def test_weights_on_the_host_change_nothing(
    name: str, frames: int, large: Callable[[str], Path], clip: ClipMaker, tmp_path: Path, fail: Any
) -> None:
    path, model = clip(frames=frames, size=(40, 24)), large(name)
    plain, _ = restore(large_job(model, path, tmp_path / "plain.mkv"))
    fail(at_encode(2, 3))
    found, heard = restore(large_job(model, path, tmp_path / "found.mkv"))
    assert same(found, plain)
    assert steps_taken(heard) == ["one stage at a time", "weights on the host"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["one stage at a time", "tiles of 1024", "tiles of 512", "tiles of 256"]),
        ({"tile": "512"}, ["one stage at a time", "tiles of 256"]),
        ({"tile": "off", "dtype": "fp8"}, ["one stage at a time"]),
    ],
    ids=["auto", "smaller", "off"],
)
def test_the_run_ends_with_5_once_nothing_is_left(
    settings: dict[str, Any],
    expected: list[str],
    large: Callable[[str], Path],
    clip: ClipMaker,
    tmp_path: Path,
    fail: Any,
) -> None:
    """On a processor, where weights that wait on the host would be in the same memory."""
    fail(lambda *_: torch.OutOfMemoryError("CUDA out of memory"))
    heard: list[Event] = []
    job = large_job(large("infvsr"), clip(frames=3, size=(40, 24)), tmp_path / "o.mkv", **settings)
    with pytest.raises(MemoryExhaustedError, match=f"tried: {', '.join(expected)}") as caught:
        Batch([job], heard.append).restore(0)
    assert caught.value.exit_code == 5
    less = "a smaller video, a smaller --scale" + ", --dtype fp8" * ("dtype" not in settings)
    assert caught.value.hint == f"Use {less} or --model embedded"
    assert steps_taken(heard) == expected
    assert not (tmp_path / "o.mkv").exists()


def test_a_gpu_has_one_step_more() -> None:
    capabilities, settings = FAMILIES["infvsr"].capabilities, ModelSettings()
    for schedule, before in ((None, 0), (capabilities.schedule, 1)):
        on_gpu, on_processor = (
            list(ways.memory_steps(capabilities, schedule, settings, torch.device(device)))
            for device in ("cuda", "cpu")
        )
        assert on_gpu[before] == ways.OFFLOAD
        assert on_processor == [*on_gpu[:before], *on_gpu[before + 1 :]]


@pytest.mark.usefixtures("apart")
def test_a_model_that_does_not_load_has_its_weights_wait_on_the_host(
    large: Callable[[str], Path], clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = clip(frames=3, size=(40, 24)), large("infvsr")
    plain, _ = restore(large_job(model, path, tmp_path / "plain.mkv"))
    load = loader.load_model

    def loads(entry: Any, request: Any) -> Any:
        if not request.offload:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return load(entry, request)

    monkeypatch.setattr(pool, "load_model", loads)
    found, heard = restore(large_job(model, path, tmp_path / "found.mkv"))
    assert same(found, plain)
    assert steps_taken(heard) == ["weights on the host"]


def test_other_errors_are_not_recovered_from(clip: ClipMaker, tmp_path: Path, fail: Any) -> None:
    steps = fail(at(2, error=RuntimeError("CUDA error: an illegal memory access was encountered")))
    with pytest.raises(RuntimeError, match="illegal"):
        restore(make_job(clip(), tmp_path / "o.mkv", **LOSSLESS))
    assert len(steps) < 10


def test_it_can_be_switched_off(clip: ClipMaker, tmp_path: Path, fail: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRX_FALLBACK", "off")
    fail(at(2))
    with pytest.raises(DeviceError, match=r"^out of memory\. Use|ran out of memory"):
        restore(make_job(clip(), tmp_path / "o.mkv", **LOSSLESS))


# ---------------------------------------------------------------- the next model


@pytest.fixture
def auto(large: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Job]:
    """Jobs with --model auto on a machine whose GPU would take InfVSR, which is there at a small size."""
    entry = replace(loader.entry_from_path(large("infvsr")), name="infvsr")
    known = catalogue.load_all(FAMILIES) | {"infvsr": entry}
    monkeypatch.setattr(catalogue, "load_all", lambda _: known)
    info = pool.device_info
    here = frozenset(["infvsr"])
    monkeypatch.setattr(
        pool, "device_info", lambda *given: replace(info(*given), gpu_memory=80_000_000_000, on_disk=here)
    )
    monkeypatch.setattr(pool, "output_pixels", lambda *_: 160 * 96)
    monkeypatch.setattr(devices, "free_memory", lambda _: None)
    return lambda source: replace(
        make_job(source, tmp_path / "o.mkv", restore=RestoreSettings(task=Task.UPSCALE, scale=4), **LOSSLESS),
        model=ModelSettings(device="cpu", dtype="fp32"),
    )


def test_the_next_model_starts_over_and_is_kept_for_the_batch(
    auto: Callable[[Path], Job], clip: ClipMaker, tmp_path: Path, fail: Any
) -> None:
    path = clip(frames=3, size=(40, 24))
    plain, _ = restore(replace(auto(path), model=ModelSettings(name="embedded", device="cpu", dtype="fp32")))
    (tmp_path / "o.mkv").unlink()

    def fails(_: int, stage: AnyStage, __: Any) -> Exception | None:
        return torch.OutOfMemoryError("CUDA out of memory") if "causal_wan" in type(stage).__module__ else None

    fail(fails)
    heard: list[Event] = []
    batch = Batch([auto(path)], heard.append)
    batch.restore(0)
    assert same(read(tmp_path / "o.mkv"), plain)
    assert steps_taken(heard)[-2:] == ["tiles of 256", "embedded"]
    assert notes(heard)["model-fallback"].text == "infvsr does not fit the memory of cpu: again with embedded"
    begun = [event.model for event in heard if isinstance(event, events.Started)]
    assert begun == ["infvsr", "embedded"]
    (tmp_path / "o.mkv").unlink()
    heard.clear()
    batch.restore(0)
    assert steps_taken(heard) == []


def test_a_result_that_is_on_its_way_to_a_pipe_is_not_begun_again(
    auto: Callable[[Path], Job], clip: ClipMaker, fail: Any
) -> None:
    fail(lambda *_: torch.OutOfMemoryError("CUDA out of memory"))
    job = auto(clip(frames=3, size=(40, 24)))
    job = replace(job, output=replace(job.output, path="-"))
    with pytest.raises(MemoryExhaustedError):
        Batch([job], events.ignore).restore(0)


def test_after_the_embedded_model_on_a_gpu_comes_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(pool, "free_memory", lambda device: 1_000_000_000 if device.type == "cuda" else None)
    models, wanted = pool.ModelPool(), RestoreSettings(task=Task.UPSCALE, scale=2)
    note = models.exclude(ModelSettings(), wanted, "-")
    assert note is not None
    assert note.text == "embedded does not fit the memory of cuda: again with embedded on cpu"
    assert models.select(ModelSettings(), wanted).device == torch.device("cpu")
    assert models.exclude(ModelSettings(), wanted, "-") is None
    assert pool.ModelPool().exclude(ModelSettings(device="cuda"), wanted, "-") is None
    assert pool.ModelPool().exclude(ModelSettings(name="embedded"), wanted, "-") is None


# ---------------------------------------------------------------- numbers that overflow


@pytest.mark.parametrize(
    ("units", "inside"), [(True, False), (False, True)], ids=["bf16", "no bf16, before the result is limited"]
)
def test_numbers_that_overflow_have_the_scene_restored_again_in_a_wider_type(
    units: bool, inside: bool, clip: ClipMaker, tmp_path: Path, fail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SEGMENT_FRAMES", 4)
    monkeypatch.setattr(devices, "bf16_units", lambda: units)
    monkeypatch.setattr(devices, "bf16_gain", lambda: 0.0)
    path = clip(frames=14, cuts=[6])
    job = make_job(path, tmp_path / "o.mkv", restore=RestoreSettings(task=Task.DEBLUR, sigma=1.0), **LOSSLESS)
    job = replace(job, model=ModelSettings(name="embedded", device="cpu", dtype="fp16"))
    types: list[torch.dtype] = []

    def fails(_: int, stage: AnyStage, value: Any) -> Exception | None:
        if isinstance(stage, keep_size.Generate):
            types.append(next(stage._network.parameters()).dtype)
        return None

    fail(fails)
    step, restored = StageRunner.step, [0]

    def overflowing(runner: StageRunner, value: Any) -> Any:
        if inside and isinstance(value, keep_size.ResidualChunk) and types[-1] == torch.float16 and restored[0] > 6:
            value.base[-1, 0, 0, 0] = float("inf")
        result = step(runner, value)
        if isinstance(result, RestoredChunk):
            restored[0] += len(result.frames)
            if not inside and types[-1] == torch.float16 and restored[0] > 8:
                result.frames[-1, 0, 0, 0] = float("inf")
        return result

    monkeypatch.setattr(StageRunner, "step", overflowing)
    found, heard = restore(job)
    assert len(found.frames) == 14
    assert steps_taken(heard) == ["bf16" if units else "fp32"]
    text = notes(heard)["precision-fallback"].text
    assert text.startswith("the model gave NaN or Inf near frame")
    assert text.endswith(f"in float16: the scene is restored again in {'bf16' if units else 'fp32'}")
    assert types[0] == torch.float16
    assert types[-1] == (torch.bfloat16 if units else torch.float32)
    wide = [dtype for dtype in types if dtype != torch.float16]
    assert len(wide) <= 5  # only the second scene


def test_float32_that_overflows_is_an_error(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = StageRunner.step

    def overflowing(runner: StageRunner, value: Any) -> Any:
        result = step(runner, value)
        if isinstance(result, RestoredChunk):
            result.frames[0, 0, 0, 0] = float("nan")
        return result

    monkeypatch.setattr(StageRunner, "step", overflowing)
    with pytest.raises(VrxError, match="NaN or Inf"):
        restore(make_job(clip(frames=2), tmp_path / "o.mkv", **LOSSLESS))


def test_memory_continues_at_the_latest_saved_state_and_overflow_at_the_scene_s_start() -> None:
    scene = SceneStart(1, (4, 6), (8, 12))
    saved = executor.StreamState(scene, 1, 8, {"generate": {"keys": torch.zeros(1)}})
    bookmark = fallback.Bookmark(None)
    assert bookmark.scene_start() is bookmark.latest() is fallback.BEFORE_ALL
    bookmark.pass_chunk(Chunk((), 0, 0, 5))
    bookmark.pass_scene(scene)
    start = bookmark.latest()
    assert (start.scene.number, start.index, start.frame) == (0, 0, 5)
    bookmark.pass_save(executor.Save(saved))
    assert bookmark.latest() is saved
    assert bookmark.scene_start() is start
    assert fallback.Bookmark(saved).scene_start() is None  # the scene began in an earlier run


def test_an_error_of_ours_about_memory_is_not_retried() -> None:
    assert not fallback.recoverable(DeviceError("4 GB of memory are needed"))
    assert fallback.recoverable(torch.OutOfMemoryError("CUDA out of memory"))
