"""A large model on a processor whose memory is too small is refused before it is loaded, or the user is told."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.clips import ClipMaker
from tests.models import small
from tests.pipeline.jobs import make_job, notes, open_session
from vrx import load_model
from vrx.errors import SMALLER, DeviceError
from vrx.events import Event, Noted, ignore
from vrx.files import format_bytes
from vrx.models.components import Components
from vrx.models.loader import read_folder
from vrx.models.registry import FAMILIES
from vrx.pipeline import memory, needs, pool, select_model
from vrx.pipeline.batch import Batch
from vrx.pipeline.memory import HostMemory
from vrx.pipeline.select_model import least_entry_memory
from vrx.settings import Decoder, Job, ModelSettings
from vrx.weights.catalogue import load_all

NEEDED = least_entry_memory(load_all(FAMILIES)["swiftvr"], 64 * 48, ModelSettings(dtype="bf16"), processor=True) or 0
EMPTY = least_entry_memory(load_all(FAMILIES)["swiftvr"], 0, ModelSettings(dtype="bf16"), processor=True) or 0
CERTAIN_BYTES = 0.75 * (memory.BASE_MEMORY + 2 * 5.0e9 + (NEEDED - EMPTY))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.swiftvr(tmp_path_factory.mktemp("small") / "swiftvr")


@pytest.fixture
def job(folder: Path, clip: ClipMaker, tmp_path: Path) -> Job:
    """Of 32x24 by 2: a small network, taken for one of the published size."""
    found = make_job(clip("in.mkv", frames=1, size=(32, 24)), tmp_path / "out.mkv", codec="ffv1")
    return replace(found, model=replace(found.model, name=str(folder), dtype="bf16"))


def give(monkeypatch: pytest.MonkeyPatch, total: float, available: float | None = None) -> None:
    found = HostMemory(int(total), int(total if available is None else available))
    monkeypatch.setattr(memory, "host_memory", lambda swap=True: found)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The network counts as one of the published size: its numbers, and bytes that stay in its file."""
    found = [int(5.0e9), 0]
    monkeypatch.setattr(Components, "count_weights", lambda self, role: found[0] * (role == "transformer"))
    monkeypatch.setattr(Components, "mapped_bytes", lambda self, role, dtype: found[1] * (role == "transformer"))
    return found


@pytest.mark.usefixtures("published")
def test_what_certainly_does_not_fit_is_refused_before_it_is_loaded(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "load_model", lambda *_: pytest.fail("loaded"))
    give(monkeypatch, CERTAIN_BYTES - 1e6)
    heard: list[Event] = []
    with pytest.raises(DeviceError, match=r"^11\.8 GB of memory are needed, and this machine has 7\.8 GB") as caught:
        Batch([job], heard.append).restore(0)
    assert caught.value.exit_code == 5
    assert caught.value.hint == "Use a smaller video, a smaller --scale, --dtype int8 or --model embedded"
    assert Batch([job], heard.append).plan(0).notes[-1].endswith("it would be refused")
    give(monkeypatch, CERTAIN_BYTES - 1e8)  # no video is known
    with pytest.raises(DeviceError, match="of memory are needed"):
        load_model(job.model.name, device="cpu", dtype="bf16")


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("total", "available", "warning"),
    [
        (CERTAIN_BYTES + 1e6, 1e6, "this machine has 7.8 GB: it may be slow, or run out"),
        (2 * NEEDED, NEEDED - memory.BASE_MEMORY - 1e6, "11.4 GB are free: it may run out"),
        (2 * NEEDED, NEEDED - memory.BASE_MEMORY, ""),
    ],
)
def test_what_may_not_fit_is_said(
    total: float, available: float, warning: str, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, total, available)
    heard: list[Event] = []
    with open_session(job, heard) as session:
        needs.warn_of_memory(session)
        needs.check_memory(session, session.components())
    found = notes(heard).get("memory-short")
    assert (found is not None) == bool(warning)
    if found is not None:
        assert (found.level, found.text.endswith(warning)) == ("warning", True)
        assert f"{format_bytes(int(found.facts['bytes']))} of memory" in found.text  # type: ignore[arg-type]


