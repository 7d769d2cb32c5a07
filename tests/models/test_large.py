"""The large systems at small sizes: streamed, saved and gone on with, in tiles, on frames of any count."""

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models import small
from vrx.errors import ModelError
from vrx.models import autoencoders, infvsr, prompts, tiling
from vrx.models.base import ChunkSchedule, DeviceChunk, Restorer, SceneStart
from vrx.models.family import BuildRequest
from vrx.models.loader import entry_from_path, find_components, load_model, read_folder
from vrx.models.registry import FAMILIES
from vrx.models.runner import SceneRunner, restore_scene
from vrx.networks.causal_conv import ConvCache
from vrx.networks.published import PublishedNetwork
from vrx.networks.wan.autoencoder import WanAutoencoder, WanAutoencoderConfig
from vrx.networks.wan.transformer import WanTransformer
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights.download import Downloader

CPU = torch.device("cpu")
DOWNLOADER = Downloader(models=Path("none"), offline=True, notify=print)
SOURCE = (20, 36)
MAKERS: dict[str, tuple[Callable[[Path], Path], Task]] = {
    "infvsr": (small.infvsr, Task.UPSCALE),
    "instantvir": (small.instantvir, Task.UPSCALE),
    "lean": (lambda folder: small.instantvir(folder, lean=True), Task.DEBLUR),
    "flashvsr": (small.flashvsr, Task.UPSCALE),
    "swiftvr": (small.swiftvr, Task.UPSCALE),
    "fastvr": (small.fastvr, Task.UPSCALE),
}
THREE_CHUNKS = {"flashvsr": 30, "swiftvr": 52, "fastvr": 34}  # frames; 22 in others


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: make(root / name) for name, (make, _) in MAKERS.items()}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    return tmp_path


def restorer(path: Path, task: Task, **wishes: Any) -> Restorer:
    entry = entry_from_path(path)
    model = ModelSettings(name=str(path), **wishes)
    restore = RestoreSettings(task=task, scale=4 if task is Task.UPSCALE else 1, mask=Path("m"))
    request = BuildRequest(find_components(entry, model, {}, DOWNLOADER), model, CPU, torch.float32)
    return load_model(entry, request).restorer(restore, model.prompt)


def clip(frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    still = torch.rand(1, 3, *SOURCE, generator=generator)
    return torch.cat([torch.roll(still, 2 * t, -1) for t in range(frames)])


@torch.inference_mode()
def test_the_order_in_memory_changes_no_number(folders: dict[str, Path]) -> None:
    model = ModelSettings()
    components = find_components(entry_from_path(folders["infvsr"]), model, {}, DOWNLOADER)
    plain = components.load("autoencoder", WanAutoencoder)
    placed = BuildRequest(components, model, CPU, torch.float32).load("autoencoder", WanAutoencoder)
    kernel = placed.decoder.conv1.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d)
    assert not kernel.is_contiguous()
    caches = [ConvCache(), ConvCache()]
    for latents in (1, 2, 1):
        latent = torch.randn(1, 16, latents, 6, 5, generator=torch.Generator().manual_seed(latents))
        found = []
        for place, network in enumerate((plain, placed)):
            frames, caches[place] = network.decode_step(latent, caches[place])
            found.append(frames)
        torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-4)


def test_weights_begin_where_matrices_may_whatever_the_file(folders: dict[str, Path]) -> None:
    model = ModelSettings()
    components = find_components(entry_from_path(folders["infvsr"]), model, {}, DOWNLOADER)
    networks: tuple[PublishedNetwork, ...] = (
        components.load("transformer", WanTransformer),
        components.load("autoencoder", WanAutoencoder),
        infvsr.load_guidance(components),
    )
    for network in networks:
        before = [parameter.clone() for parameter in network.parameters()]
        for parameter in network.parameters():  # as a file with a header of any length maps them
            store = torch.empty(parameter.numel() + 32)
            begin = next(i for i in range(17) if (store.data_ptr() + 4 * i) % 64 == 4)
            parameter.data = store[begin : begin + parameter.numel()].view(parameter.shape).copy_(parameter.data)
        placed = BuildRequest(components, model, CPU, torch.float32).place(network)
        for parameter, old in zip(placed.parameters(), before, strict=True):
            assert parameter.data_ptr() % 64 == 0
            assert torch.equal(parameter, old)


