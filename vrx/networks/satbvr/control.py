"""How the low-quality latent steers the denoiser: its own patch embedding, a ControlNet, and connectors after blocks.

Legend: B videos, F latent frames, h x w latents, L text tokens, N video tokens, C width, E width of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks import dense_attention
from vrx.networks.libraries import load
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries
from vrx.networks.satbvr.adapters import select_adapter
from vrx.networks.satbvr.backbone import HEAD, PATCH, Backbone, BackboneConfig, library_layers, to_patches

CONTROL_ADAPTER = "controlnet"
HEADS = 48  # of a connector, whatever the width
EPSILON = 1e-6  # of the norms here
CHANNELS, WIDE = 16, 320  # of a latent, and between the residual blocks
RESIDUAL = ((CHANNELS, WIDE, 16), (WIDE, WIDE, 32), (WIDE, CHANNELS, 16))  # channels in, channels out, groups


@dataclass(frozen=True, kw_only=True)
class ConnectorsConfig(NetworkConfig):
    """Sizes of the connectors: `inner` is the middle width of their MLPs."""

    COUNTS = frozenset(("count",))

    count: int = 42
    width: int = 3072
    inner: int = 512

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> ConnectorsConfig:
        """See `NetworkConfig`."""
        inner, width = shapes["0.h_to_q.0.weight"]
        return cls(count=count_entries(shapes, ""), width=width, inner=inner)


def mlp(width: int, inner: int) -> nn.Sequential:
    """Linear, SiLU, linear."""
    return nn.Sequential(nn.Linear(width, inner), nn.SiLU(), nn.Linear(inner, width))


class Connector(nn.Module):
    """Adds to the video tokens what they attend to in a state of the ControlNet."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.h_to_q, self.h_to_k = mlp(width, inner), mlp(width, inner)
        self.norm_q = nn.LayerNorm(width // HEADS, EPSILON)
        self.norm_k = nn.LayerNorm(width // HEADS, EPSILON)
        self.out_layer, self.c_mlp = mlp(width, inner), mlp(width, inner)

    def forward(self, video: Tensor, state: Tensor) -> Tensor:
        """[B, N, C] of both; queries are the video's, keys and values the state's."""
        q = self.norm_q(split_heads(self.h_to_q(video)))
        k = self.norm_k(split_heads(self.h_to_k(state)))
        attended = dense_attention.attend(q, k, split_heads(state))
        return video + self.out_layer(attended.transpose(1, 2).flatten(2)) + self.c_mlp(state)


def split_heads(x: Tensor) -> Tensor:
    """[B, N, C] to [B, heads, N, D]."""
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class Connectors(PublishedNetwork):
    """One connector for each block of the denoiser, under its number."""

    CONFIG = ConnectorsConfig
    SIGNATURE = "0.h_to_q.0.weight"

    def __init__(self, config: ConnectorsConfig) -> None:
        super().__init__()
        if not config.width or config.width % HEADS:
            raise ValueError(f"a width of {config.width} cannot be split among {HEADS} heads")
        for number in range(config.count):
            self.add_module(str(number), Connector(config.width, config.inner))

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, number: int) -> Connector:
        return cast(Connector, self._modules[str(number)])


def state_number(block: int, blocks: int, states: int) -> int:
    """Which of the ControlNet's states the connector of a block takes: several blocks in a row share one."""
    return block // -(-blocks // states)


class TemporalBlock(nn.Module):
    """Residual block of convolutions over time; its norms see all frames together."""

    def __init__(self, channels: int, groups: int, time: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(groups, channels, EPSILON) for _ in range(2))
        self.conv1, self.conv2 = (nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0)) for _ in range(2))
        self.time_emb_proj = nn.Linear(time, channels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[B, c, F, h, w], and time [B, E]."""
        y = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(time))[..., None, None, None]
        return x + self.conv2(F.silu(self.norm2(y)))


class Mix(nn.Module):
    """A learned mean of two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Maps of one shape."""
        return torch.lerp(second, first, self.mix_factor.sigmoid())


class SpaceTimeBlock(nn.Module):
    """A residual block within frames, mixed with one over time that follows it."""

    def __init__(self, channels: int, out: int, groups: int, time: int) -> None:
        super().__init__()
        self.spatial_res_block = load("diffusers.models.resnet", "ResnetBlock2D")(
            in_channels=channels, out_channels=out, temb_channels=time, groups=groups, eps=EPSILON
        )
        self.temporal_res_block = TemporalBlock(out, groups, time)
        self.time_mixer = Mix()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[B, F, c, h, w], and time [B, E]."""
        frames = x.shape[1]
        spatial = self.spatial_res_block(x.flatten(0, 1), time.repeat_interleave(frames, 0))
        spatial = spatial.unflatten(0, (-1, frames)).transpose(1, 2)  # [B, c, F, h, w]
        return self.time_mixer(spatial, self.temporal_res_block(spatial, time)).transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class ControlPatchConfig(NetworkConfig):
    """Sizes of the control patch embedding: width of tokens, of the time's embedding, and of rows of text."""

    width: int = 3072
    time: int = 512
    text: int = 4096

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> ControlPatchConfig:
        """See `NetworkConfig`."""
        width, text = shapes["text_proj.weight"]
        return cls(width=width, text=text, time=shapes["res_block.0.temporal_res_block.time_emb_proj.weight"][1])


class ControlPatchEmbed(PublishedNetwork):
    """Joint tokens of the low-quality latent and the text.  Raises ImportError without diffusers."""

    CONFIG = ControlPatchConfig
    SIGNATURE = "res_block.0.time_mixer.mix_factor"

    def __init__(self, config: ControlPatchConfig) -> None:
        super().__init__()
        self.text_proj = nn.Linear(config.text, config.width)
        self.res_block = nn.ModuleList(SpaceTimeBlock(*sizes, config.time) for sizes in RESIDUAL)
        self.proj = nn.Linear(CHANNELS * PATCH**3, config.width)

    def forward(self, lq: Tensor, text: Tensor, time: Tensor) -> Tensor:
        """Latent [B, F, 16, h, w], text [B, L, T] and time [B, E] to [B, L + N, C], text first."""
        for block in self.res_block:
            lq = block(lq, time)
        return torch.cat([self.text_proj(text), self.proj(to_patches(lq))], 1)


@dataclass(frozen=True, kw_only=True)
class ControlConfig(BackboneConfig):
    """Sizes of the ControlNet; six blocks are its predecessor's (Vivid-VR), and inferred for SATB-VR."""

    num_layers: int = 6


class ControlNet(Backbone):
    """The first blocks of a transformer of its own, which see the low-quality latent; it has no head.

    Its adapter, if any, is named `controlnet`.  Raises ImportError without diffusers.
    """

    CONFIG = ControlConfig
    SIGNATURE = "control_patch_embed.res_block.0.time_mixer.mix_factor"

    def __init__(self, config: ControlConfig) -> None:
        super().__init__(config, library_layers(config, without=HEAD))
        self.control_patch_embed = ControlPatchEmbed(patch_config(config))

    def control(self, noisy: Tensor, lq: Tensor, timestep: int, text: Tensor) -> list[Tensor]:
        """Video tokens [B, N, C] after each block, for latents [B, F, 16, h, w] and rows of text [B, L, T]."""
        select_adapter(self, CONTROL_ADAPTER)
        tokens = self.embed(noisy, text, timestep)
        tokens = tokens.add(self.control_patch_embed(lq, text, tokens.time))
        states = []
        for block in self.blocks:
            tokens = self.advance(block, tokens)
            states.append(tokens.video)
        return states

    def sequence(self) -> list[nn.Module]:
        """The large modules in the order in which they run."""
        return [self.control_patch_embed, *self.blocks]


def patch_config(config: BackboneConfig) -> ControlPatchConfig:
    """The control patch embedding that fits a transformer."""
    return ControlPatchConfig(width=config.width, time=config.time_embed_dim, text=config.text_embed_dim)
