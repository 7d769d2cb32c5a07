"""SwiftVR at a small size: every length, tiles, sizes, weights in 8 bits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from tests.models import small
from tests.models.test_large import DOWNLOADER, chunks, run
from vrx.errors import ModelError
from vrx.models.autoencoders import StreamingPass
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.family import BuildRequest
from vrx.models.light_wan import Encode, schedule
from vrx.models.loader import entry_from_path, find_components, load_model, read_folder
from vrx.models.runner import SceneRunner
from vrx.models.swiftvr import Decode, Generate, SwiftVrModel, SwiftVrRestorer, enlarge
from vrx.models.tiling import Tiling
from vrx.networks.causal_conv import ConvCache
from vrx.networks.quantized import WeightFormat
from vrx.networks.swiftvr.autoencoder import SPATIAL, Reae, ReaeConfig
from vrx.networks.swiftvr.transformer import SwiftTransformer
from vrx.networks.wan.transformer import WanTransformer
from vrx.settings import ModelSettings, RestoreSettings, Task

CPU = torch.device("cpu")
LATENTS = 2  # of a chunk; the first one has another


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.swiftvr(tmp_path_factory.mktemp("models") / "swiftvr")


def load(folder: Path, scale: int = 1, **change: Any) -> SwiftVrRestorer:
    entry, model = entry_from_path(folder), ModelSettings()
    request = BuildRequest(find_components(entry, model, {}, DOWNLOADER), model, CPU, torch.float32, **change)
    loaded = load_model(entry, request)
    assert isinstance(loaded, SwiftVrModel)
    return loaded.restorer(RestoreSettings(task=Task.UPSCALE, scale=scale))


class Short:
    """SwiftVR in chunks of LATENTS latents, as the networks of a folder restore them."""

    def __init__(self, folder: Path, tile: str = "off") -> None:
        components, tiling = read_folder(folder), Tiling(tile)
        self.net = components.load("reae", Reae)
        self.generator = SwiftTransformer(components.load("transformer", WanTransformer), window=2)
        rows = components.tensors("prompt_embedding")["prompt_emb"].float()
        self.conditions = self.generator.conditions(rows)
        self.scale, self.schedule = 1, schedule(LATENTS, LATENTS + 1)
        self.stages = {
            "encode": Encode(StreamingPass(self.net.encode_step, tiling, (SPATIAL, 1)), enlarge, CPU),
            "generate": Generate(self.generator, self.conditions, tiling, LATENTS + 1),
            "decode": Decode(StreamingPass(self.net.decode_step, tiling, (1, SPATIAL)), CPU),
        }

    def whole(self, x: Tensor) -> Tensor:
        """A scene [T, 3, H, W] by the release's plan, all frames at once in the autoencoder: no stream."""
        count, (height, width) = len(x), x.shape[-2:]
        x = F.pad(x, (0, -width % 32, 0, -height % 32), mode="replicate")
        extended = torch.cat([x, x[-1:].expand(-(count - 1) % 4 + 3, -1, -1, -1)])
        latents = self.net.encode_step(extended[None], ConvCache())[0].transpose(1, 2)
        total, full, begin, restored = latents.shape[2], LATENTS + 1, 0, []
        while begin < total:
            size = full if begin == 0 else LATENTS
            end = min(begin + size, total)
            part = latents[:, :, begin:end]
            filling = full - (end - begin) if end == total else 0
            zeros = torch.zeros_like(latents[:, :, :1]).expand(-1, -1, full, -1, -1)
            before = torch.cat([zeros, latents[:, :, :begin]], 2)[:, :, full + begin - filling :]
            restored.append(self.generator.restore(part, before, self.conditions))
            begin = end
        frames = self.net.decode_step(torch.cat(restored, 2).transpose(1, 2), ConvCache())[0][0]
        return frames[:count, :, :height, :width]


def clip(frames: int) -> Tensor:
    still = torch.rand(1, 3, 20, 36, generator=torch.Generator().manual_seed(3))
    return torch.cat([torch.roll(still, 2 * t, -1) for t in range(frames)])


