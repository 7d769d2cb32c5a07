"""The networks at their published sizes, without memory: names and shapes as the files have them."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.extras import needs_extra
from vrx.networks.fastvr.autoencoder import FastVae, FastVaeConfig
from vrx.networks.flashvsr.projection import LqProjection, ProjectionConfig
from vrx.networks.leanvae import LeanAutoencoder, LeanConfig
from vrx.networks.published import PublishedNetwork
from vrx.networks.ram import RamConfig, VisualGuidance
from vrx.networks.recavsr.flashdecoder import FlashDecoder
from vrx.networks.recavsr.transformer import RecycledTransformer
from vrx.networks.relayvsr.key_frames import KeyFrameConfig, KeyFrameTransformer
from vrx.networks.relayvsr.small_transformer import SmallTransformer
from vrx.networks.satbvr.backbone import Transformer
from vrx.networks.satbvr.control import Connectors, ControlNet, ControlPatchEmbed
from vrx.networks.satbvr.transformer import Denoiser
from vrx.networks.swiftvr.autoencoder import Reae, ReaeConfig
from vrx.networks.taehv import ConditionalConfig, ConditionalDecoder, TinyAutoencoder, TinyConfig
from vrx.networks.umt5 import Umt5Config, Umt5Encoder
from vrx.networks.wan.autoencoder import WanAutoencoder, WanAutoencoderConfig
from vrx.networks.wan.residual_decoder import ResidualDecoder
from vrx.networks.wan.transformer import TI2V_5B, WanConfig, WanTransformer
from vrx.weights.key_mapping import to_native_keys

TENSORS = Path(__file__).parents[1] / "data" / "tensors"


def published(name: str) -> dict[str, list[int]]:
    rows = json.loads((TENSORS / f"{name}.json").read_text())["tensors"]
    return {row["name"].replace("{i}", str(i)): row["shape"] for row in rows for i in range(row["count"])}


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def build(name: str) -> nn.Module:
    networks = {
        "wan2.1-t2v-1.3b-dit": lambda: WanTransformer(WanConfig()),
        "wan2.2-ti2v-5b-dit": lambda: WanTransformer(TI2V_5B),
        "wan2.1-vae": lambda: WanAutoencoder(WanAutoencoderConfig()),
        "swiftvr-reae": lambda: Reae(ReaeConfig()),
        "fastvr-vae": lambda: FastVae(FastVaeConfig()),
        "taew2_1": lambda: TinyAutoencoder(TinyConfig()),
        "flashvsr-tcdecoder": lambda: ConditionalDecoder(ConditionalConfig()),
        "umt5-xxl-encoder": lambda: Umt5Encoder(Umt5Config()),
        "lq": lambda: LqProjection(ProjectionConfig()),
        "infvsr": lambda: WanTransformer(WanConfig(text_dim=512)),
        "leanvae": lambda: LeanAutoencoder(LeanConfig()),
        "ram": lambda: VisualGuidance(RamConfig()),
    }
    with torch.device("meta"):
        return networks[name]()


@pytest.mark.parametrize(
    "name",
    [
        "wan2.1-t2v-1.3b-dit",
        "wan2.2-ti2v-5b-dit",
        "wan2.1-vae",
        "taew2_1",
        "swiftvr-reae",
        "fastvr-vae",
        "flashvsr-tcdecoder",
        "umt5-xxl-encoder",
    ],
)
def test_names_and_shapes_are_the_published_ones(name: str) -> None:
    assert shapes(build(name)) == published(name)


def test_wan_22_is_the_published_one_under_the_names_of_diffusers() -> None:
    theirs = published("wan2.2-ti2v-5b-dit-diffusers")
    assert len(theirs) == 825
    assert to_native_keys(theirs) == shapes(build("wan2.2-ti2v-5b-dit"))
    assert count(build("wan2.2-ti2v-5b-dit")) == 4_999_787_712


def test_relayvsrs_networks_are_the_published_ones() -> None:
    theirs = published("relayvsr-wan")
    theirs["prompt_embeds"][1] = KeyFrameConfig().prompt_rows  # not known
    key_frames, small = at_published_size(KeyFrameTransformer), at_published_size(SmallTransformer)
    assert len(theirs) == 834
    assert to_native_keys(theirs) == shapes(key_frames)
    assert count(key_frames) - 512 * 4096 == 5_067_434_176
    assert shapes(small) == published("relayvsr-flash-s")
    assert count(small) == 31_934_208


def test_recavsrs_networks_are_the_published_ones() -> None:
    network, decoder = at_published_size(RecycledTransformer), at_published_size(FlashDecoder)
    assert to_native_keys(published("recavsr-transformer")) == shapes(network)
    assert (len(shapes(network)), count(network)) == (835, 5_301_793_984)
    assert shapes(decoder) == published("recavsr-flashdecoder")
    assert count(decoder) == 57_173_552


def test_wan_22s_decoder_is_the_published_one() -> None:
    whole, decoder = published("wan2.2-vae"), at_published_size(ResidualDecoder)
    assert sum(math.prod(shape) for shape in whole.values()) == 704_688_668
    assert {name: shape for name, shape in whole.items() if name.startswith(("decoder.", "conv2."))} == shapes(decoder)
    assert (len(whole), len(shapes(decoder)), count(decoder)) == (196, 110, 555_051_580)


def test_the_lq_projection_is_the_published_one() -> None:
    assert shapes(build("lq")) == {
        "conv1.weight": [2048, 768, 4, 3, 3],
        "conv1.bias": [2048],
        "norm1.gamma": [2048, 1, 1, 1],
        "conv2.weight": [3072, 2048, 4, 3, 3],
        "conv2.bias": [3072],
        "norm2.gamma": [3072, 1, 1, 1],
        "linear_layers.0.weight": [1536, 3072],
        "linear_layers.0.bias": [1536],
    }


def test_infvsr_differs_in_one_tensor() -> None:
    expected = published("wan2.1-t2v-1.3b-dit")
    expected["text_embedding.0.weight"] = [1536, 512]
    assert shapes(build("infvsr")) == expected


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("wan2.1-t2v-1.3b-dit", 1418.9968),
        ("wan2.1-vae", 126.8925),
        ("taew2_1", 11.3),
        ("swiftvr-reae", 40.946364),
        ("fastvr-vae", 117.994684),
        ("lq", 287.8459),
        ("leanvae", 39.8),
    ],
)
def test_parameter_counts(name: str, millions: float) -> None:
    count = sum(p.numel() for p in build(name).parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.06)


def test_rams_encoder_ends_in_the_published_widths() -> None:
    found = shapes(build("ram"))
    assert found["image_proj.weight"] == [512, 1536]
    assert found["visual_encoder.layers.2.blocks.17.attn.relative_position_bias_table"] == [529, 24]
    assert found["visual_encoder.layers.0.downsample.reduction.weight"] == [384, 768]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def at_published_size(kind: type[PublishedNetwork]) -> nn.Module:
    with torch.device("meta"):
        return kind(kind.CONFIG())


def test_the_connectors_of_satb_vr_are_the_published_ones() -> None:
    connectors = at_published_size(Connectors)
    assert len(list(connectors.children())) == 42
    assert count(connectors) / 1e6 == pytest.approx(529, abs=0.5)
    assert shapes(connectors)["41.norm_q.weight"] == [64]


@needs_extra
def test_the_other_networks_of_satb_vr_are_the_published_ones() -> None:
    base, net, patch = (at_published_size(kind) for kind in (Transformer, ControlNet, ControlPatchEmbed))
    assert count(base) / 1e9 == pytest.approx(5.57, abs=0.005)
    assert count(net) / 1e9 == pytest.approx(0.83, abs=0.005)  # with the six blocks of Vivid-VR: inferred
    assert count(patch) / 1e6 == pytest.approx(17.8, abs=0.05)
    connectors = at_published_size(Connectors)
    whole = Denoiser(base, connectors, patch)  # type: ignore[arg-type]
    assert count(whole) == count(base) + count(connectors) + count(patch)
    large = sum(count(module) for module in whole.sequence("denoiser"))
    assert count(whole) - large < 0.004 * count(whole)  # what stays on a GPU when layers take turns there