def chunks(x: Tensor, schedule: ChunkSchedule) -> Iterator[tuple[DeviceChunk, int]]:
    """As the pipeline cuts and pads them, with the frames that are meant."""
    start = number = 0
    while start < len(x):
        part = x[start : start + schedule.size(number)]
        padding = schedule.padding(len(part), number == 0)
        after = torch.cat([x[start + len(part) :], x[-1:].expand(schedule.ahead, -1, -1, -1)])[: schedule.ahead]
        whole = torch.cat([part, part[-1:].expand(padding, -1, -1, -1)])
        refresh = frozenset({0} if number == 0 else ())
        last = schedule.ahead > 0 and start + len(part) == len(x)
        yield DeviceChunk(whole, None, refresh, after if schedule.ahead else None, last=last), len(part)
        start, number = start + len(part), number + 1


@torch.inference_mode()
def run(system: Restorer, x: Tensor, reload_at: int = -1) -> Tensor:
    """All frames of one scene; at chunk `reload_at` every state is saved and loaded first."""
    scene = SceneStart(0, SOURCE, (SOURCE[0] * system.scale, SOURCE[1] * system.scale))
    runner, results = SceneRunner(system), []
    runner.start(scene)
    for number, (chunk, count) in enumerate(chunks(x, system.schedule)):
        if number == reload_at:
            runner.load(scene, runner.save())
        results.append(runner.step(chunk).frames[:count])
    return torch.cat(results)


@pytest.mark.parametrize("name", MAKERS)
def test_a_saved_stream_goes_on_alike_and_is_the_same_every_time(name: str, folders: dict[str, Path]) -> None:
    task = MAKERS[name][1]
    x = clip(THREE_CHUNKS.get(name, 22))
    whole = run(restorer(folders[name], task), x)
    assert whole.shape == (len(x), 3, SOURCE[0] * (4 if task is Task.UPSCALE else 1), whole.shape[-1])
    assert torch.isfinite(whole).all()
    assert float(whole.std()) > 0.01
    assert torch.equal(run(restorer(folders[name], task), x), whole)
    assert torch.equal(run(restorer(folders[name], task), x, reload_at=1), whole)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("frames", [1, 2, 9, 10, 13, 22])
def test_frames_out_are_frames_in(name: str, frames: int, folders: dict[str, Path]) -> None:
    assert len(run(restorer(folders[name], MAKERS[name][1]), clip(frames))) == frames


@pytest.mark.parametrize("name", ["infvsr", "instantvir", "flashvsr"])
def test_what_comes_later_changes_nothing_before(name: str, folders: dict[str, Path]) -> None:
    system = restorer(folders[name], Task.UPSCALE)
    first = system.schedule.first
    x = clip(30)
    changed = x.clone()
    changed[first + system.schedule.ahead :] = 0
    before, after = run(system, x), run(system, changed)
    assert torch.equal(before[:first], after[:first])
    assert not torch.equal(before[-1], after[-1])


def test_known_pixels_stay(folders: dict[str, Path]) -> None:
    system = restorer(folders["instantvir"], Task.INPAINT)
    x = clip(9)
    mask = torch.zeros(9, 1, *SOURCE)
    mask[..., 4:12, 8:20] = 1
    with torch.inference_mode():
        (pixels,) = restore_scene(system, [DeviceChunk(x, mask, frozenset({0}))])
    hole = mask.bool().expand_as(x)
    assert torch.equal(pixels.frames[~hole], x[~hole])
    assert not torch.allclose(pixels.frames[hole], x[hole])