@torch.inference_mode()
def test_a_stream_of_any_length_is_the_whole_scene(folder: Path) -> None:
    system = Short(folder)
    for length in range(1, 29):  # to three chunks and a bit
        x = clip(length)
        found = run(system, x)  # type: ignore[arg-type]
        assert found.shape == x.shape
        torch.testing.assert_close(found, system.whole(x), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_it_goes_on_from_a_saved_state_alike(folder: Path) -> None:
    system, x = Short(folder), clip(27)
    whole = run(system, x)  # type: ignore[arg-type]
    for chunk in (1, 2, 3):
        assert torch.equal(run(system, x, reload_at=chunk), whole)  # type: ignore[arg-type]


@torch.inference_mode()
def test_the_published_chunks_are_of_25_and_24_frames(folder: Path) -> None:
    system = load(folder)
    assert [system.schedule.size(index) for index in range(3)] == [25, 24, 24]
    assert system.schedule.ahead == 3
    assert len(run(system, clip(30))) == 30


@torch.inference_mode()
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_every_scale_has_its_size_and_no_black_at_its_edges(folder: Path, scale: int) -> None:
    x = torch.full((5, 3, 20, 36), 0.8)
    found = run(load(folder, scale), x)
    assert found.shape == (5, 3, 20 * scale, 36 * scale)
    encode = load(folder, scale).stages["encode"]
    chunk = DeviceChunk(x, ahead=x[:3], last=True)
    encoded, _ = encode.step(chunk, encode.start(SceneStart(0, (20, 36), (20 * scale, 36 * scale))))
    assert all(side % 32 == 0 for side in encoded.enlarged.shape[-2:])
    torch.testing.assert_close(encoded.enlarged, torch.full_like(encoded.enlarged, 0.8))


@torch.inference_mode()
def test_tiles_cover_the_picture_and_change_only_what_is_near_their_seams(folder: Path) -> None:
    x = torch.rand(6, 3, 64, 416, generator=torch.Generator().manual_seed(1))
    whole = Short(folder).whole(x)
    scene_run = [run_scene(Short(folder, tile), x) for tile in ("off", "256")]
    torch.testing.assert_close(scene_run[0], whole, atol=1e-5, rtol=0)
    assert scene_run[1].shape == whole.shape
    assert torch.isfinite(scene_run[1]).all()
    assert not torch.equal(scene_run[1], whole)
    assert float((scene_run[1] - whole).abs().mean()) < 0.1 * float(whole.std())


def run_scene(system: Short, x: Tensor) -> Tensor:
    runner = SceneRunner(system)  # type: ignore[arg-type]
    runner.start(SceneStart(0, x.shape[-2:], x.shape[-2:]))  # type: ignore[arg-type]
    return torch.cat([runner.step(chunk).frames[:count] for chunk, count in chunks(x, system.schedule)])


@pytest.mark.parametrize(("kind", "limit"), [("int8", 0.005), ("fp8", 0.025)])
@torch.inference_mode()
def test_weights_in_8_bits_give_nearly_the_same(folder: Path, kind: WeightFormat, limit: float) -> None:
    x = clip(12)
    exact, rounded, waiting = (
        run(load(folder, **way), x) for way in ({}, {"quantized": kind}, {"quantized": kind, "offload": True})
    )
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).square().mean().sqrt()) < limit * float(exact.std())
    assert torch.equal(rounded, waiting)
    assert torch.equal(run(load(folder, offload=True), x), exact)


def test_the_layers_at_pixels_stay_in_float32() -> None:
    net = Reae(ReaeConfig(encoder_width=6, decoder_widths=(12, 8, 8, 6))).eval()
    weights = small.random_weights(net)
    weights["decoder.22.bias"] += 0.6
    net.load_state_dict(weights)
    net.place(CPU, torch.bfloat16)
    types = {name: p.dtype for name, p in net.named_parameters()}
    assert {name for name, kind in types.items() if kind is torch.float32} == {
        *(f"{part}.{kind}" for part in ("encoder.0", "decoder.22") for kind in ("weight", "bias"))
    }
    with torch.inference_mode():
        latents, _ = net.encode_step(torch.rand(1, 4, 3, 32, 32), ConvCache())
        frames, _ = net.decode_step(latents, ConvCache())
    assert latents.dtype is torch.bfloat16
    assert frames.dtype is torch.float32
    assert float((frames != frames.bfloat16().float()).float().mean()) > 0.5  # values that bfloat16 does not have


def test_a_prompt_file_without_its_rows_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = small.swiftvr(tmp_path / "swiftvr")
    save_file({"other": torch.ones(1)}, copy / "prompt_embedding.safetensors")
    with pytest.raises(ModelError, match="lacks"):
        load(copy)
