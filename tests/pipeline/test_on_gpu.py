"""What vrx does on a GPU only, switched on and off there: the same to the bit.  Skipped where there is none."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from vrx.bench.gpu.driver import Outcome, through_threads
from vrx.bench.gpu.restorers import embedded
from vrx.models.embedded.upscale import Generate
from vrx.networks.dense_attention import attend
from vrx.networks.fusion import take_failures
from vrx.pipeline.gpu import prepare

pytestmark = pytest.mark.cuda


def restored(task: str, dtype: torch.dtype) -> tuple[Outcome, int]:
    """A clip, and how many graphs were recorded for it."""
    device = torch.device("cuda")
    restorer = embedded(task, 4 if task == "upscale" else 1, device, dtype)
    found = through_threads(restorer, device, 40, (64, 96), task == "inpaint")
    generate = restorer.stages["generate"]
    forward = generate._steps._forward if isinstance(generate, Generate) else None
    return found, 0 if forward is None else len(forward._recorded)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_replayed_steps_and_flow_beside_them_change_nothing(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_failures()
    found = []
    for way in ("off", "on"):
        monkeypatch.setenv("VRX_GRAPHS", way)
        monkeypatch.setenv("VRX_FLOW", way)
        found.append(restored("upscale", dtype))
    assert take_failures() == []
    assert [graphs for _, graphs in found] == [0, 1]
    assert found[0][0].worst_difference(found[1][0]) == 0


@pytest.mark.parametrize("task", ["upscale", "deblur", "inpaint"])
def test_streams_of_stages_change_nothing(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for way in ("off", "on", "on", "on"):
        monkeypatch.setenv("VRX_STREAMS", way)
        found.append(restored(task, torch.float32)[0])
    assert [first.worst_difference(second) for first, second in pairwise(found)] == [0, 0, 0]


@torch.inference_mode()
def test_attention_by_the_preferred_kernel_is_right() -> None:
    prepare(torch.device("cuda"))
    take_failures()
    make: Callable[..., torch.Tensor] = torch.randn
    q, k, v = (make(1, 4, n, 128, generator=torch.Generator().manual_seed(n)) for n in (300, 700, 701))
    v = v[:, :, :700]
    found = attend(*(x.cuda().bfloat16() for x in (q, k, v)))
    assert take_failures() == []
    torch.testing.assert_close(found.float().cpu(), F.scaled_dot_product_attention(q, k, v), atol=3e-2, rtol=0)
