"""What passes through networks in parts gives what it gives at once, in less memory."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.models.alive import Alive
from vrx.networks import in_parts
from vrx.networks.causal_conv import ConvCache
from vrx.networks.flashvsr import projection
from vrx.networks.flashvsr.projection import LqProjection, ProjectionConfig
from vrx.networks.taehv import ConditionalConfig, ConditionalDecoder, TinyAutoencoder, TinyConfig
from vrx.networks.wan.autoencoder import WanAutoencoder, WanAutoencoderConfig

Run = Callable[[nn.Module, torch.device], Tensor]
FRAME_BY_FRAME = 1  # numbers that a map may have


def seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        torch.manual_seed(0)
        return make().eval()

    return made


def clip(device: torch.device, *sides: int) -> Tensor:
    return torch.rand(*sides, generator=torch.Generator().manual_seed(1)).to(device)


def encode(network: WanAutoencoder, device: torch.device) -> Tensor:
    """A scene of 13 frames in three steps."""
    cache, latents = ConvCache(inplace=True), []
    for part in clip(device, 1, 3, 13, 16, 24).split([1, 8, 4], 2):
        latent, cache = network.encode_step(part, cache)
        latents.append(latent)
    return torch.cat(latents, 2)


def decode(network: WanAutoencoder, device: torch.device) -> Tensor:
    """A scene of 17 frames in three steps."""
    cache, videos = ConvCache(inplace=True), []
    for part in clip(device, 1, 16, 5, 2, 3).split([2, 2, 1], 2):
        video, cache = network.decode_step(part, cache)
        videos.append(video)
    return torch.cat(videos, 2)


def tiny(network: TinyAutoencoder, device: torch.device) -> Tensor:
    cache, videos = ConvCache(inplace=True), []
    for part in clip(device, 1, 5, 16, 2, 3).split([3, 2], 1):
        video, cache = network.decode_step(part, cache)
        videos.append(video)
    return torch.cat(videos, 1)


def conditional(network: ConditionalDecoder, device: torch.device) -> Tensor:
    cache, videos = ConvCache(inplace=True), []
    for latent, source in ((6, 21), (2, 8)):
        shown = clip(device, 1, 3, source, 16, 24)
        video, cache = network.decode_step(clip(device, 1, latent, 16, 2, 3), shown, cache)
        videos.append(video)
    return torch.cat(videos, 1)


def small_wan() -> WanAutoencoder:
    return WanAutoencoder(WanAutoencoderConfig(dim=4))


def small_conditional() -> ConditionalDecoder:
    return ConditionalDecoder(ConditionalConfig(channels=(16, 16, 8, 8)))


CASES = {
    "encode": (seeded(small_wan), encode),
    "decode": (seeded(small_wan), decode),
    "tiny": (seeded(lambda: TinyAutoencoder(TinyConfig(decoder_widths=(16, 16, 8, 8)))), tiny),
    "conditional": (seeded(small_conditional), conditional),
}


@pytest.mark.parametrize(("name", "fused"), [*((name, False) for name in CASES), ("encode", True), ("decode", True)])
@torch.inference_mode()
def test_frames_one_by_one_are_the_frames_of_all_at_once(
    name: str, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, run = CASES[name]
    network = make()
    if fused:
        network.fuse()  # type: ignore[operator] # by the plain functions here
    monkeypatch.setattr("vrx.networks.fusion.Compiled._compiled", property(lambda self: self._function))
    whole = run(network, torch.device("cpu"))  # type: ignore[operator]
    monkeypatch.setattr(in_parts, "WIDEST", FRAME_BY_FRAME)
    torch.testing.assert_close(run(network, torch.device("cpu")), whole, rtol=0, atol=1e-4)  # type: ignore[operator]


@pytest.mark.parametrize(("name", "share"), [("encode", 0.75), ("decode", 0.75), ("tiny", 0.75), ("conditional", 0.9)])
@torch.inference_mode()
def test_they_take_less_memory(name: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of what is left is in caches."""
    make, run = CASES[name]
    with torch.device("meta"):
        network = make()

    def peak() -> int:
        with Alive() as counted:
            run(network, torch.device("meta"))  # type: ignore[operator]
        return counted.peak

    whole = peak()
    monkeypatch.setattr(in_parts, "WIDEST", FRAME_BY_FRAME)
    assert peak() < share * whole


@torch.inference_mode()
def test_the_first_frames_of_a_projection_come_in_groups_as_later_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = LqProjection(ProjectionConfig(hidden1=6, hidden2=8, out_dim=4, layers=2))
    video, cpu = torch.rand(1, 3, 25, 32, 48), ConvCache()
    parts, _ = network.step(video, cpu)
    monkeypatch.setattr(projection, "AT_ONCE", 24)
    whole, _ = network.step(video, ConvCache())
    for part, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_feed_forward_takes_8192_tokens_at_once() -> None:
    seen: list[int] = []
    network = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 2))
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    x = torch.rand(1, 8193, 2)
    torch.testing.assert_close(in_parts.feed_forward(network, x), network(x))
    in_parts.feed_forward(network, x[:, :8192])
    assert seen == [8192, 1, 8193, 8192]


@pytest.mark.parametrize(
    ("numbers", "frames"),
    [
        (96 * 1280 * 720, 1),
        (96 * 832 * 480, 2),
        (96 * 640 * 360, 4),
        ((1 << 25) + 1, 2),
        (1 << 25, 4),
        (1 << 27, 1),
        (1 << 40, 1),
    ],
)
def test_maps_of_134_million_numbers_are_taken_at_once(numbers: int, frames: int) -> None:
    assert in_parts.frames_at_once(numbers) == frames
