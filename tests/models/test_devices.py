"""Networks of full size on a device without numbers: nothing of the processor's may meet what is on it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.extras import needs_extra
from tests.models.meta_results import RESULTS, flat
from tests.networks.networks import tiny_parts
from vrx.bench.random_weights import RandomComponents
from vrx.models import flashvsr, infvsr, instavsr
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.components import Components
from vrx.models.embedded import upscale
from vrx.models.embedded.damage import DamageReader, Examination, SceneDamage
from vrx.models.embedded.deblur import Plan, Planner
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.family import BuildRequest
from vrx.models.loader import load_model
from vrx.models.registry import FAMILIES
from vrx.models.runner import SceneRunner
from vrx.networks.embedded.diagnosis import CHROMA_POINTS, POINTS
from vrx.networks.flashvsr import attention
from vrx.networks.wan.autoencoder import ChannelNorm, WanAutoencoder, WanAutoencoderConfig
from vrx.networks.wan.transformer import WanConfig, WanTransformer
from vrx.pipeline.devices import weight_format
from vrx.settings import Compile, ModelSettings, RestoreSettings, Task
from vrx.weights import catalogue

ELSEWHERE = torch.device("meta")
SOURCE, ONE_TILE = (64, 96), (32, 48)
LARGE = 100_000  # values of one tensor that may travel
PROMPT = (1, 512, 4096)  # FlashVSR's, once
CHANNELS = 16  # of its noise, which is drawn on the processor so that a seed means the same everywhere


class Border(TorchDispatchMode):
    """Notes operations whose tensors stand on two devices, and large tensors that change theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.crossings: list[str] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in flat((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim or tensor.device == ELSEWHERE}
        target = (kwargs or {}).get("device")
        leaves = target is not None and tensors and torch.device(target).type != tensors[0].device.type
        expected = leaves and (tensors[0].shape == PROMPT or CHANNELS in tensors[0].shape[1:3])
        if len(devices) > 1 or (leaves and tensors[0].numel() > LARGE and not expected):
            self.crossings.append(f"{operation} {[tuple(t.shape) for t in tensors]}")
        return RESULTS.run(operation, args, kwargs or {})


class FromHost(TorchFunctionMode):
    """Notes tensors that are made there of numbers on the host: each waits for all that the device has to do."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if function in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and found.device == ELSEWHERE:
            self.made.append(f"{tuple(found.shape)} of {args[-1]}")
        return found


@pytest.mark.parametrize(
    ("name", "wishes"),
    [
        ("infvsr", {}),
        ("infvsr", {"decoder": "tiny", "dtype": "fp8"}),
        ("instantvir-sr4", {}),
        ("instantvir-sr4-lean", {"dtype": "fp8"}),
        ("instantvir-inpaint", {}),
        ("flashvsr", {}),
        ("flashvsr", {"decoder": "full", "color_fix": "wavelet", "dtype": "fp8"}),
        ("instavsr", {}),
        ("instavsr", {"tile": "256"}),
        ("swiftvr", {"dtype": "int8"}),
        ("fastvr", {}),
        ("fastvr", {"color_fix": "wavelet", "dtype": "fp8"}),
        ("relayvsr", {"dtype": "fp8"}),
        ("recavsr", {"color_fix": "wavelet", "dtype": "fp8"}),
        ("recavsr", {"decoder": "full"}),
        pytest.param("stream-diffvsr", {}, marks=needs_extra),
        pytest.param("satb-vr", {"steps": 1, "guidance": 1.0}, marks=needs_extra),
    ],
)
def test_devices_do_not_mix(name: str, wishes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infvsr, "content_change", lambda *_: 0.0)  # asks for a number
    monkeypatch.setattr(instavsr, "to_luma", lambda x: torch.zeros(len(x), *x.shape[-2:], dtype=torch.uint8))
    monkeypatch.setattr(attention, "attend_gathered", lambda q, k, v, keep: q + k[..., :1, :] * v[..., :1, :])
    entry = catalogue.load_file(catalogue.packaged_path(), FAMILIES)[name]
    task = Task(entry.tasks[0])
    mask = Path("none") if task is Task.INPAINT else None
    restore = RestoreSettings(task=task, scale=4 if task is Task.UPSCALE else 1, mask=mask)
    components = RandomComponents.of(entry, FAMILIES[entry.family], ELSEWHERE, torch.bfloat16)
    model, context = ModelSettings(name=name, **wishes), torch.randn(1, 8, 1024 if name == "stream-diffvsr" else 4096)
    with torch.inference_mode():
        kind = weight_format(model.dtype)
        request = BuildRequest(components, model, ELSEWHERE, torch.bfloat16, context, quantized=kind)
        restorer = load_model(entry, request).restorer(restore)
        source = ONE_TILE if name in ("satb-vr", "relayvsr", "recavsr", "swiftvr", "fastvr") else SOURCE
        target = (source[0] * restorer.scale, source[1] * restorer.scale)
        runner = SceneRunner(restorer)
        with Border() as border:
            runner.start(SceneStart(0, source, target))
            for number in range(2):
                count, ahead = restorer.schedule.size(number), restorer.schedule.ahead
                frames = torch.empty(count + ahead, 3, *source, device=ELSEWHERE)
                marks = torch.empty(count, 1, *source, device=ELSEWHERE) if mask else None
                begins = frozenset({0} if number == 0 else ())
                with FromHost() as host:
                    chunk = runner.step(DeviceChunk(frames[:count], marks, begins, frames[count:] if ahead else None))
                assert chunk.frames.device == ELSEWHERE
                assert chunk.frames.shape == (count, 3, *target)
    assert border.crossings == []
    assert host.made == []  # in the second chunk: constants are there by then


def test_enlarging_elsewhere_is_nearly_the_processors() -> None:
    levels = torch.randint(0, 256, (2, 3, 30, 44), generator=torch.Generator().manual_seed(0))
    for scale in (2, 3, 4):
        size = (30 * scale, 44 * scale)
        expected = F.interpolate(levels.to(torch.uint8), size, mode="bicubic", antialias=True).float()
        difference = (flashvsr.resize_in_two_passes(levels.float(), size) - expected).abs()
        assert difference.max() <= 2
        assert (difference > 0).float().mean() < 0.002


@pytest.mark.parametrize(("task", "scale"), [("upscale", 4), ("upscale", 2), ("deblur", 1)])
def test_the_embedded_network_does_not_mix_them_either(task: str, scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscale, "to_luma", lambda x: torch.zeros(len(x), *x.shape[-2:], dtype=torch.uint8))
    numbers = torch.cat(
        [
            torch.tensor([0.2, 0.5, 0.2, 0.1]),
            torch.full((POINTS + CHROMA_POINTS,), -2.0),
            torch.tensor([2.0, 0.3, 0.7, 0.5]),
        ]
    )
    plan = Plan.from_tensor(numbers.double())  # a diagnosis is numbers, which a device without data does not have
    monkeypatch.setattr(Planner, "plan", lambda *_: (plan, ()))
    examined = Examination(SceneDamage(), torch.zeros(0))
    monkeypatch.setattr(DamageReader, "read", lambda *_: examined)
    monkeypatch.setattr(upscale, "hide_bars", lambda frames: (frames, [()] * len(frames)))
    monkeypatch.setattr(upscale, "keep_gray", lambda *_: None)
    monkeypatch.setattr(upscale, "keep_agreeing", lambda frames, source, scale, tolerance, state: ((), state))
    options = EmbeddedOptions(task=task, scale=scale, sigma=2.0, strength=0.0)
    with torch.inference_mode():
        restorer = EmbeddedRestorer(options, tiny_parts(), ELSEWHERE, torch.bfloat16)
        runner, target = SceneRunner(restorer), (SOURCE[0] * scale, SOURCE[1] * scale)
        with Border() as border:
            runner.start(SceneStart(0, SOURCE, target))
            for number in range(2):
                frames = torch.empty(3, 3, *SOURCE, device=ELSEWHERE)
                chunk = runner.step(DeviceChunk(frames, None, frozenset(() if number else {0})))
                assert chunk.frames.device == ELSEWHERE
                assert chunk.frames.shape == (3, 3, *target)
    assert border.crossings == []


@pytest.mark.parametrize(
    ("device", "wish", "fused"),
    [("cuda", "auto", True), ("cuda", "off", False), ("cpu", "auto", False), ("cpu", "on", True)],
)
def test_an_autoencoder_is_fused_on_a_gpu_unless_it_is_said(
    device: str, wish: Compile, fused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(WanAutoencoder, "to", lambda network, *_: network)  # no GPU is needed
    request = BuildRequest(Components(), ModelSettings(compile=wish), torch.device(device), torch.float32)
    placed = request.place(WanAutoencoder(WanAutoencoderConfig(dim=8)))
    norms = [module for module in placed.modules() if isinstance(module, ChannelNorm)]
    assert {norm.fused for norm in norms} == {fused}


@pytest.mark.parametrize(
    ("device", "wish", "frames", "compiled"),
    [
        ("cuda", "auto", 4999, False),
        ("cuda", "auto", 5000, True),
        ("cuda", "auto", None, False),
        ("cuda", "on", 1, True),
        ("cuda", "off", 10_000, False),
        ("cpu", "auto", 10_000, False),
        ("cpu", "on", 1, True),
    ],
)
def test_layers_are_compiled_where_the_video_is_long_enough(
    device: str, wish: Compile, frames: int | None, compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    for mover in ("to", "cast_weights"):  # no GPU is needed
        monkeypatch.setattr(WanTransformer, mover, lambda network, *_: network)
    settings = ModelSettings(compile=wish)
    request = BuildRequest(Components(), settings, torch.device(device), torch.float32, frames=frames)
    config = WanConfig(dim=48, ffn_dim=64, num_layers=2, num_heads=2, freq_dim=32, text_dim=24)
    placed = request.place(WanTransformer(config))
    assert [block.compiled for block in placed.blocks] == [compiled] * 2
