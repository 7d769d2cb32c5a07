"""FlashVSR's sparse attention where FlexAttention cannot be compiled, and in clips of many sizes."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import flex_attention
from torch.utils.flop_counter import FlopCounterMode

from vrx.networks import fusion
from vrx.networks.flashvsr import attention as sparse


def case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two heads, 10 query and 12 key windows; one query window keeps nothing."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, n * sparse.TOKENS, 16, generator=generator) for n in (10, 12, 12))
    keep = torch.rand(2, 10, 12, generator=generator) < 0.4
    keep[1, 3] = False
    return q, k, v, keep


@torch.inference_mode()
def test_attention_under_a_mask_gives_what_gathered_windows_give() -> None:
    expected = sparse.attend_gathered(*case())
    found = sparse.attend_masked(*case())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not found[0, 1, 3 * sparse.TOKENS : 4 * sparse.TOKENS].any()


@torch.inference_mode()
def test_a_gpu_on_which_nothing_compiles_takes_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    fusion.take_failures()
    asked = []

    def broken(*_: Tensor, lists: bool) -> Tensor:
        asked.append(lists)
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable")

    monkeypatch.setattr(sparse, "attend_flex", broken)
    attend = sparse.Sparse()
    expected = sparse.attend_gathered(*case())
    for _ in range(2):
        torch.testing.assert_close(attend(*case()), expected, atol=1e-5, rtol=1e-5)
    assert asked == [False, True]
    assert attend.fails
    why = "RuntimeError: Failed to find C compiler. Please specify via CC environment variable"
    assert fusion.take_failures() == [
        ("not-compiled", f"sparse attention runs with all its lists: {why}"),
        ("not-compiled", f"sparse attention runs as masked attention, which is slower: {why}"),
    ]


@torch.inference_mode()
@pytest.mark.parametrize("lists", [False, True])
def test_attention_by_blocks_needs_no_lists_of_query_windows(lists: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []

    def dense(q: Tensor, k: Tensor, v: Tensor, block_mask: Any) -> Tensor:
        masks.append(block_mask)
        mask = block_mask.to_dense().bool().repeat_interleave(sparse.TOKENS, 2).repeat_interleave(sparse.TOKENS, 3)
        seen = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return seen.nan_to_num()

    monkeypatch.setattr(sparse, "flex", lambda _: dense)
    torch.testing.assert_close(
        sparse.attend_flex(*case(), lists=lists), sparse.attend_gathered(*case()), atol=1e-5, rtol=1e-5
    )
    known = "compute_q_blocks" in sparse.block_mask_maker().keywords  # type: ignore[attr-defined]
    assert (masks[0].q_indices is None) is (known and not lists)


def test_running_out_of_memory_is_no_failure_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Tensor, lists: bool) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sparse, "attend_flex", full)
    attend = sparse.Sparse()
    with pytest.raises(torch.OutOfMemoryError):
        attend(*case())
    assert attend._lists == [False, True]


@torch.inference_mode()
def test_nothing_compiled_runs_while_operations_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGpu(torch.Tensor):
        is_cuda = True

    called = []
    monkeypatch.setattr(sparse, "on_gpu", lambda *_: called.append("compiled"))
    monkeypatch.setattr(sparse, "attend_gathered", lambda *_: called.append("gathered"))
    query = torch.rand(1, 1, sparse.TOKENS, 16).as_subclass(OnGpu)
    sparse.attend(query, query, query, query)
    with FlopCounterMode(display=False):
        sparse.attend(query, query, query, query)
    assert called == ["compiled", "gathered"]


@torch.inference_mode()
def test_every_size_of_a_process_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(module: torch.fx.GraphModule, _: object) -> Any:
        graphs.append(1)
        return module.forward

    def stand_in(q: Tensor, k: Tensor, v: Tensor, block_mask: object, enable_gqa: bool) -> Tensor:
        return q + k + v

    compiler = torch.compile
    monkeypatch.setattr(flex_attention, "flex_attention", stand_in)
    monkeypatch.setattr(
        torch, "compile", lambda function, dynamic: compiler(function, dynamic=dynamic, backend=backend)
    )
    torch._dynamo.reset()
    kernel = sparse.flex.__wrapped__(True)
    for length in range(2, 14):  # torch stops compiling after 8
        x = torch.rand(1, 1, length, 4)
        assert torch.equal(kernel(x, x, x, block_mask=None), x * 3)
    assert len(graphs) == 12