def test_a_prompt_is_encoded_once(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(restorer(folders["instantvir"], Task.DEBLUR, prompt="a cat"), clip(3))
    other = run(restorer(folders["instantvir"], Task.DEBLUR, prompt="a tree"), clip(3))
    assert not torch.equal(first, other)

    def never(*_: object) -> None:
        raise AssertionError("the encoder was loaded again")

    monkeypatch.setattr(prompts, "run_encoder", never)
    assert torch.equal(run(restorer(folders["instantvir"], Task.DEBLUR, prompt="a cat"), clip(3)), first)
    with pytest.raises(AssertionError, match="again"):
        restorer(folders["instantvir"], Task.DEBLUR, prompt="a cat tree")


def test_one_loaded_model_serves_tasks_and_prompts(folders: dict[str, Path]) -> None:
    entry, model = entry_from_path(folders["instantvir"]), ModelSettings(prompt="a cat")
    loaded = load_model(entry, BuildRequest(find_components(entry, model, {}, DOWNLOADER), model, CPU, torch.float32))
    deblur = RestoreSettings(task=Task.DEBLUR)
    for prompt in ("a cat", "a tree", "a cat"):
        alone = run(restorer(folders["instantvir"], Task.DEBLUR, prompt=prompt), clip(3))
        assert torch.equal(run(loaded.restorer(deblur, prompt), clip(3)), alone)
    upscale = loaded.restorer(RestoreSettings(task=Task.UPSCALE, scale=4), "a cat")
    assert torch.equal(
        run(upscale, clip(3)), run(restorer(folders["instantvir"], Task.UPSCALE, prompt="a cat"), clip(3))
    )


def test_prompts_are_cleaned_and_end_with_their_token(folders: dict[str, Path]) -> None:
    assert prompts.clean("  a\n&amp;lt;b&amp;gt;\t cafÃ© ") == "a <b> café"
    tokenizer = read_folder(folders["instantvir"]).tokenizer()
    assert prompts.tokenize(tokenizer, "a  cat ")[0].tolist() == [[3, 4, 1]]
    assert prompts.tokenize(tokenizer, "")[0].tolist() == [[1]]
    ids, mask = prompts.tokenize(tokenizer, "cat " * 700)
    assert ids.shape == mask.shape == (1, 512)
    assert int(ids[0, -1]) == 1


def test_the_reference_changes_with_the_content(folders: dict[str, Path]) -> None:
    system = restorer(folders["infvsr"], Task.UPSCALE)
    encode = system.stages["encode"]
    assert isinstance(encode, infvsr.Encode)
    scene = SceneStart(0, SOURCE, (80, 144))
    x = clip(1).repeat(60, 1, 1, 1)
    x[21:] = 1 - x[21:]
    state, renewed = encode.start(scene), []
    with torch.inference_mode():
        for pixels, _ in chunks(x, system.schedule):
            encoded, state = encode.step(pixels, state)
            renewed.append(encoded.context is not None)
    assert renewed == [True, False, True, False, False, False]


def test_a_marked_frame_becomes_the_reference(folders: dict[str, Path]) -> None:
    system = restorer(folders["infvsr"], Task.UPSCALE)
    encode = system.stages["encode"]
    state = encode.start(SceneStart(0, SOURCE, (80, 144)))
    with torch.inference_mode():
        _, state = encode.step(DeviceChunk(clip(9), refresh=frozenset({0})), state)
        second = DeviceChunk(1 - clip(12), refresh=frozenset({5}))
        encoded, state = encode.step(second, state)
    assert encoded.context is not None
    assert torch.equal(state.reference, second.frames[5])
    assert state.age == 7


def streamed(direction: autoencoders.StreamingPass, x: Tensor, sizes: list[int]) -> Tensor:
    caches: autoencoders.Caches = []
    results = []
    for part in x.split(sizes, 2):
        out, caches = direction.step(part, caches)
        caches = autoencoders.unpack_caches(autoencoders.pack_caches(caches), CPU)
        results.append(out)
    return torch.cat(results, 2)


def whole_tile(codec: autoencoders.WanVideoAutoencoder, latent: Tensor) -> Tensor:
    """The first tile of 32 latents alone."""
    return streamed(autoencoders.decoder(codec, tiling.Tiling("off")), latent[..., :32, :32], [1, 1])


def test_blending_changes_nothing_where_tiles_agree() -> None:
    def enlarge(x: Tensor, cache: ConvCache) -> tuple[Tensor, ConvCache]:
        return x.repeat_interleave(8, -1).repeat_interleave(8, -2), cache.fork()

    x = torch.rand(1, 3, 2, 300, 170)
    out, caches = autoencoders.StreamingPass(enlarge, tiling.Tiling("1024"), (1, 8)).step(x, [])
    torch.testing.assert_close(out, enlarge(x, ConvCache())[0])
    assert len(caches) == 3 * 2


@torch.inference_mode()
def test_tiles_give_what_whole_frames_give(folders: dict[str, Path]) -> None:
    codec = autoencoders.WanVideoAutoencoder(read_folder(folders["infvsr"]).load("autoencoder", WanAutoencoder))
    latent = torch.randn(1, 16, 2, 40, 12)
    whole = streamed(autoencoders.decoder(codec, tiling.Tiling("off")), latent, [1, 1])
    assert torch.equal(streamed(autoencoders.decoder(codec, tiling.Tiling("320")), latent, [1, 1]), whole)  # one tile
    in_tiles = streamed(autoencoders.decoder(codec, tiling.Tiling("256")), latent, [1, 1])
    assert in_tiles.shape == whole.shape
    assert torch.equal(in_tiles[..., :112, :112], whole_tile(codec, latent)[..., :112, :112])  # no neighbor there
    video = whole[..., :5, :, :]
    for tile in ("off", "256"):
        assert streamed(autoencoders.encoder(codec, tiling.Tiling(tile)), video, [1, 4]).shape == (
            1,
            16,
            2,
            40,
            12,
        )


def test_tiles_cover_every_axis_and_their_weights_blend() -> None:
    for length in (16, 128, 129, 200, 238, 239, 500):
        places = tiling.starts(length, tiling.Tiles())
        assert places[0] == 0
        assert places[-1] + 128 >= length
        assert all(later - earlier == 110 for earlier, later in pairwise(places))
        assert len(places) == 1 or places[-2] + 128 < length  # none that is not needed
    weight = tiling.ramp(20, 4, first=False, last=True, like=torch.zeros(1))
    assert weight.tolist() == [0.25, 0.5, 0.75, 1.0] + [1.0] * 16
    assert tiling.Tiling().tiles(1024, 2048) is None
    assert tiling.Tiling().tiles(1080, 1920) == tiling.Tiles(128, 110)


def test_parts_that_are_missing_or_of_another_network_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    broken = shutil.copytree(folders["infvsr"], tmp_path / "broken")
    (broken / "Wan2.1_VAE.pth").unlink()
    with pytest.raises(ModelError, match=r"lacks its autoencoder \(Wan2.1_VAE"):
        restorer(broken, Task.UPSCALE)
    torch.save({"x": torch.zeros(1)}, broken / "Wan2.1_VAE.pth")
    with pytest.raises(
        ModelError, match=r"is not a checkpoint of the autoencoder: it lacks the tensor 'encoder.conv1.weight'"
    ):
        restorer(broken, Task.UPSCALE)
    weights = small.autoencoder()
    weights["more"] = weights.pop("decoder.head.2.bias")
    torch.save(weights, broken / "Wan2.1_VAE.pth")
    with pytest.raises(ModelError, match=r"1 missing \(decoder.head.2.bias\); 1 unexpected \(more\)"):
        restorer(broken, Task.UPSCALE)


def test_families_are_told_apart(folders: dict[str, Path], tmp_path: Path) -> None:
    for name, path in folders.items():
        assert entry_from_path(path).family == ("instantvir" if name == "lean" else name)
        assert set(entry_from_path(path).tasks) == set(FAMILIES[entry_from_path(path).family].capabilities.tasks)
    assert entry_from_path(folders["infvsr"] / "InfVSR.ckpt").family == "infvsr"
    alone = folders["swiftvr"] / "transformer" / "diffusion_pytorch_model.safetensors"
    assert entry_from_path(alone).family == "swiftvr"  # under the names of Diffusers
    assert entry_from_path(folders["fastvr"] / "dit-00002-of-00002.safetensors").family == "fastvr"
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="unknown model family"):
        entry_from_path(tmp_path / "other.pth")
    with pytest.raises(ModelError, match="holds no transformer"):
        entry_from_path(tmp_path)
    assert read_folder(tmp_path).files == {}


