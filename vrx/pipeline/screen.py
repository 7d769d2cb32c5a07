"""HDR for an ordinary screen, for people to look at; nothing is measured on it."""

from __future__ import annotations

import torch
from torch import Tensor

PQ, HLG = "smpte2084", "arib-std-b67"  # ffmpeg's names of transfer functions
HDR = {PQ: "PQ", HLG: "HLG"}
WHITE = 203.0  # cd/m2 of white; ITU-R BT.2408
KNEE = 0.7  # of white: brighter light is compressed, darker light is shown as it is
GAMMA = 2.2  # of an ordinary screen
M1, M2, C1, C2, C3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875  # SMPTE ST 2084
PQ_PEAK = 10_000.0  # cd/m2
A, B, C = 0.17883277, 0.28466892, 0.55991073  # ITU-R BT.2100, HLG
HLG_PEAK, SYSTEM_GAMMA = 1000.0, 1.2  # cd/m2 of a screen for HLG, and what that takes
LUMA = (0.2627, 0.6780, 0.0593)  # ITU-R BT.2020
TO_BT709 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))  # ITU-R BT.2087


def to_screen(colors: Tensor, transfer: str) -> Tensor:
    """Colors [3, H, W] in 0..1 for an ordinary screen: HDR in BT.2020 is made darker where it comes near white.

    Any other transfer function is left as it is.
    """
    if transfer not in HDR:
        return colors.clamp(0, 1)
    light = (pq_light if transfer == PQ else hlg_light)(colors.clamp(0, 1)) / WHITE
    linear = torch.einsum("ij,jhw->ihw", light.new_tensor(TO_BT709), light).clamp_min(0)
    brightest = linear.amax(0, keepdim=True).clamp_min(1e-6)
    over = ((brightest - KNEE) / (1 - KNEE)).clamp_min(0)
    fitted = torch.where(over > 0, KNEE + (1 - KNEE) * (1 - torch.exp(-over)), brightest)
    return (linear * (fitted / brightest)).clamp(0, 1) ** (1 / GAMMA)  # all three alike: hues stay


def pq_light(values: Tensor) -> Tensor:
    """Light in cd/m2 of PQ's values in 0..1."""
    power = values ** (1 / M2)
    return PQ_PEAK * ((power - C1).clamp_min(0) / (C2 - C3 * power)) ** (1 / M1)


def hlg_light(values: Tensor) -> Tensor:
    """Light in cd/m2, on a screen of HLG_PEAK, of HLG's values [3, H, W] in 0..1."""
    scene = torch.where(values <= 0.5, values**2 / 3, (((values - C) / A).exp() + B) / 12)
    luma = torch.einsum("i,ihw->hw", values.new_tensor(LUMA), scene)
    return HLG_PEAK * luma.clamp_min(1e-9) ** (SYSTEM_GAMMA - 1) * scene
