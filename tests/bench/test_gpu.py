"""The check of a GPU, at toy sizes on the processor, so that it runs when there is a GPU for a few minutes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from vrx.bench.gpu import agreement, commands, decoding, kernels, models, overlap, settings, stubs, ways
from vrx.bench.gpu.__main__ import PARTS, numbers
from vrx.bench.gpu.context import Context
from vrx.bench.gpu.restorers import Spec
from vrx.bench.gpu.results import Results
from vrx.models.runner import StageRunner


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Of a part at toy sizes; what it finds goes to the test's folder."""
    monkeypatch.setenv("VRX_HOME", str(tmp_path))  # both are set by parts, for processes of their own
    monkeypatch.setenv("VRX_PACKED", "on")
    results = Results(tmp_path / "out", perf_counter())
    results.clear()
    return Context(results, 300, tiny=True)


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_a_part_runs_in_a_process_of_its_own_and_writes_its_results(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vrx.bench.gpu", "--tiny", "--only", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert "part 1 environment : status 0" in done.stdout
    found = records(tmp_path, "env")
    assert found[0]["torch"]
    assert not [record for record in found if "failed" in record]


def test_every_part_can_be_found() -> None:
    modules = {
        module.__name__.split(".")[-1]: module
        for module in (agreement, commands, decoding, kernels, models, overlap, settings, ways)
    }
    for part in PARTS[1:]:
        assert callable(getattr(modules[part.module], part.function))
        for word in () if part.name in ("copies", "graphs", "flow", "decoding") else part.words:
            assert Spec.parse(word.split("@")[0], tiny=False).estimate()
    assert all((ROOT / path).exists() for path in commands.TESTS)


@pytest.mark.parametrize("words", ["0", "1,99", "a"])
def test_parts_that_there_are_not_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match=words.split(",")[-1]):
        numbers(words)
    assert numbers("3,1") == (3, 1)


def test_every_way_of_working_is_compared_with_the_plain_one(context: Context) -> None:
    ways.compare(context, ["flashvsr:1280x720:auto:auto"])
    found = records(context.results.folder, "bench")
    assert [record["way"] for record in found] == ["plain", "compiled", "offloaded"]
    assert [record.get("worst") for record in found] == [None, 0.0, 0.0]


def test_number_formats_of_weights_are_compared_with_the_plain_one(context: Context) -> None:
    ways.compare_formats(context, ["swiftvr:1280x720:auto:auto"])
    found = {record["way"]: record for record in records(context.results.folder, "bench")}
    assert list(found) == list(ways.FORMATS)
    assert found["int8"]["psnr"] > found["fp8"]["psnr"] > 60
    assert found["fp8"]["worst"] == found["fp8 offloaded"]["worst"]
    kernels.linear_layers(context)
    layers = [record for record in records(context.results.folder, "micro") if "error" in record]
    assert {record["how"] for record in layers} == {"as it is", "int8", "fp8"}
    assert all(0.02 < record["error"] < 0.05 for record in layers if record["how"] == "fp8")


