"""The decoder of Wan 2.2's autoencoder: a run of Diffusers' that is stored, and Diffusers itself where it is here."""

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.extras import needs_extra
from tests.golden.cases import Case, cases, close, filled
from tests.golden.test_wan_autoencoder import DECODE, streamed
from vrx.networks import fusion
from vrx.networks.causal_conv import ConvCache
from vrx.networks.wan.residual_decoder import (
    ResidualDecoder,
    ResidualDecoderConfig,
    add_repeated,
    select_tensors,
    unpatchify,
)
from vrx.weights.key_mapping import to_native_keys

CASES = cases("wan22_decoder")
RELEASED: dict[str, Any] = {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48}


def network(case: Case) -> ResidualDecoder:
    weights = select_tensors(to_native_keys(case.weights()))
    config = ResidualDecoderConfig.from_tensors({name: tuple(t.shape) for name, t in weights.items()}, {})
    assert (config.dim, config.z_dim) == (case.model["decoder_base_dim"], case.model["z_dim"])
    return filled(ResidualDecoder(config, case.config["latents_mean"], case.config["latents_std"]), weights)


@pytest.mark.parametrize("sizes", DECODE.values(), ids=DECODE)
@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_decoding(case: Case, sizes: tuple[int, int]) -> None:
    net, io = network(case), case.io()
    found = streamed(net.decode_step, io["latent"], *sizes)
    assert float((found.abs() > 1).float().mean()) < 0.2  # most of it is compared
    close(found.clamp(-1, 1), io["video"], case.tolerance)


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_streamed_is_whole_for_every_length(case: Case) -> None:
    net = network(case)
    latent = torch.randn(1, 6, 7, 2, 3, generator=torch.Generator().manual_seed(0))
    for frames in range(1, 8):
        whole, _ = net.decode_step(latent[:, :, :frames], ConvCache())
        assert whole.shape == (1, 3, 4 * frames - 3, 32, 48)
        close(streamed(net.decode_step, latent[:, :, :frames], 1, 1), whole, 1e-5)
        close(streamed(net.decode_step, latent[:, :, :frames], 2, 3), whole, 1e-5)


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_a_step_leaves_the_old_state_good(case: Case) -> None:
    net, latent = network(case), case.io()["latent"][:, :, :1]
    _, cache = net.decode_step(latent, ConvCache())
    first, _ = net.decode_step(latent, cache)
    again, _ = net.decode_step(latent, cache)
    assert torch.equal(first, again)


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_fused_and_channels_last_it_gives_the_same(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "add", fusion.add_rows)
    passes = []

    def normalize(*tensors: Tensor) -> None:
        passes.append(tensors)
        fusion.normalize_rows(*tensors)

    monkeypatch.setattr(fusion, "normalize", normalize)
    net, io = network(case), case.io()
    net.place(torch.device("cpu"), torch.float32)
    net.fuse()
    close(streamed(net.decode_step, io["latent"], 1, 1).clamp(-1, 1), io["video"], case.tolerance)
    assert len(passes) == 4 * (2 * (2 + 4 * 3) + 1)  # four latents: two norms a block, one of the head


def test_a_shortcut_deals_channels_out_to_frames_then_rows_then_columns() -> None:
    x = torch.arange(2.0 * 4).view(1, 8, 1, 1, 1)
    y = add_repeated(torch.zeros(1, 2, 2, 2, 2), x, 2)
    assert y[0, 0].flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]  # two places share a channel
    assert y[0, 1].flatten().tolist() == [4, 4, 5, 5, 6, 6, 7, 7]
    begun = add_repeated(torch.zeros(1, 2, 1, 2, 2), x, 2)
    assert torch.equal(begun, y[:, :, 1:])
    same = add_repeated(torch.ones(1, 8, 1, 2, 2), x, 1)
    assert torch.equal(same, 1 + x.expand(1, 8, 1, 2, 2))


def test_channels_of_a_last_position_are_color_column_row() -> None:
    x = torch.arange(12.0).view(1, 12, 1, 1, 1)
    assert unpatchify(x)[0, :, 0].flatten(1).tolist() == [[0, 2, 1, 3], [4, 6, 5, 7], [8, 10, 9, 11]]


def test_widths_that_no_shortcut_joins_are_refused() -> None:
    with pytest.raises(ValueError, match=r"that no shortcut joins: \(15, 15, 10, 5\)"):
        ResidualDecoderConfig(dim=5, dim_mult=(1, 2, 3), temporal=(True, False))


# ---------------------------------------------------------------- against Diffusers


def reference(case: Case, sizes: dict[str, Any]) -> Any:
    """Diffusers' autoencoder with a case's options, at other sizes."""
    kind = import_module("diffusers").AutoencoderKLWan
    constants = {name: case.config[name] for name in ("latents_mean", "latents_std")}
    return kind(**{**case.model, **constants, **sizes}).eval()


def decoded(net: Any, latent: Tensor, case: Case) -> Tensor:
    mean, deviation = (torch.tensor(case.config[n]).view(1, -1, 1, 1, 1) for n in ("latents_mean", "latents_std"))
    out: Tensor = net.decode(latent * deviation + mean).sample
    return out


@needs_extra
@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_diffusers_gives_the_same_at_any_length_and_size(case: Case) -> None:
    theirs, ours = reference(case, {}), network(case)
    theirs.load_state_dict(case.weights())
    close(decoded(theirs, case.io()["latent"], case), case.io()["video"], 1e-5)
    generator = torch.Generator().manual_seed(1)
    for frames, height, width in ((1, 1, 1), (2, 3, 2), (3, 1, 4), (6, 2, 3)):
        latent = torch.randn(1, 6, frames, height, width, generator=generator)
        found = streamed(ours.decode_step, latent, 1, 1).clamp(-1, 1)
        close(found, decoded(theirs, latent, case), case.tolerance)


@needs_extra
@pytest.mark.parametrize("case", CASES)
def test_names_and_shapes_of_diffusers_are_the_published_ones(case: Case) -> None:
    with torch.device("meta"):
        whole = reference(case, RELEASED)
        ours = ResidualDecoder(ResidualDecoderConfig())
    assert len(whole.state_dict()) == 196
    decoding = select_tensors(to_native_keys(whole.state_dict()))
    assert {n: t.shape for n, t in decoding.items()} == {n: t.shape for n, t in ours.state_dict().items()}
