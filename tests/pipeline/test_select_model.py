"""--model as a function of the wish, the catalogue and the machine."""

from dataclasses import replace

import pytest

from vrx.errors import ModelError, UsageError
from vrx.models.registry import FAMILIES
from vrx.pipeline.select_model import DeviceInfo, fits, select_model
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue
from vrx.weights.catalogue import Entry

ENTRIES = catalogue.load_file(catalogue.packaged_path(), FAMILIES)
UPSCALE = RestoreSettings(task=Task.UPSCALE, scale=4)
DEBLUR = RestoreSettings(task=Task.DEBLUR)
LARGE, SMALL = 48_000_000_000, 22_500_000_000
HD, UHD = 1920 * 1080, 3840 * 2160


def chosen(
    restore: RestoreSettings, machine: DeviceInfo, prompt: str | None = None, entries: dict[str, Entry] = ENTRIES
) -> tuple[str, bool]:
    choice = select_model(ModelSettings(prompt=prompt), entries, restore, machine)
    return choice.entry.name, bool(choice.notes)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (DeviceInfo(), ("embedded", False)),
        (DeviceInfo(on_disk=frozenset({"infvsr"}), online=True), ("embedded", False)),
        (DeviceInfo(gpu_memory=LARGE, online=True), ("infvsr", True)),
        (DeviceInfo(gpu_memory=LARGE), ("embedded", True)),
        (DeviceInfo(gpu_memory=LARGE, on_disk=frozenset({"flashvsr"}), online=True), ("flashvsr", False)),
        (DeviceInfo(gpu_memory=LARGE, on_disk=frozenset({"flashvsr", "infvsr"})), ("infvsr", False)),
        (DeviceInfo(gpu_memory=SMALL, online=True), ("infvsr", True)),  # in tiles
        (DeviceInfo(gpu_memory=16_000_000_000, online=True), ("embedded", False)),
        (DeviceInfo(gpu_memory=16_000_000_000, pixels=832 * 480, online=True), ("infvsr", True)),
        (DeviceInfo(gpu_memory=SMALL, pixels=HD, on_disk=frozenset({"infvsr", "flashvsr"})), ("embedded", False)),
        (DeviceInfo(gpu_memory=28_000_000_000, pixels=HD, on_disk=frozenset({"infvsr"})), ("infvsr", False)),
        (DeviceInfo(gpu_memory=28_000_000_000, pixels=HD, on_disk=frozenset({"flashvsr"})), ("embedded", True)),
        (DeviceInfo(gpu_memory=LARGE, pixels=HD, on_disk=frozenset({"flashvsr"})), ("flashvsr", False)),
        (DeviceInfo(gpu_memory=LARGE, pixels=UHD, on_disk=frozenset({"flashvsr"})), ("embedded", False)),
        (DeviceInfo(gpu_memory=85_000_000_000, pixels=UHD, on_disk=frozenset({"infvsr"})), ("infvsr", False)),
        (DeviceInfo(gpu_memory=4_000_000_000, online=True), ("embedded", False)),
    ],
)
def test_auto_takes_the_best_that_fits(machine: DeviceInfo, expected: tuple[str, bool]) -> None:
    assert chosen(UPSCALE, machine) == expected


def test_auto_heeds_task_scale_and_prompt() -> None:
    machine = DeviceInfo(gpu_memory=LARGE, on_disk=frozenset(ENTRIES), online=True)
    large = {name: replace(entry, family="other") for name, entry in ENTRIES.items() if name != "embedded"}
    unknown = {name: replace(entry, memory=None) for name, entry in large.items()} | {"embedded": ENTRIES["embedded"]}
    assert chosen(DEBLUR, machine, entries=unknown) == ("embedded", False)
    assert fits(replace(large["infvsr"], memory=LARGE), machine, "auto")  # the catalogue's figure, where no other is
    assert not fits(replace(large["infvsr"], memory=LARGE + 1), machine, "auto")
    assert chosen(DEBLUR, machine) == ("instantvir-deblur", False)
    assert chosen(UPSCALE, machine, "a cat") == ("instantvir-sr4", False)
    small = RestoreSettings(task=Task.UPSCALE, scale=2)
    with pytest.raises(UsageError, match="does not take a prompt"):
        chosen(small, machine, "a cat")
    by_hand = DeviceInfo(gpu_memory=LARGE, online=True)  # what comes by hand is never fetched
    assert chosen(DEBLUR, by_hand) == ("embedded", False)


def test_names_are_heeded_or_refused() -> None:
    for name, restore, error, words in (
        ("nothing", UPSCALE, ModelError, "unknown model"),
        ("InfVSR", UPSCALE, ModelError, r"Did you mean infvsr.*\? List the models"),
        ("infvsr", DEBLUR, ModelError, "does not support deblur"),
        ("satb-vr", UPSCALE, ModelError, "is not available in this version"),
        ("instantvir-sr4", RestoreSettings(task=Task.UPSCALE, scale=3), UsageError, "Use --scale 4"),
    ):
        with pytest.raises(error, match=words):
            select_model(ModelSettings(name=name), ENTRIES, restore, DeviceInfo())
    assert select_model(ModelSettings(name="flashvsr"), ENTRIES, UPSCALE, DeviceInfo()).entry.name == "flashvsr"


@pytest.mark.parametrize(
    ("name", "wishes", "good"),
    [
        ("embedded", {"decoder": "tiny"}, False),
        ("embedded", {"tile": "512"}, False),
        ("infvsr", {"decoder": "tiny", "tile": "off"}, True),
        ("infvsr", {"color_fix": "adain"}, False),
        ("flashvsr", {"color_fix": "wavelet", "decoder": "full"}, True),
    ],
)
def test_options_that_a_model_does_not_heed_are_refused(name: str, wishes: dict[str, str], good: bool) -> None:
    model = ModelSettings(name=name, **wishes)
    if good:
        assert select_model(model, ENTRIES, UPSCALE, DeviceInfo()).entry.name == name
        return
    with pytest.raises(UsageError, match="has no effect with"):
        select_model(model, ENTRIES, UPSCALE, DeviceInfo())
