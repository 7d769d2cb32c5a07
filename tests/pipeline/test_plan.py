"""What a dry run shows."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job, open_session
from vrx.cli.batch import memory_words
from vrx.errors import DeviceError
from vrx.models.registry import FAMILIES
from vrx.pipeline import memory, plan
from vrx.pipeline.memory import HostMemory
from vrx.pipeline.needs import check_memory
from vrx.pipeline.plan import make_plan, missing_files_note
from vrx.pipeline.select_model import least_entry_memory
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights.catalogue import load_all


def test_a_plan_says_what_will_be_done(clip: ClipMaker, tmp_path: Path) -> None:
    with open_session(make_job(clip("in.mkv", frames=5), tmp_path / "out.mp4")) as session:
        found = make_plan(session)
    assert (found.frames, found.source_size, found.target_size) == (5, (64, 48), (128, 96))
    assert (found.model, found.device, found.dtype) == ("embedded", "cpu", "float32")
    assert (found.encoder, found.container, found.pix_fmt) == ("libx264", "mp4", "yuv420p")
    assert (found.output, found.action, found.scenes) == (str(tmp_path / "out.mp4"), "write", "auto")
    assert found.memory is not None
    assert found.seconds is not None
    assert found.memory > memory.BASE_MEMORY
    assert found.seconds > 0
    assert found.as_dict()["chunk"] == found.chunk > 0


def test_memory_that_cannot_be_enough_is_named_and_refused(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "host_memory", lambda swap=True: HostMemory(1 << 20, 1 << 20))
    with open_session(make_job(clip("in.mkv", frames=5), tmp_path / "out.mp4")) as session:
        assert "it would be refused" in plan.make_plan(session).notes[-1]
        with pytest.raises(DeviceError, match="of memory"):
            check_memory(session)


def test_memory_is_that_of_the_size_a_model_enlarges_to(clip: ClipMaker, tmp_path: Path) -> None:
    """A clip of 64x48 by 4, whatever the scale."""
    found = []
    for scale in (2, 4):
        restore = RestoreSettings(task=Task.UPSCALE, scale=scale)
        job = make_job(clip("in.mkv", frames=5), tmp_path / "out.mp4", restore=restore)
        job = replace(job, model=replace(job.model, name="instavsr-small"))
        with open_session(job) as session:
            found.append(make_plan(session))
    entry = load_all(FAMILIES)["instavsr-small"]
    assert [plan.memory for plan in found] == [least_entry_memory(entry, 256 * 192, processor=True)] * 2
    assert [plan.seconds for plan in found] == [None, None]  # not known


def test_memory_of_a_large_model_is_that_of_the_result_s_size(
    clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, entry = clip("in.mkv", frames=5, size=(320, 240)), load_all(FAMILIES)["infvsr"]
    whole = FAMILIES["infvsr"].footprint(entry)
    assert whole is not None
    job = make_job(path, tmp_path / "out.mp4", restore=RestoreSettings(task=Task.UPSCALE, scale=4))
    job = replace(job, model=replace(job.model, name="infvsr", dtype="bf16"))
    least, planned = least_entry_memory(entry, 1280 * 960, job.model, processor=True), whole.whole.at(1280 * 960)
    with open_session(job) as session:
        monkeypatch.setattr(memory, "host_memory", lambda swap=True: HostMemory(10**12, planned))
        enough = make_plan(session)
        monkeypatch.setattr(memory, "host_memory", lambda swap=True: HostMemory(10**12, planned - 1))
        short = make_plan(session)
    assert enough.memory == memory.BASE_MEMORY + planned
    assert (enough.least_memory, enough.free_memory) == (least, planned)
    assert least is not None
    assert least < planned
    assert not any("run out" in note for note in enough.notes)
    assert any(note.endswith("GB are free: it may run out") for note in short.notes)
    assert memory_words(short).count("GB") == 3


def test_numbers_of_four_bytes_take_twice_as_much_of_a_processor() -> None:
    found = {name: load_all(FAMILIES)[name] for name in ("infvsr", "instavsr-small")}
    sizes = {
        (name, dtype): (least_entry_memory(entry, 256 * 192, ModelSettings(dtype=dtype), processor=True) or 0)
        - memory.BASE_MEMORY
        for name, entry in found.items()
        for dtype in ("bf16", "fp32")
    }
    in_one_piece = FAMILIES["infvsr"].capabilities.footprints[-1].whole.at(256 * 192)
    assert sizes["infvsr", "fp32"] == 2 * sizes["infvsr", "bf16"] == 2 * in_one_piece
    entry = load_all(FAMILIES)["stream-diffvsr"]
    libraries = (least_entry_memory(entry, 0, ModelSettings(dtype="bf16"), processor=True) or 0) - memory.BASE_MEMORY
    assert libraries - (least_entry_memory(entry, 0) or 0) == 210_000_000  # diffusers, imported: 0.51 for 0.30 GB
    assert sizes["instavsr-small", "fp32"] == sizes["instavsr-small", "bf16"]  # 0.66 and 0.63 GB at 1280x720


@pytest.mark.parametrize("name", ["swiftvr", "infvsr", "flashvsr"])
def test_memory_and_type_are_those_of_weights_as_they_are_stored(name: str, clip: ClipMaker, tmp_path: Path) -> None:
    footprint = FAMILIES[name].footprint(load_all(FAMILIES)[name])
    assert footprint is not None
    assert footprint.quantized is not None
    job = make_job(clip("in.mkv", frames=1), tmp_path / "out.mp4", restore=RestoreSettings(task=Task.UPSCALE, scale=4))
    found = {}
    for dtype in ("bf16", "fp8"):
        with open_session(replace(job, model=replace(job.model, name=name, dtype=dtype))) as session:
            found[dtype] = make_plan(session)
    assert found["bf16"].memory == memory.BASE_MEMORY + footprint.whole.at(256 * 192)
    assert found["fp8"].memory == memory.BASE_MEMORY + footprint.quantized.at(256 * 192)
    assert (found["bf16"].dtype, found["fp8"].dtype.partition(", ")[2]) == ("bfloat16", "weights in fp8")


def test_8_bits_that_are_not_taken_by_themselves_are_no_way_to_fit() -> None:
    entry = load_all(FAMILIES)["infvsr"]
    footprint = FAMILIES["infvsr"].footprint(entry)
    assert footprint is not None
    assert footprint.quantized is not None
    assert footprint.offloaded is not None
    assert least_entry_memory(entry, 832 * 480) == footprint.offloaded.at(832 * 480)
    assert footprint.quantized.at(832 * 480) < footprint.whole.at(832 * 480)


def test_weights_do_not_leave_a_processors_memory_for_the_same_memory(clip: ClipMaker, tmp_path: Path) -> None:
    """A GPU has them there, or in 8 bits; a processor takes neither way by itself."""
    footprint = FAMILIES["swiftvr"].capabilities.footprints[0]
    assert footprint.offloaded is not None
    assert footprint.quantized is not None
    job = make_job(clip("in.mkv", frames=1), tmp_path / "out.mp4", restore=RestoreSettings(task=Task.UPSCALE, scale=4))
    found = {}
    for dtype in ("bf16", "int8"):
        with open_session(replace(job, model=replace(job.model, name="swiftvr", dtype=dtype))) as session:
            found[dtype] = (make_plan(session).least_memory or 0) - memory.BASE_MEMORY
    assert found == {"bf16": footprint.whole.at(256 * 192), "int8": footprint.quantized.at(256 * 192)}
    assert least_entry_memory(load_all(FAMILIES)["swiftvr"], 256 * 192) == footprint.offloaded.at(256 * 192)


def test_neither_are_tiles_that_were_ruled_out() -> None:
    """RelayVSR at 3840x2160, which takes least in tiles."""
    entry, pixels = load_all(FAMILIES)["relayvsr"], 3840 * 2160
    footprint = FAMILIES["relayvsr"].footprint(entry)
    assert footprint is not None
    assert footprint.tiled is not None
    assert footprint.offloaded is not None
    assert least_entry_memory(entry, pixels) == footprint.tiled.at(pixels)
    assert least_entry_memory(entry, pixels, ModelSettings(tile="off")) == footprint.offloaded.at(pixels)


def test_neither_are_8_bits_where_another_type_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    entry, family, pixels = load_all(FAMILIES)["swiftvr"], FAMILIES["swiftvr"], 1920 * 1088
    found = replace(family.capabilities.footprints[0], offloaded=None)
    monkeypatch.setitem(
        FAMILIES, "swiftvr", replace(family, capabilities=replace(family.capabilities, footprints=(found,)))
    )
    assert found.quantized is not None
    assert least_entry_memory(entry, pixels) == found.quantized.at(pixels)
    assert least_entry_memory(entry, pixels, ModelSettings(dtype="bf16")) == found.whole.at(pixels)


def test_a_plan_counts_on_the_speed_of_8_bits(clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "matrix_rate", lambda *_: 1e12)
    job = make_job(clip("in.mkv", frames=5), tmp_path / "out.mp4")
    seconds = []
    for quantized in (None, "int8"):
        with open_session(job) as session:
            monkeypatch.setattr(type(session), "quantized", quantized)
            seconds.append(plan.estimate_seconds(session))
            monkeypatch.undo()
            monkeypatch.setattr(plan, "matrix_rate", lambda *_: 1e12)
    assert seconds[0] is not None
    assert seconds[1] is not None
    assert seconds[0] / seconds[1] == pytest.approx(1.3)


def test_free_memory_is_the_device_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 7)
    monkeypatch.setattr(memory, "unswapped_memory", lambda: 5.0)
    assert [memory.free_of(torch.device(name)) for name in ("cuda", "cpu")] == [7, 5]
    monkeypatch.setattr(memory, "unswapped_memory", lambda: float("inf"))
    assert memory.free_of(torch.device("cpu")) is None


def test_a_plan_tells_which_files_of_a_model_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("vrx.weights.store.find_part", lambda entry, part, models: None)
    entries = load_all(FAMILIES)
    assert missing_files_note(entries["infvsr"], ModelSettings()).startswith("a run downloads first: InfVSR.ckpt, ")
    note = missing_files_note(entries["instantvir-sr4"], ModelSettings())
    assert note.startswith("a run downloads first: wan_causal_inverse_sr4/model.pt, ")
    assert missing_files_note(entries["instavsr"], ModelSettings()).endswith("vrx models show instavsr")


@pytest.mark.parametrize(
    ("name", "settings", "path"),
    [
        ("infvsr", ModelSettings(decoder="tiny"), "taew2_1.pth"),
        ("flashvsr", ModelSettings(decoder="full"), "Wan2.1_VAE.pth"),
        ("recavsr", ModelSettings(decoder="full"), "vae.safetensors"),
    ],
)
def test_a_plan_names_the_files_that_only_these_settings_need(
    name: str, settings: ModelSettings, path: str, clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    monkeypatch.setattr("vrx.weights.store.find_part", lambda entry, part, models: None)
    entry = load_all(FAMILIES)[name]
    assert path in missing_files_note(entry, settings)
    assert path not in missing_files_note(entry, ModelSettings())
    job = make_job(clip(frames=2), tmp_path / "out.mkv")
    with open_session(replace(job, model=replace(settings, name=name, device="cpu"))) as session:
        assert path in make_plan(session).checkpoint


@pytest.mark.parametrize(("option", "variable"), [(True, False), (False, True)])
def test_a_plan_without_network_does_not_promise_a_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: bool, variable: bool
) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", variable)
    monkeypatch.setattr("vrx.weights.store.find_part", lambda entry, part, models: None)
    note = missing_files_note(load_all(FAMILIES)["infvsr"], ModelSettings(offline=option))
    assert note.startswith("not on this machine, and the network is off (--offline or HF_HUB_OFFLINE): InfVSR.ckpt, ")