@pytest.mark.parametrize("inplace", [False, True])
def test_a_latent_at_a_time_is_a_chunk_at_a_time(inplace: bool) -> None:
    network = WanAutoencoder(WanAutoencoderConfig(dim=4))
    network.load_state_dict(small.autoencoder())
    codec = autoencoders.WanVideoAutoencoder(network)
    video, latent = torch.rand(1, 3, 17, 16, 24) * 2 - 1, torch.randn(1, 16, 6, 2, 3)
    with torch.inference_mode():
        parts = [ConvCache(inplace=inplace), ConvCache(inplace=inplace)]
        found: list[list[torch.Tensor]] = [[], []]
        for low, high, first, last in ((0, 9, 0, 3), (9, 17, 3, 6)):
            encoded, parts[0] = codec.encode_step(video[:, :, low:high], parts[0])
            decoded, parts[1] = codec.decode_step(latent[:, :, first:last], parts[1])
            found[0].append(encoded)
            found[1].append(decoded)
        whole = network.encode_step(video, ConvCache())[0], network.decode_step(latent, ConvCache())[0].clamp(-1, 1)
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(torch.cat(one, 2), other, atol=1e-4, rtol=0)


def test_an_inplace_cache_moves_on_itself() -> None:
    network = WanAutoencoder(WanAutoencoderConfig(dim=4))
    kept, inplace = ConvCache(), ConvCache(inplace=True)
    latent = torch.randn(1, 16, 1, 2, 3)
    with torch.inference_mode():
        assert network.decode_step(latent, kept)[1] is not kept
        assert network.decode_step(latent, inplace)[1] is inplace
    assert not kept.store
    assert inplace.store
    assert inplace.to(torch.device("cpu")) is inplace  # not once more: the old tensors would stay beside the new ones
    assert inplace.to(torch.device("meta")).inplace
    assert kept.to(torch.device("cpu")) is not kept