def test_a_model_that_runs_out_of_memory_shows_its_steps(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = StageRunner.step, []

    def fails(runner: StageRunner, value: Any) -> Any:
        calls.append(value)
        if len(calls) == 10:  # once the unlimited run is done
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(runner, value)

    monkeypatch.setattr(StageRunner, "step", fails)
    ways.run_out(context, ["flashvsr:832x480:auto:auto@8"])
    free, limited = records(context.results.folder, "small")
    assert (free["steps"], free["failure"], free["frames"]) == ([], "", 30)
    assert limited["steps"] == ["one stage at a time"]
    assert (limited["failure"], limited["frames"], limited["worst_levels"]) == ("", 30, 0)


def test_a_trace_is_recorded_and_summed_up(context: Context) -> None:
    ways.record_trace(context, ["flashvsr:832x480:auto:auto"])
    (found,) = records(context.results.folder, "bench")
    assert (found["failure"], found["frames"]) == ("", 30)
    assert set(found["seconds"]) == {"vrx encode", "vrx generate", "vrx decode"}
    assert all(0 < seconds < 300 for seconds in found["seconds"].values())


def test_a_large_model_is_measured_stage_by_stage_and_in_threads(context: Context) -> None:
    models.measure(context, ["flashvsr:1280x720:auto:auto:profile:plain"])
    found = records(context.results.folder, "bench")
    assert not [record for record in found if "failed" in record]
    steady = [record for record in found if record.get("steady")]
    assert [record.get("part") for record in steady] == [None, "without waiting", "threads and conversions"]
    assert set(steady[0]["ms"]) == {"encode", "generate", "decode"}
    assert steady[2]["estimate_gb"]
    assert (context.results.folder / "profile.txt").read_text().count("#####") == 3


def test_the_device_is_compared_with_the_processor(context: Context) -> None:
    agreement.compare(context, ["attention", "maps", "text", "threads"])
    found = records(context.results.folder, "small")
    assert not [record for record in found if "failed" in record]
    assert all(record["worst"] < 0.1 for record in found if "worst" in record)


def test_small_checkpoints_give_the_same_after_a_reload(context: Context) -> None:
    agreement.small_checkpoints(context, ("flashvsr", "lean"))
    found = records(context.results.folder, "small")
    assert not [record for record in found if "failed" in record]
    assert [record["same"] for record in found if "same" in record] == [True, True]


def test_streams_of_their_own_are_compared_with_one(context: Context) -> None:
    overlap.measure(context, ["flashvsr:1280x720:auto:auto"])
    assert records(context.results.folder, "bench")[0]["worst_levels"] == 0


def test_one_copy_a_chunk_is_compared_with_many(context: Context) -> None:
    overlap.measure_copies(context, ["upscale:1280x720", "inpaint:832x480"])
    found = records(context.results.folder, "embedded")
    assert [record["worst_levels"] for record in found] == [0, 0]
    assert all(len(record["fps"][way]) == 1 for record in found for way in ("off", "on"))


def test_graphs_and_flow_are_measured_switched_off_and_on(context: Context) -> None:
    overlap.measure_graphs(context, ["upscale:1280x720"])
    overlap.measure_flow(context, ["upscale:1280x720"])
    found = records(context.results.folder, "embedded")
    assert [(record["part"], record["worst_levels"], record["said"]) for record in found] == [
        ("graphs", 0, []),
        ("flow", 0, []),
    ]


def test_decoding_is_compared_with_the_processors(context: Context) -> None:
    decoding.compare(context, ["libx264:1920x1080"])
    (found,) = records(context.results.folder, "embedded")
    assert (found["same"], found["said"]) == (True, [])  # too small a picture to be tried
    assert all(len(rates) == 2 for rates in found["fps"].values())


def test_what_is_set_in_a_process_is_compared_in_every_way(context: Context) -> None:
    settings.compare_orders(context, ["flashvsr:1280x720:auto:auto"])
    settings.compare_segments(context, ["flashvsr:1280x720:auto:auto"])
    found = records(context.results.folder, "bench")
    assert [record["way"] for record in found] == ["cudnn first", "flash first", "efficient first", *overlap.TURNS]
    assert [record.get("worst") for record in found] == [None, 0.0, 0.0, None, 0.0, 0.0, 0.0]


def test_a_failure_is_a_result(context: Context) -> None:
    with context.results.guard("micro", what="this"):
        raise RuntimeError("no")
    found = records(context.results.folder, "micro")[0]
    assert (found["what"], found["failed"], found["why"]) == ("this", "RuntimeError", "no")


def test_sparse_attention_is_measured_with_its_fallback(context: Context) -> None:
    kernels.sparse_attention(context)
    how = [record.get("how") for record in records(context.results.folder, "micro")]
    assert {"FlexAttention", "under a mask", "dense"} < set(how)


def test_missing_packages_are_stood_in_for() -> None:
    program = """
from vrx.bench.gpu import stubs
missing = stubs.install(("av", "scenedetect", "imageio_ffmpeg", "ftfy", "cv2", "PIL", "tokenizers", "filelock"))
import vrx.bench.gpu.agreement, vrx.bench.gpu.models, vrx.bench.gpu.overlap, vrx.bench.gpu.ways, vrx.cli.app, av
try:
    raise av.FFmpegError("x")
except av.FFmpegError:
    print(*missing)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "av",
        "scenedetect",
        "imageio_ffmpeg",
        "ftfy",
        "cv2",
        "PIL",
        "tokenizers",
        "filelock",
    ]
    assert stubs.exists("torch")
