"""Layers whose weights wait on the host: the order of copies, on a processor; streams and memory on a GPU."""

import pytest
import torch
from torch import Tensor, nn

from vrx.models.offload import CopyStream, Offload

Layers = list[list[nn.Module]]


def layers(count: int, width: int = 8) -> Layers:
    torch.manual_seed(0)
    return [[nn.Linear(width, width), nn.Linear(width, width, bias=bool(n % 2))] for n in range(count)]


def run(network: Layers, x: Tensor) -> Tensor:
    for first, second in network:
        x = second(torch.tanh(first(x)))
    return x


class Log(CopyStream):
    """Notes what is copied."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.copied: list[int] = []

    def copy(self, layer: int, source: Tensor, target: Tensor) -> None:
        self.copied.append(layer)
        super().copy(layer, source, target)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@torch.inference_mode()
def test_the_result_is_the_same_and_each_pass_copies_each_layer_once(count: int) -> None:
    network, x = layers(count), torch.ones(1, 8)
    expected = run(network, x)
    ring = Offload.attach(network, x.device)
    log = ring.copies = Log(x.device)
    for number in range(1, 4):
        assert torch.equal(run(network, x), expected)
        ahead = [n % count for n in range(number * count + 1)]  # the first of the next pass is on its way
        assert log.copied == (ahead if count > 2 else list(range(count)))


@torch.inference_mode()
def test_the_next_layer_travels_before_the_one_that_runs_computes() -> None:
    network, x = layers(4), torch.ones(1, 8)
    ring = Offload.attach(network, x.device)
    seen: list[list[int | None]] = []
    for first, _ in network:
        first.register_forward_pre_hook(lambda *_: seen.append(sorted(ring.residents, key=str)))
    run(network, x)
    assert seen == [[0, 1], [1, 2], [2, 3], [0, 3]]


@torch.inference_mode()
def test_layers_may_run_in_another_order_and_weights_are_whole_at_any_time() -> None:
    network, x = layers(5), torch.ones(1, 8)
    before = [{name: p.clone() for name, p in module.named_parameters()} for layer in network for module in layer]
    expected = [run([layer], x) for layer in network]
    Offload.attach(network, x.device)
    for number in (3, 1, 1, 4, 0, 2):
        assert torch.equal(run([network[number]], x), expected[number])
        after = [dict(module.named_parameters()) for layer in network for module in layer]
        for old, new in zip(before, after, strict=True):
            assert all(torch.equal(old[name], new[name]) for name in old)


def test_two_layers_are_on_the_device_however_many_there_are() -> None:
    network = layers(6)
    ring = Offload.attach(network, torch.device("cpu"))
    run(network, torch.ones(1, 8))
    slots = {slot.untyped_storage().data_ptr() for slot in ring.slots}
    weights = [layer[0].get_parameter("weight") for layer in network]
    away = [n for n, weight in enumerate(weights) if weight.untyped_storage().data_ptr() in slots]
    assert sorted(away) == sorted(n for n in ring.residents if n is not None)
    assert len(away) == len(slots) == 2


@pytest.mark.cuda
@torch.inference_mode()
def test_on_a_gpu_the_result_is_the_same_and_memory_is_that_of_two_layers() -> None:
    device = torch.device("cuda")
    network = layers(12, 2048)
    x = torch.ones(4, 2048, device=device)
    expected = run([[module.to(device) for module in layer] for layer in network], x)
    for layer in network:
        for module in layer:
            module.to("cpu")
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    ring = Offload.attach(network, device)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):  # the processor runs far ahead
        found = run(network, x)
    assert torch.equal(found, expected)
    assert ring.layers[0].host.is_pinned()
    assert torch.cuda.max_memory_allocated() - before < 2.5 * ring.layers[1].host.numel()
