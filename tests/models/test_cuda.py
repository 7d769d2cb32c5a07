"""The same on a GPU; skipped where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.models import small
from tests.models.test_large import DOWNLOADER, MAKERS, clip, run
from vrx.models.family import BuildRequest
from vrx.models.loader import entry_from_path, find_components, load_model
from vrx.networks.flashvsr import attention as sparse
from vrx.networks.wan import transformer
from vrx.networks.wan.transformer import WanConfig, WanTransformer
from vrx.settings import ModelSettings, RestoreSettings, Task

pytestmark = pytest.mark.cuda


@torch.inference_mode()
def test_flex_attention_gives_what_gathered_windows_give() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 3, n * sparse.TOKENS, 64, generator=generator) for n in (4, 12, 12))
    local = sparse.local_range(2, 2, 3, q.device)
    keep = sparse.select(q, k, local, 0.9)
    keep[1, 2] = False  # a query window that keeps nothing
    expected = sparse.attend_gathered(q, k, v, keep)
    found = sparse.attend(q.cuda(), k.cuda(), v.cuda(), keep.cuda())
    torch.testing.assert_close(found.cpu(), expected, atol=2e-3, rtol=2e-3)
    assert not found[0, 1, 2 * sparse.TOKENS : 3 * sparse.TOKENS].any()


@pytest.mark.parametrize("name", ["infvsr", "instantvir", "lean"])
def test_a_system_gives_what_it_gives_on_the_processor(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    maker: Callable[[Path], Path] = MAKERS[name][0]
    task = MAKERS[name][1]
    entry, model = entry_from_path(maker(tmp_path / "m")), ModelSettings()
    restore = RestoreSettings(task=task, scale=4 if task is Task.UPSCALE else 1)
    results = []
    for device in ("cpu", "cuda"):
        request = BuildRequest(
            find_components(entry, model, {}, DOWNLOADER), model, torch.device(device), torch.float32
        )
        frames = clip(13).to(device)
        results.append(run(load_model(entry, request).restorer(restore), frames).cpu())
    torch.testing.assert_close(results[0], results[1], atol=5e-3, rtol=0)


def test_flashvsr_runs(tmp_path: Path) -> None:
    entry, model = entry_from_path(small.flashvsr(tmp_path / "m")), ModelSettings()
    restore = RestoreSettings(task=Task.UPSCALE, scale=4)
    request = BuildRequest(find_components(entry, model, {}, DOWNLOADER), model, torch.device("cuda"), torch.bfloat16)
    out = run(load_model(entry, request).restorer(restore), clip(30).cuda())
    assert out.shape[0] == 30
    assert torch.isfinite(out).all()


@torch.inference_mode()
def test_compiled_blocks_give_what_they_gave() -> None:
    torch.manual_seed(0)
    config = WanConfig(dim=128, ffn_dim=256, num_layers=2, num_heads=1, freq_dim=32, text_dim=24)
    network = WanTransformer(config).eval()
    network.place(torch.device("cuda"), torch.bfloat16)
    conditions = network.conditions(399.0, torch.randn(1, 8, 24, device="cuda"), pad=False)
    latents = [torch.randn(1, 16, frames, 8, 8, device="cuda") for frames in (3, 3, 2)]
    results = []
    for _ in range(2):
        cache = network.allocate(8, 8, 3, 3)
        results.append([network.step(latent, conditions, cache) for latent in latents])
        network.compile_layers()
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, plain, atol=0.02, rtol=0.02)
    assert not transformer.BEFORE._fails
    assert not transformer.AFTER._fails
