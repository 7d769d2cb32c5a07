"""CogVideoX's autoencoder, streamed, against a run of SATB-VR's release and against diffusers' own tiles."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.extras import needs_extra
from tests.golden.cases import Case, cases, close
from tests.golden.test_diffvsr import fill_by_formula
from vrx.models.layouts import to_video
from vrx.networks.causal_conv import ConvCache
from vrx.networks.satbvr.autoencoder import AutoencoderConfig, CogVideoAutoencoder

pytestmark = needs_extra


def autoencoder(config: dict[str, Any]) -> CogVideoAutoencoder:
    """The network of a case, filled by the formula."""
    sizes: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in config["autoencoder"].items()}
    known = {n: v for n, v in sizes.items() if n in vars(AutoencoderConfig())}
    network: CogVideoAutoencoder = fill_by_formula(
        CogVideoAutoencoder(AutoencoderConfig(**known)), config["weights"]["gain"]["autoencoder"]
    )
    return network


def small(**sizes: int) -> CogVideoAutoencoder:
    """A network of no case."""
    config = AutoencoderConfig(block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=4, **sizes)
    network: CogVideoAutoencoder = fill_by_formula(CogVideoAutoencoder(config), 1.0)
    return network


def enlarged(video: Tensor) -> Tensor:
    """The reference's input: resized to multiples of 8 pixels, lengthened to 8 k + 1 frames, [1, 3, T, H, W]."""
    height, width = (side + -side % 8 for side in video.shape[-2:])
    frames = F.interpolate(video.float() / 255, (height, width), mode="bicubic")
    return to_video(torch.cat([frames, *[frames[-1:]] * (-(len(frames) - 1) % 8)]))


def streamed(step: Any, x: Tensor, first: int, then: int) -> list[Any]:
    """The outputs of a video in steps."""
    caches: list[ConvCache] = []
    found = []
    for part in x.split([first, *[then] * ((x.shape[2] - first) // then)], 2):
        out, caches = step(part, caches)
        found.append(out)
    return found


@pytest.mark.parametrize("case", cases("satb_pipeline"))
@torch.inference_mode()
def test_both_directions_in_one_call_and_streamed(case: Case) -> None:
    io, network = case.io(), autoencoder(case.config)
    video = enlarged(io["video"])
    latents = io["latent"].transpose(1, 2)
    shown = case.config.get("decoded_frames", list(range(video.shape[2])))
    for first, then in ((9, 8), (video.shape[2], 8)):
        posteriors = streamed(network.encode, video, first, then)
        for name in ("mean", "std"):
            found = torch.cat([getattr(part, name) for part in posteriors], 2)
            close(found / network.config.scaling_factor, io[f"posterior.{name}"], case.tolerance)
    for first in (3, latents.shape[2]):
        frames = torch.cat(streamed(network.decode, latents, first, 2), 2)
        close(frames[:, :, shown], io["decoded"], case.tolerance)


@torch.inference_mode()
def test_tiles_are_those_of_diffusers(tmp_path: Any) -> None:
    network = small(sample_height=192, sample_width=160)
    assert network.pixel_tiles.side == (96, 80)
    network.library.enable_tiling()
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(1, 3, 17, 144, 96, generator=generator) * 2 - 1
    expected = network.library.encode(video).latent_dist
    posteriors = streamed(network.encode, video, 9, 8)
    close(torch.cat([part.mean for part in posteriors], 2) / 0.7, expected.mean, 1e-5)
    close(torch.cat([part.std for part in posteriors], 2) / 0.7, expected.std, 1e-5)
    latents = torch.randn(1, 16, 5, 18, 12, generator=generator)
    frames = torch.cat(streamed(network.decode, latents * 0.7, 3, 2), 2)
    close(frames, network.library.decode(latents).sample, 5e-5)


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (9, 3), (17, 5)])
@torch.inference_mode()
def test_a_scene_of_any_allowed_length(frames: int, latents: int) -> None:
    network = small()
    posterior, _ = network.encode(torch.zeros(1, 3, frames, 16, 16), [])
    assert posterior.mean.shape == (1, 16, latents, 2, 2)
    assert network.decode(posterior.mean, [])[0].shape == (1, 3, frames, 16, 16)


@torch.inference_mode()
def test_what_waits_for_the_next_call_is_only_what_is_read() -> None:
    network = small()
    waiting: list[ConvCache] = []

    def offload(cache: ConvCache) -> ConvCache:
        waiting.append(cache)
        return cache

    _, caches = network.decode(torch.zeros(1, 16, 3, 2, 2), [], offload)
    assert waiting == caches
    convolutions = [
        name
        for name, module in network.get_submodule("decoder").named_modules()
        if getattr(module, "time_kernel_size", 0) > 1
    ]
    assert len(caches[0].store) == len(convolutions)
    assert not any(name.endswith("conv_y") for name in caches[0].store)
