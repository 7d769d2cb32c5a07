import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend

from vrx.networks import dense_attention
from vrx.networks.dense_attention import BACKENDS, Watched, attend, prefer
from vrx.networks.fusion import take_failures

CUDNN, FLASH, MATH = (BACKENDS[name].value for name in ("cudnn", "flash", "math"))


@pytest.fixture
def untouched() -> Iterator[None]:
    """What a test changes of torch's kernels is undone."""
    order, cudnn = torch._C._get_sdp_priority_order(), torch.backends.cuda.cudnn_sdp_enabled()
    take_failures()
    yield
    torch._C._set_sdp_priority_order(order)
    torch.backends.cuda.enable_cudnn_sdp(cudnn)


def states(queries: int, keys: int, heads: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(queries)
    q, k, v = (torch.randn(1, heads, n, 8, generator=generator) for n in (queries, keys, keys))
    return q, k, v


class Kernels:
    """Stands in for torch's: which one is chosen, and what fails."""

    def __init__(self, kernel: int, *errors: Exception) -> None:
        self.kernel, self.errors, self.rows = kernel, list(errors), list[int]()

    def choose(self, *_: object, **__: object) -> int:
        return self.kernel

    def compute(self, q: Tensor, *arguments: Any, **options: Any) -> Tensor:
        self.rows.append(q.shape[2])
        if self.errors:
            raise self.errors.pop(0)
        return F.scaled_dot_product_attention(q, *arguments, **options)


def watched(kernels: Kernels) -> Watched:
    return Watched(kernels.choose, kernels.compute)


@pytest.mark.usefixtures("untouched")
def test_the_order_of_kernels_is_set_for_the_whole_process_and_stays() -> None:
    wanted = [BACKENDS["cudnn"], BACKENDS["efficient"], BACKENDS["flash"], BACKENDS["math"]]
    assert prefer(wanted)
    assert torch._C._get_sdp_priority_order()[:4] == [kernel.value for kernel in wanted]


def test_a_version_that_knows_no_order_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def old(backends: list[SDPBackend]) -> None:
        raise AssertionError(backends)

    monkeypatch.setattr(dense_attention, "sdpa_kernel", old)
    assert not prefer([BACKENDS["cudnn"]])


@pytest.mark.usefixtures("untouched")
def test_where_cudnn_fails_the_next_kernel_is_taken_and_that_is_said() -> None:
    q, k, v = states(5, 7)
    kernels = Kernels(CUDNN, RuntimeError("No valid execution plans built."))
    found = watched(kernels)(q, k, v, None, False)
    assert torch.equal(found, F.scaled_dot_product_attention(q, k, v))
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    (said,) = take_failures()
    assert said == ("attention-fallback", "attention runs without cuDNN: RuntimeError: No valid execution plans built.")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("kernel", "error"), [(CUDNN, torch.OutOfMemoryError("CUDA out of memory")), (FLASH, RuntimeError("illegal"))]
)
def test_what_another_kernel_does_not_help_is_raised(kernel: int, error: RuntimeError) -> None:
    kernels = Kernels(kernel, error)
    with pytest.raises(type(error), match=str(error)):
        watched(kernels)(*states(5, 7), None, False)
    assert (kernels.rows, take_failures()) == ([5], [])
    assert torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.usefixtures("untouched")
def test_a_fault_that_is_not_cudnns_is_raised_by_the_next_kernel() -> None:
    kernels = Kernels(CUDNN, RuntimeError("first"), RuntimeError("again"))
    with pytest.raises(RuntimeError, match="again"):
        watched(kernels)(*states(5, 7), None, False)
    assert take_failures() == []
    assert torch.backends.cuda.cudnn_sdp_enabled()  # what was given up would have to be said


@pytest.mark.usefixtures("untouched")
def test_kernels_are_remembered_by_shape_until_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_attention, "MOST_KNOWN", 2)
    kernels, asked = Kernels(FLASH), list[int]()

    def choose(q: Tensor, *_: object, **__: object) -> int:
        asked.append(q.shape[2])
        attention._kernels.clear()  # as another stage's thread may do at any time
        return FLASH

    attention = Watched(choose, kernels.compute)
    for queries in (5, 5, 6):
        attention(*states(queries, 7), None, False)
    assert asked == [5, 6]
    attention = Watched(kernels.choose, kernels.compute)
    for queries in range(1, 6):
        attention(*states(queries, 7), None, False)
        assert len(attention._kernels) <= 2


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("masked", ["no", "rows", "all alike"])
def test_plain_mathematics_goes_in_parts_and_is_said_once(masked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_attention, "MOST_SCORES", 2 * 7 * 2)
    q, k, v = states(5, 7)
    shape = {"no": None, "rows": (5, 7), "all alike": (1, 1, 1, 7)}[masked]
    mask = None if shape is None else (torch.arange(7) < torch.arange(3, 3 + (shape[-2]))[:, None]).view(shape)
    kernels = Kernels(MATH)
    attention = watched(kernels)
    for _ in range(2):
        found = attention(q, k, v, mask, False)
        assert torch.allclose(found, F.scaled_dot_product_attention(q, k, v, mask), atol=1e-6)
    assert kernels.rows == [2, 2, 1] * 2
    (said,) = take_failures()
    assert said.code == "attention-fallback"
    assert said.text == "attention is slow here: RuntimeError: no fused kernel takes 2 heads of 8 in float32"


@pytest.mark.usefixtures("untouched")
def test_plain_mathematics_holds_64_million_scores_at_once() -> None:
    kernels, keys = Kernels(MATH), 1 << 20
    q, k = torch.zeros(1, 2, 100, 8), torch.zeros(1, 1, 1, 1).expand(1, 2, keys, 8)

    def compute(q: Tensor, *_: object, **__: object) -> Tensor:
        kernels.rows.append(q.shape[2])
        return q

    assert Watched(kernels.choose, compute)(q, k, k, None, False).shape == q.shape
    assert kernels.rows == [32, 32, 32, 4]


@pytest.mark.usefixtures("untouched")
def test_small_calls_by_plain_mathematics_are_not_said() -> None:
    kernels = Kernels(MATH)
    watched(kernels)(*states(5, 7), None, False)
    assert (kernels.rows, take_failures()) == ([5], [])


def test_a_processor_computes_what_torch_does() -> None:
    q, k, v = states(5, 7, heads=4)
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(1)) > 0.3
    assert torch.equal(attend(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, mask))
    grouped = attend(q, k[:, :2], v[:, :2], grouped=True)
    assert torch.equal(grouped, F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True))


def test_attention_is_compiled_as_part_of_a_layer() -> None:
    q, k, v = states(5, 7)
    with warnings.catch_warnings(action="ignore"):
        compiled = torch.compile(lambda q, k, v: attend(q, k, v) + 1, backend="eager", fullgraph=True)
        assert torch.equal(compiled(q, k, v), F.scaled_dot_product_attention(q, k, v) + 1)
