"""Every network introduces itself: its published size is read back from its tensors, and one tensor tells it."""

import pytest
import torch

from tests.extras import needs_extra
from vrx.models import roles
from vrx.networks.diffvsr.autoencoder import TemporalAutoencoder
from vrx.networks.diffvsr.raft import Raft
from vrx.networks.diffvsr.text import TextEncoder
from vrx.networks.diffvsr.unet import ControlNet, Unet
from vrx.networks.embedded.network import SMALL, EmbeddedConfig, EmbeddedNetwork
from vrx.networks.embedded.recurrent import STANDARD, RecurrentNetwork
from vrx.networks.fastvr.autoencoder import FastVae
from vrx.networks.flashvsr.projection import LqProjection
from vrx.networks.leanvae import LeanAutoencoder
from vrx.networks.published import NetworkConfig, PublishedNetwork, Shapes
from vrx.networks.ram import RamConfig, VisualGuidance
from vrx.networks.recavsr.flashdecoder import FlashDecoder
from vrx.networks.recavsr.transformer import RecycledTransformer
from vrx.networks.relayvsr.key_frames import KeyFrameTransformer
from vrx.networks.relayvsr.small_transformer import SmallTransformer
from vrx.networks.satbvr.backbone import Transformer
from vrx.networks.satbvr.control import Connectors, ControlPatchEmbed
from vrx.networks.satbvr.control import ControlNet as SatbControlNet
from vrx.networks.swiftvr.autoencoder import Reae
from vrx.networks.taehv import ConditionalDecoder, TinyAutoencoder
from vrx.networks.umt5 import Umt5Encoder
from vrx.networks.wan.autoencoder import WanAutoencoder
from vrx.networks.wan.residual_decoder import ResidualDecoder
from vrx.networks.wan.transformer import TI2V_5B, WanConfig, WanTransformer

DEFAULTS: tuple[type[PublishedNetwork], ...] = (
    WanTransformer,
    WanAutoencoder,
    TinyAutoencoder,
    ConditionalDecoder,
    LeanAutoencoder,
    LqProjection,
    VisualGuidance,
    Reae,
    FastVae,
    Umt5Encoder,
    TemporalAutoencoder,
    Connectors,
    FlashDecoder,
    KeyFrameTransformer,
    RecycledTransformer,
    ResidualDecoder,
    SmallTransformer,
)
LIBRARIES: tuple[type[PublishedNetwork], ...] = (
    Unet,
    ControlNet,
    Raft,
    TextEncoder,
    Transformer,
    SatbControlNet,
    ControlPatchEmbed,
)
NETWORKS: list[tuple[type[PublishedNetwork], NetworkConfig]] = [
    *((kind, kind.CONFIG()) for kind in DEFAULTS),
    (WanTransformer, WanConfig(text_dim=RamConfig().out_dim)),
    (WanTransformer, TI2V_5B),
    (EmbeddedNetwork, SMALL),
    (RecurrentNetwork, STANDARD),
]
OPTIONAL = [pytest.param(kind, kind.CONFIG(), marks=needs_extra) for kind in LIBRARIES]


def shapes_of(kind: type[PublishedNetwork], config: NetworkConfig) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in kind(config).state_dict().items()}


@pytest.mark.parametrize(("kind", "config"), [*NETWORKS, *OPTIONAL], ids=lambda value: type(value).__name__)
def test_the_size_of_a_network_is_read_from_its_tensors(kind: type[PublishedNetwork], config: NetworkConfig) -> None:
    shapes = shapes_of(kind, config)
    found = kind.CONFIG.from_tensors(shapes, {})
    assert found == config
    found.validate(len(shapes))
    matching = {other for other in (*(other for other, _ in NETWORKS), *LIBRARIES) if other.SIGNATURE in shapes}
    added_to = {other for other in matching if any(roles.is_base(other, more) for more in matching)}
    assert matching - added_to == {kind}


def test_given_sizes_win_and_impossible_ones_are_refused() -> None:
    shapes = shapes_of(WanTransformer, WanConfig())
    assert WanConfig.from_tensors(shapes, {"num_heads": 6}).num_heads == 6
    with pytest.raises(KeyError, match=r"patch_embedding\.weight"):
        WanConfig.from_tensors({}, {})
    with pytest.raises(ValueError, match="does not divide"):
        WanConfig.from_tensors(shapes, {"num_heads": 7})


@pytest.mark.parametrize(("field", "most"), [("window", 32), ("memory", 64), ("middle", 40), ("full", 1 << 20)])
def test_sizes_are_bounded_before_a_network_is_built(field: str, most: int) -> None:
    sizes = {**vars(SMALL), "heads": 1}
    EmbeddedConfig(**{**sizes, field: most}).validate(40)
    with pytest.raises(ValueError, match=f"{field} is {most + 2}"):
        EmbeddedConfig(**{**sizes, field: most + 2}).validate(40)
