"""--model as a function of the wish, the catalogue and the machine."""

from dataclasses import replace
from typing import Any

import pytest

from vrx.errors import ModelError, UsageError
from vrx.models.family import Family
from vrx.models.registry import FAMILIES
from vrx.pipeline.select_model import DeviceInfo, fits, select_model
from vrx.settings import ModelSettings, Prefer, RestoreSettings, Task
from vrx.weights import catalogue
from vrx.weights.catalogue import Entry

ENTRIES = catalogue.load_file(catalogue.packaged_path(), FAMILIES)
UPSCALE = RestoreSettings(task=Task.UPSCALE, scale=4)
DEBLUR = RestoreSettings(task=Task.DEBLUR)
LARGE, SMALL = 48_000_000_000, 22_500_000_000
HD, UHD = 1920 * 1080, 3840 * 2160


@pytest.fixture(autouse=True)
def no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with nothing but vrx installed, whatever is."""
    monkeypatch.setattr(Family, "missing_packages", property(lambda family: family.packages))


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
        (DeviceInfo(gpu_memory=LARGE, online=True), ("relayvsr", True)),
        (DeviceInfo(gpu_memory=LARGE), ("embedded", True)),
        (DeviceInfo(gpu_memory=LARGE, on_disk=frozenset({"flashvsr"}), online=True), ("flashvsr", False)),
        (DeviceInfo(gpu_memory=LARGE, on_disk=frozenset({"flashvsr", "infvsr"})), ("infvsr", False)),
        (DeviceInfo(gpu_memory=SMALL, online=True), ("relayvsr", True)),
        (DeviceInfo(gpu_memory=16_000_000_000, online=True), ("relayvsr", True)),
        (DeviceInfo(gpu_memory=16_000_000_000, pixels=832 * 480, online=True), ("relayvsr", True)),
        (DeviceInfo(gpu_memory=16_000_000_000, on_disk=frozenset({"infvsr"})), ("infvsr", False)),  # weights wait
        (DeviceInfo(gpu_memory=SMALL, pixels=HD, on_disk=frozenset({"infvsr", "flashvsr"})), ("infvsr", False)),
        (DeviceInfo(gpu_memory=16_000_000_000, pixels=HD, on_disk=frozenset({"infvsr"})), ("embedded", True)),
        (DeviceInfo(gpu_memory=28_000_000_000, pixels=HD, on_disk=frozenset({"infvsr"})), ("infvsr", False)),
        (DeviceInfo(gpu_memory=18_000_000_000, pixels=HD, on_disk=frozenset({"flashvsr"})), ("embedded", True)),
        (DeviceInfo(gpu_memory=LARGE, pixels=HD, on_disk=frozenset({"flashvsr"})), ("flashvsr", False)),
        (DeviceInfo(gpu_memory=28_000_000_000, pixels=UHD, on_disk=frozenset({"flashvsr"})), ("embedded", True)),
        (DeviceInfo(gpu_memory=85_000_000_000, pixels=UHD, on_disk=frozenset({"infvsr"})), ("infvsr", False)),
        (DeviceInfo(gpu_memory=4_000_000_000, online=True), ("embedded", False)),
        (DeviceInfo(gpu_memory=4_000_000_000, on_disk=frozenset({"instavsr-small"})), ("embedded", False)),
    ],
)
def test_auto_takes_the_best_that_fits(machine: DeviceInfo, expected: tuple[str, bool]) -> None:
    assert chosen(UPSCALE, machine) == expected


def test_slow_models_that_need_further_packages_are_not_taken_for_having_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Family, "missing_packages", ())
    machine = DeviceInfo(gpu_memory=16_000_000_000, online=True)
    assert fits(ENTRIES["stream-diffvsr"], machine, ModelSettings())
    assert chosen(UPSCALE, machine) == ("relayvsr", True)
    order = list(ENTRIES)
    assert order.index("fastvr") < order.index("stream-diffvsr") < order.index("stream-diffvsr-mix")


@pytest.mark.parametrize(
    ("prefer", "on_disk", "expected"),
    [
        ("auto", (), "relayvsr"),  # as fast as any, and liked better than those on Wan 2.1 in most respects
        ("auto", ("flashvsr", "infvsr", "fastvr", "swiftvr", "recavsr"), "recavsr"),
        ("auto", ("flashvsr", "infvsr", "fastvr"), "fastvr"),
        ("speed", (), "relayvsr"),
        ("speed", ("infvsr", "flashvsr"), "flashvsr"),
        ("quality", ("infvsr", "swiftvr", "flashvsr"), "swiftvr"),
        ("quality", ("infvsr", "swiftvr", "fastvr", "recavsr"), "fastvr"),
        ("quality", (), "fastvr"),
        ("speed", ("swiftvr", "fastvr"), "swiftvr"),
    ],
)
def test_auto_takes_what_is_preferred_of_those_that_fit(
    prefer: Prefer, on_disk: tuple[str, ...], expected: str
) -> None:
    machine = DeviceInfo(gpu_memory=LARGE, on_disk=frozenset(on_disk), online=True)
    assert select_model(ModelSettings(prefer=prefer), ENTRIES, UPSCALE, machine).entry.name == expected


def test_every_model_that_enlarges_has_what_it_is_ranked_by() -> None:
    ranked = ("infvsr", "flashvsr", "swiftvr", "fastvr", "relayvsr", "recavsr", "satb-vr", "stream-diffvsr")
    for entry in ENTRIES.values():
        if entry.family in ranked:
            assert entry.speed > 0
            assert entry.quality > 0


def test_weights_in_8_bits_are_for_models_that_can_have_them() -> None:
    machine = DeviceInfo(gpu_memory=LARGE, online=True)
    assert select_model(ModelSettings(dtype="int8"), ENTRIES, UPSCALE, machine).entry.name == "swiftvr"
    with pytest.raises(UsageError, match="infvsr does not have weights in int8") as refused:
        select_model(ModelSettings(name="infvsr", dtype="int8"), ENTRIES, UPSCALE, machine)
    assert refused.value.hint == "Use --dtype auto or fp8"
    assert select_model(ModelSettings(name="infvsr", dtype="fp8"), ENTRIES, UPSCALE, machine).entry.name == "infvsr"
    with pytest.raises(UsageError, match="embedded does not have weights in fp8") as refused:
        select_model(ModelSettings(name="embedded", dtype="fp8"), ENTRIES, UPSCALE, machine)
    assert refused.value.hint == "Use --dtype auto or int8"
    with pytest.raises(UsageError, match="embedded does not have weights in int8") as refused:
        select_model(ModelSettings(name="embedded", dtype="int8"), ENTRIES, DEBLUR, machine)
    assert refused.value.hint == "Use --dtype auto"
    assert select_model(ModelSettings(dtype="int8"), ENTRIES, UPSCALE, DeviceInfo()).entry.name == "embedded"
    unknown = {"other": replace(ENTRIES["infvsr"], name="other", family="other"), **ENTRIES}  # of a user's catalogue
    assert select_model(ModelSettings(dtype="int8"), unknown, UPSCALE, machine).entry.name == "swiftvr"


def test_auto_heeds_task_scale_and_prompt() -> None:
    machine = DeviceInfo(gpu_memory=LARGE, on_disk=frozenset(ENTRIES), online=True)
    large = {name: replace(entry, family="other") for name, entry in ENTRIES.items() if name != "embedded"}
    unknown = {name: replace(entry, memory=None) for name, entry in large.items()} | {"embedded": ENTRIES["embedded"]}
    assert chosen(DEBLUR, machine, entries=unknown) == ("embedded", False)
    assert fits(replace(large["infvsr"], memory=LARGE), machine, ModelSettings())  # the catalogue's figure
    assert not fits(replace(large["infvsr"], memory=LARGE + 1), machine, ModelSettings())
    assert chosen(DEBLUR, machine) == ("instantvir-deblur", False)
    assert chosen(UPSCALE, machine, "a cat") == ("instantvir-sr4", False)
    small = RestoreSettings(task=Task.UPSCALE, scale=2)
    with pytest.raises(UsageError, match="does not take a prompt"):
        chosen(small, machine, "a cat")
    absent = DeviceInfo(gpu_memory=LARGE, online=True)  # what Google Drive has is downloaded where a prompt needs it
    assert chosen(DEBLUR, absent) == ("embedded", True)
    assert chosen(DEBLUR, absent, "glasses") == ("instantvir-deblur", True)


def test_names_are_heeded_or_refused() -> None:
    absent = replace(ENTRIES["infvsr"], name="absent", available=False)
    for name, restore, error, words in (
        ("nothing", UPSCALE, ModelError, "unknown model"),
        ("InfVSR", UPSCALE, ModelError, r"Did you mean infvsr.*\? List the models"),
        ("infvsr", DEBLUR, ModelError, "does not support deblur"),
        ("absent", UPSCALE, ModelError, "is not available in this version"),
        ("instantvir-sr4", RestoreSettings(task=Task.UPSCALE, scale=3), UsageError, "Use --scale 4"),
    ):
        with pytest.raises(error, match=words):
            select_model(ModelSettings(name=name), {**ENTRIES, "absent": absent}, restore, DeviceInfo())
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
def test_options_that_a_model_does_not_heed_are_refused(name: str, wishes: dict[str, Any], good: bool) -> None:
    model = ModelSettings(name=name, **wishes)
    if good:
        assert select_model(model, ENTRIES, UPSCALE, DeviceInfo()).entry.name == name
        return
    with pytest.raises(UsageError, match="has no effect with"):
        select_model(model, ENTRIES, UPSCALE, DeviceInfo())


def test_options_of_the_task_that_a_model_does_not_heed_are_refused_too() -> None:
    restore = replace(UPSCALE, strength=0.5)
    with pytest.raises(UsageError, match="--strength has no effect with model infvsr"):
        select_model(ModelSettings(name="infvsr"), ENTRIES, restore, DeviceInfo())
    assert select_model(ModelSettings(name="embedded"), ENTRIES, restore, DeviceInfo()).entry.name == "embedded"


def test_auto_passes_over_models_that_do_not_heed_an_option() -> None:
    machine = DeviceInfo(gpu_memory=LARGE, online=True)
    assert chosen(UPSCALE, machine)[0] == "relayvsr"
    assert chosen(replace(UPSCALE, strength=0.5), machine)[0] == "embedded"


def test_a_model_whose_optional_part_comes_by_hand_is_still_downloadable() -> None:
    entry = ENTRIES["infvsr"]
    by_hand = replace(entry.parts[0], repo="", url="", optional=True)
    assert not by_hand.downloadable
    entries = {"embedded": ENTRIES["embedded"], "infvsr": replace(entry, parts=(*entry.parts, by_hand))}
    machine = DeviceInfo(gpu_memory=LARGE, online=True)
    assert chosen(UPSCALE, machine, entries=entries) == ("infvsr", True)
    needed = replace(by_hand, optional=False)
    entries["infvsr"] = replace(entry, parts=(*entry.parts, needed))
    assert chosen(UPSCALE, machine, entries=entries) == ("embedded", False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"missing_roles": ("transformer",)}, "no part with the role transformer"),
        ({"fault": "mine.toml: no such key"}, "mine.toml: no such key"),
        ({"available": False}, "is not available in this version"),
    ],
)
def test_an_entry_that_cannot_run_is_refused_by_name_and_left_out_by_auto(
    change: dict[str, object], words: str
) -> None:
    broken = replace(ENTRIES["infvsr"], **change)  # type: ignore[arg-type]
    entries = {"embedded": ENTRIES["embedded"], "infvsr": broken}
    with pytest.raises(ModelError, match=words):
        select_model(ModelSettings(name="infvsr"), entries, UPSCALE, DeviceInfo())
    machine = DeviceInfo(gpu_memory=LARGE, on_disk=frozenset({"infvsr"}))
    if "fault" not in change:
        assert chosen(UPSCALE, machine, entries=entries) == ("embedded", False)
        return
    choice = select_model(ModelSettings(), entries, UPSCALE, DeviceInfo())
    assert [note.code for note in choice.notes] == ["catalogue-entry-unusable"]


@pytest.mark.parametrize(("online", "model"), [(True, "relayvsr"), (False, "embedded")])
def test_the_note_names_the_model_that_runs_and_the_larger_one(online: bool, model: str) -> None:
    choice = select_model(ModelSettings(), ENTRIES, UPSCALE, DeviceInfo(gpu_memory=LARGE, online=online))
    (note,) = choice.notes
    assert (choice.entry.name, note.facts) == (model, {"model": model, "larger": "relayvsr"})


def test_the_hint_for_a_prompt_names_models_of_the_task_that_take_one() -> None:
    with pytest.raises(UsageError) as caught:
        select_model(ModelSettings(name="infvsr", prompt="a cat"), ENTRIES, UPSCALE, DeviceInfo())
    assert "infvsr" not in caught.value.hint
    assert "--model instantvir-sr4, instantvir-sr4-lean or satb-vr. To get it (over 14.5 GB, for" in caught.value.hint
    assert caught.value.hint.endswith("vrx models pull instantvir-sr4")


def test_the_note_offers_the_embedded_model_only_where_it_would_do() -> None:
    machine = DeviceInfo(gpu_memory=LARGE, online=True)
    texts = [
        select_model(ModelSettings(prompt=prompt), ENTRIES, UPSCALE, machine).notes[0].text
        for prompt in (None, "a cat")
    ]
    assert texts == ["using relayvsr; --model embedded needs no download", "using instantvir-sr4"]
