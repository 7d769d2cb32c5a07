"""Colors as ordinary screens show them: pictures of wide brightness (HDR) are made to fit."""

from __future__ import annotations

import torch
from torch import Tensor

from vrx.media.frame import Color

PQ, HLG = "smpte2084", "arib-std-b67"  # ffmpeg's names of the transfers of HDR
PQ_POWERS = (2610 / 16384, 2523 / 4096 * 128)  # SMPTE ST 2084: m1, m2
PQ_PARTS = (3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32)  # c1, c2, c3
PQ_PEAK, HLG_PEAK, WHITE = 10_000, 1_000, 203  # cd/m2: of both transfers, and of white on an ordinary screen (BT.2408)
HLG_PARTS = (0.17883277, 0.28466892, 0.55991073)  # ITU-R BT.2100: a, b, c
HLG_GAMMA = 1.2  # of the system, at HLG_PEAK
KNEE = 0.7  # of white: brighter light is compressed
GAMMA = 2.2  # of an ordinary screen
BT2020_TO_BT709 = (  # of linear light, ITU-R BT.2087
    (1.6605, -0.5876, -0.0728),
    (-0.1246, 1.1329, -0.0083),
    (-0.0182, -0.1006, 1.1187),
)


def is_hdr(color: Color) -> bool:
    """Whether colors mean more light than an ordinary screen gives."""
    return color.transfer in (PQ, HLG)


def to_display(colors: Tensor, color: Color) -> Tensor:
    """Colors [3, H, W] in 0..1 as they are tagged, for an ordinary screen; those that are not HDR stay."""
    if not is_hdr(color):
        return colors
    light = from_pq(colors) if color.transfer == PQ else from_hlg(colors)
    if color.primaries in ("", "bt2020"):
        rows = torch.tensor(BT2020_TO_BT709, device=light.device)
        light = (rows @ light.flatten(1)).view_as(light).clamp_(min=0)
    brightest = light.amax(0, keepdim=True).clamp(min=1e-6)
    over = ((brightest - KNEE) / (1 - KNEE)).clamp(min=0)
    fitted = torch.where(over > 0, KNEE + (1 - KNEE) * (1 - torch.exp(-over)), brightest)
    return (light * (fitted / brightest)).clamp(0, 1) ** (1 / GAMMA)


def from_pq(colors: Tensor) -> Tensor:
    """Light, white of an ordinary screen being 1."""
    (m1, m2), (c1, c2, c3) = PQ_POWERS, PQ_PARTS
    powered = colors.clamp(0, 1) ** (1 / m2)
    return ((powered - c1).clamp(min=0) / (c2 - c3 * powered)) ** (1 / m1) * (PQ_PEAK / WHITE)


def from_hlg(colors: Tensor) -> Tensor:
    """Light, white of an ordinary screen being 1."""
    a, b, c = HLG_PARTS
    signal = colors.clamp(0, 1)
    scene = torch.where(signal <= 0.5, signal**2 / 3, (torch.exp((signal - c) / a) + b) / 12)
    luma = (scene * scene.new_tensor((0.2627, 0.6780, 0.0593))[:, None, None]).sum(0, keepdim=True)
    return scene * luma.clamp(min=1e-6) ** (HLG_GAMMA - 1) * (HLG_PEAK / WHITE)