@pytest.mark.usefixtures("published")
def test_a_run_is_warned_of_and_one_whose_networks_are_in_memory_already_is_not(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, 2 * NEEDED, 1e6)
    heard: list[Event] = []
    other = replace(job, output=replace(job.output, path=str(tmp_path / "other.mkv")))
    batch = Batch([job, other], heard.append)
    for number in range(2):
        batch.restore(number)
        assert sum(isinstance(event, Noted) and event.code == "memory-short" for event in heard) == 1


@pytest.mark.usefixtures("published")
def test_what_was_downloaded_first_is_refused_before_it_is_loaded(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "load_model", lambda *_: pytest.fail("loaded"))
    monkeypatch.setattr(needs, "known_components", lambda _: None)  # before
    give(monkeypatch, CERTAIN_BYTES - 1e6)
    with pytest.raises(DeviceError, match="of memory are needed"):
        Batch([job], ignore).restore(0)


def test_weights_that_are_used_where_they_are_in_their_file_can_be_dropped(tmp_path: Path) -> None:
    """Those of the run's type, where a matrix may begin."""
    tensors = {"half": torch.zeros(64, 64).bfloat16(), "whole": torch.zeros(64, 64)}
    found = []
    for number in range(8):  # the header grows by 8 bytes
        save_file(tensors, tmp_path / f"{number}.safetensors", {"x": " " * 8 * number})
        components = Components({"network": tmp_path / f"{number}.safetensors"})
        found.append([components.mapped_bytes("network", dtype) for dtype in (torch.bfloat16, torch.float32)])
    assert sorted(found) == [[0, 0]] * 7 + [[2 * 64 * 64, 4 * 64 * 64]]


def test_weights_that_may_be_dropped_refuse_nothing(
    job: Job, published: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, 4e9)
    published[1] = int(9e9)
    entry, cpu = load_all(FAMILIES)["swiftvr"], torch.device("cpu")
    components = Components({"transformer": Path("a"), "text": Path("b")})
    needs.refuse(entry, job.model, cpu, NEEDED, components)
    needs.refuse(entry, job.model, cpu, NEEDED, None)  # not downloaded yet
    with pytest.raises(DeviceError, match="Use a smaller video, a smaller --scale or --model embedded"):
        give(monkeypatch, 3e9)  # rounded ones are new: a byte each
        needs.refuse(entry, replace(job.model, dtype="int8"), cpu, NEEDED, components)
    with pytest.raises(DeviceError):  # frames beyond 1920x1080
        needs.refuse(entry, job.model, cpu, 2 * NEEDED, components)


def test_a_network_of_another_size_takes_less(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, 0.5e9)
    heard: list[Event] = []
    Batch([job], heard.append).restore(0)
    assert "memory-short" not in notes(heard)
    assert not any("memory" in note for note in Batch([job], heard.append).plan(0).notes)


def test_weights_are_counted_in_the_type_of_the_run_and_those_of_the_loaded_parts(folder: Path) -> None:
    components, entry = read_folder(folder), load_all(FAMILIES)["swiftvr"]
    found = {
        dtype: needs.find_weights(entry, ModelSettings(dtype=dtype), components)[0]
        for dtype in ("bf16", "fp32", "int8")
    }
    assert found["fp32"] == 2 * found["bf16"] == 4 * found["int8"] > 0


