import pytest
import torch

from tests.golden.cases import Case, cases, close, filled
from vrx.networks.causal_conv import ConvCache
from vrx.networks.taehv import ConditionalConfig, ConditionalDecoder, TinyAutoencoder, TinyConfig, whole_groups


def autoencoder(case: Case) -> TinyAutoencoder:
    return filled(TinyAutoencoder(TinyConfig(**case.model)), case.weights())


@pytest.mark.parametrize("case", cases("taehv"))
@torch.inference_mode()
def test_whole_clips(case: Case) -> None:
    net, io = autoencoder(case), case.io()
    close(net.encode(io["video"]), io["encode.latent"], case.tolerance)
    close(net.decode_raw(io["latent"], ConvCache()), io["decode.untrimmed"], case.tolerance)
    close(net.decode_step(io["latent"], ConvCache())[0], io["decode.video"], case.tolerance)


@pytest.mark.parametrize("case", cases("taehv"))
@pytest.mark.parametrize("size", [1, 3])
@torch.inference_mode()
def test_steps_of_any_size(case: Case, size: int) -> None:
    net, io = autoencoder(case), case.io()
    cache, parts = ConvCache(), []
    for part in whole_groups(io["video"], net.temporal).split(size, 1):
        latent, cache = net.encode_step(part, cache)
        parts += [latent] if latent.shape[1] else []
    close(torch.cat(parts, 1), io["encode.latent"], case.tolerance)
    cache, parts = ConvCache(), []
    for part in io["latent"].split(size, 1):
        frames, cache = net.decode_step(part, cache)
        parts.append(frames)
    close(torch.cat(parts, 1), io["decode.video"], case.tolerance)
    if size == 1 and "stream" in case.config:
        assert [len(part[0]) for part in parts] == case.config["stream"]["frames_per_latent"]


@pytest.mark.parametrize("case", cases("tcdecoder"))
@pytest.mark.parametrize("whole", [True, False])
@torch.inference_mode()
def test_the_conditional_decoder(case: Case, whole: bool) -> None:
    net = filled(ConditionalDecoder(ConditionalConfig(**case.model)), case.weights())
    io = case.io()
    count = io["latent"].shape[1]
    stream = case.config.get("stream", {"latents": [1] * count, "condition_frames": [1] + [4] * (count - 1)})
    sizes = ([count], [io["condition"].shape[2]]) if whole else (stream["latents"], stream["condition_frames"])
    cache, parts = ConvCache(), []
    steps = zip(io["latent"].split(sizes[0], 1), io["condition"].split(sizes[1], 2), strict=True)
    for latent, condition in steps:
        frames, cache = net.decode_step(latent, condition, cache)
        parts.append(frames)
    close(torch.cat(parts, 1), io["decode.video"], case.tolerance)


@torch.inference_mode()
def test_many_latents_take_no_more_memory_than_two() -> None:
    case = cases("tcdecoder")[0].values[0]
    net = filled(ConditionalDecoder(ConditionalConfig(**case.model)), case.weights())
    io = case.io()
    pictures: list[int] = []
    for layer in net.decoder.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda module, inputs, output: pictures.append(output.shape[0]))
    net.decode_step(io["latent"], io["condition"], ConvCache())
    assert io["latent"].shape[1] > 2
    assert max(pictures) <= 2 * net.temporal
