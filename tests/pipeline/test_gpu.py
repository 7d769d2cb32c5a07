import pytest
import torch
from torch.nn.attention import SDPBackend

from vrx.errors import UsageError
from vrx.networks.dense_attention import BACKENDS
from vrx.networks.fusion import Failure, take_failures
from vrx.pipeline import gpu
from vrx.switches import Switches

CUDA = torch.device("cuda", 7)


@pytest.mark.parametrize(
    ("wish", "capability", "names"),
    [
        ("auto", (9, 0), "cudnn flash efficient math"),
        ("auto", (10, 0), "cudnn flash efficient math"),
        ("auto", (8, 0), "flash efficient cudnn math"),
        ("auto", (12, 0), "flash efficient cudnn math"),
        ("flash", (9, 0), "flash efficient cudnn math"),
        ("efficient", (9, 0), "efficient flash cudnn math"),
        ("cudnn", (8, 6), "cudnn flash efficient math"),
        ("torch", (9, 0), ""),
    ],
)
def test_attention_kernels_are_ordered_by_card(wish: str, capability: tuple[int, int], names: str) -> None:
    assert gpu.attention_order(wish, capability) == [BACKENDS[name] for name in names.split()]


class Card:
    """Stands in for a GPU: what was set for it, and what its first allocations say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fault: str = "", platform: str = "linux") -> None:
        take_failures()
        self.allocator, self.order = list[str](), list[SDPBackend]()

        def prefer(order: list[SDPBackend]) -> bool:
            self.order = order
            return True

        monkeypatch.setattr(gpu, "capability", lambda _: (9, 0))
        monkeypatch.setattr(gpu, "device_fault", lambda _: fault)
        monkeypatch.setattr(gpu, "prefer", prefer)
        monkeypatch.setattr(gpu, "set_allocator", self.set_allocator)
        monkeypatch.setattr("sys.platform", platform)
        for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "VRX_SEGMENTS", "VRX_ATTENTION"):
            monkeypatch.delenv(name, raising=False)

    def set_allocator(self, settings: str) -> bool:
        self.allocator.append(settings)
        return True


def prepare(device: torch.device = CUDA) -> None:
    gpu.prepare.__wrapped__(device)


def test_a_gpu_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)
    prepare()
    assert (card.allocator, card.order[0]) == (["expandable_segments:True"], BACKENDS["cudnn"])
    gpu.prepare.cache_clear()
    gpu.prepare(CUDA)
    gpu.prepare(CUDA)
    assert len(card.allocator) == 2
    gpu.prepare.cache_clear()


def test_a_card_that_does_not_tell_what_it_is_keeps_torchs_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: torch.device) -> tuple[int, int]:
        raise RuntimeError("no such device")

    card = Card(monkeypatch)
    monkeypatch.setattr(gpu, "capability", silent)
    prepare()
    assert (card.order, card.allocator) == ([], ["expandable_segments:True"])
    text = "attention keeps torch's order of kernels: RuntimeError: no such device"
    assert take_failures() == [Failure("attention-fallback", text)]


def test_a_processor_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)
    prepare(torch.device("cpu"))
    assert (card.allocator, card.order) == ([], [])


@pytest.mark.parametrize("variable", ["PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:64", "VRX_SEGMENTS=off"])
def test_the_user_has_the_last_word_on_memory(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)
    monkeypatch.setenv(*variable.split("=", 1))
    prepare()
    assert card.allocator == []


def test_memory_that_cannot_grow_in_segments_is_taken_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, fault="operation not supported")
    prepare()
    assert card.allocator == ["expandable_segments:True", "expandable_segments:False"]
    text = "memory is taken in fixed segments: RuntimeError: operation not supported"
    assert take_failures() == [Failure("memory-in-pieces", text)]


def test_other_systems_have_no_such_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, platform="win32")
    prepare()
    assert card.allocator == []


def test_torch_takes_the_allocators_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: str) -> None:
        raise ValueError(settings)

    assert gpu.set_allocator("expandable_segments:False")
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", refuse)
    assert not gpu.set_allocator("expandable_segments:True")


def test_switches_are_on_unless_they_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATTENTION", "STREAMS", "GRAPHS", "FLOW", "SEGMENTS", "NVDEC"):
        monkeypatch.delenv(f"VRX_{name}", raising=False)
    assert Switches.read() == Switches()
    monkeypatch.setenv("VRX_STREAMS", "off")
    monkeypatch.setenv("VRX_ATTENTION", "flash")
    assert Switches.read() == Switches(attention="flash", streams=False)
    monkeypatch.setenv("VRX_ATTENTION", "fast")
    with pytest.raises(UsageError, match=r"VRX_ATTENTION is 'fast'. Choose one of auto, cudnn"):
        Switches.read()