@pytest.mark.parametrize(
    ("name", "decoder", "gone"),
    [
        ("instantvir-sr4", "auto", {"text", "tiny"}),  # UMT5 is not there beside the others
        ("satb-vr", "auto", {"text"}),
        ("flashvsr", "auto", {"autoencoder"}),
        ("flashvsr", "full", set()),
    ],
)
def test_networks_that_are_not_there_with_the_others_are_not_counted(
    name: str, decoder: Decoder, gone: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = load_all(FAMILIES)[name]
    parts = FAMILIES[entry.family].components
    counted: list[str] = []

    def count(_: Components, role: str) -> int:
        counted.append(role)
        return 1

    monkeypatch.setattr(Components, "count_weights", count)
    monkeypatch.setattr(Components, "mapped_bytes", lambda *_: 0)
    needs.find_weights(entry, ModelSettings(decoder=decoder), Components({role: Path(role) for role in parts}))
    assert {role for role, part in parts.items() if part.network} - set(counted) == gone


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("instantvir-deblur", "Use a smaller video, --dtype fp8 or --model embedded"),
        ("instantvir-sr4", "Use a smaller video, --dtype fp8 or --model embedded"),  # its only scale
        ("instavsr", "Use a smaller video or --model embedded"),  # enlarges by 4, whatever the result's scale
        ("recavsr", "Use a smaller video, a smaller --scale, --dtype fp8 or --model embedded"),
        ("embedded", SMALLER),
    ],
)
def test_advice_is_what_takes_less(name: str, hint: str) -> None:
    assert needs.advice(load_all(FAMILIES)[name], ModelSettings()) == hint


def test_weights_beyond_the_published_size_do_not_count_frames_twice(published: list[int]) -> None:
    entry, components = load_all(FAMILIES)["swiftvr"], Components({"transformer": Path("a")})
    published[0] = EMPTY
    found = needs.find_need(entry, ModelSettings(dtype="bf16"), (NEEDED, NEEDED), components)
    assert found.certain == pytest.approx(0.75 * (memory.BASE_MEMORY + 2 * EMPTY + NEEDED - EMPTY))
    assert str(found) == f"{format_bytes(found.certain)} of memory are needed"  # more than was predicted


@pytest.mark.parametrize(("share", "small"), [(0.26, False), (0.24, True)])
def test_less_than_a_quarter_of_the_published_weights_is_another_size(
    share: float, small: bool, published: list[int]
) -> None:
    entry, components = load_all(FAMILIES)["swiftvr"], Components({"transformer": Path("a")})
    published[0] = round(share * (EMPTY - memory.BASE_MEMORY) / 2)
    found = needs.find_need(entry, ModelSettings(dtype="bf16"), (NEEDED, NEEDED), components)
    part = memory.BASE_MEMORY + share * (NEEDED - memory.BASE_MEMORY)
    assert found.predicted == pytest.approx(part if small else NEEDED)


@pytest.mark.parametrize(("tile", "said"), [("auto", True), ("512", False)])
def test_tiles_that_are_asked_for_take_what_a_run_takes_at_least(
    tile: str, said: bool, clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(clip("in.mkv", frames=1, size=(32, 24)), tmp_path / "out.mkv", codec="ffv1")
    model = replace(job.model, name="swiftvr", dtype="bf16", tile=tile)
    monkeypatch.setattr(needs, "planned_memory", lambda _: 10**12)
    give(monkeypatch, 10**13, 10**11)
    with open_session(replace(job, model=model)) as session:
        assert bool(needs.memory_note(session)) == said


@pytest.mark.parametrize(("name", "said"), [("swiftvr", True), ("embedded", False)])
def test_a_gpu_without_the_memory_of_a_large_model_is_said(
    name: str, said: bool, clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded model has smaller steps left."""
    job = make_job(clip("in.mkv", frames=1, size=(32, 24)), tmp_path / "out.mkv", codec="ffv1")
    with open_session(replace(job, model=replace(job.model, name=name))) as session:
        session.device = torch.device("cuda:0")
        least = needs.least_memory(session)
        assert least is not None
        monkeypatch.setattr(memory, "free_of", lambda _: least)
        assert needs.memory_note(session) == ""
        monkeypatch.setattr(memory, "free_of", lambda _: least - 1)
        assert needs.memory_note(session).endswith("free on cuda:0: it will run out of memory") == said


def test_weights_in_8_bits_are_not_wider_on_a_processor_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = load_all(FAMILIES)["swiftvr"]
    before = least_entry_memory(entry, 64 * 48, ModelSettings(dtype="int8"), processor=True)
    monkeypatch.setattr(select_model, "pick_dtype", lambda *_: torch.float32)
    assert least_entry_memory(entry, 64 * 48, ModelSettings(dtype="int8"), processor=True) == before
