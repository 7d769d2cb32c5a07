"""--model as a function of the wish, the catalogue and the machine."""

from dataclasses import replace

import pytest

from vrx.errors import ModelError, UsageError
from vrx.pipeline.choose import Machine, choose
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue
from vrx.weights.catalogue import Entry

ENTRIES = catalogue.load(catalogue.packaged())
UPSCALE = RestoreSettings(task=Task.UPSCALE, scale=4)
DEBLUR = RestoreSettings(task=Task.DEBLUR)
LARGE, SMALL = 48_000_000_000, 16_000_000_000


def chosen(
    restore: RestoreSettings, machine: Machine, prompt: str | None = None, entries: dict[str, Entry] = ENTRIES
) -> tuple[str, bool]:
    choice = choose(ModelSettings(prompt=prompt), entries, restore, machine)
    return choice.entry.name, bool(choice.note)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(), ("embedded", False)),
        (Machine(on_disk=frozenset({"infvsr"}), online=True), ("embedded", False)),
        (Machine(gpu_memory=LARGE, online=True), ("infvsr", True)),
        (Machine(gpu_memory=LARGE), ("embedded", True)),
        (Machine(gpu_memory=LARGE, on_disk=frozenset({"flashvsr"}), online=True), ("flashvsr", False)),
        (Machine(gpu_memory=LARGE, on_disk=frozenset({"flashvsr", "infvsr"})), ("infvsr", False)),
        (Machine(gpu_memory=SMALL, online=True), ("flashvsr", True)),
        (Machine(gpu_memory=SMALL, on_disk=frozenset({"infvsr"})), ("embedded", True)),
        (Machine(gpu_memory=4_000_000_000, online=True), ("embedded", False)),
    ],
)
def test_auto_takes_the_best_that_fits(machine: Machine, expected: tuple[str, bool]) -> None:
    assert chosen(UPSCALE, machine) == expected


def test_auto_heeds_task_scale_and_prompt() -> None:
    machine = Machine(gpu_memory=LARGE, on_disk=frozenset(ENTRIES), online=True)
    unknown = {name: replace(entry, memory=None) for name, entry in ENTRIES.items()}
    assert chosen(DEBLUR, machine, entries=unknown) == ("embedded", False)
    assert chosen(DEBLUR, machine) == ("instantvir-deblur", False)
    assert chosen(UPSCALE, machine, "a cat") == ("instantvir-sr4", False)
    small = RestoreSettings(task=Task.UPSCALE, scale=2)
    with pytest.raises(UsageError, match="does not hear prompts"):
        chosen(small, machine, "a cat")
    by_hand = Machine(gpu_memory=LARGE, online=True)  # what comes by hand is never fetched
    assert chosen(DEBLUR, by_hand) == ("embedded", False)


def test_names_are_heeded_or_refused() -> None:
    for name, restore, error, words in (
        ("nothing", UPSCALE, ModelError, "unknown model"),
        ("infvsr", DEBLUR, ModelError, "does not deblur"),
        ("satb-vr", UPSCALE, ModelError, "cannot run"),
        ("instantvir-sr4", RestoreSettings(task=Task.UPSCALE, scale=3), UsageError, "Use --scale 4"),
    ):
        with pytest.raises(error, match=words):
            choose(ModelSettings(name=name), ENTRIES, restore, Machine())
    assert choose(ModelSettings(name="flashvsr"), ENTRIES, UPSCALE, Machine()).entry.name == "flashvsr"


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
        assert choose(model, ENTRIES, UPSCALE, Machine()).entry.name == name
        return
    with pytest.raises(UsageError, match="has no choice of"):
        choose(model, ENTRIES, UPSCALE, Machine())
