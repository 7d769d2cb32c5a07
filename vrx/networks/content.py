"""Content difference of two pictures, as scene detectors measure it.  Pure."""

from __future__ import annotations

import torch
from torch import Tensor

HUES, LEVELS = 180.0, 255.0  # 8-bit hue counts half degrees


def hue_saturation_value(picture: Tensor) -> Tensor:
    """[3, H, W] RGB in 0..1 to hue 0..180, saturation and value 0..255, as 8-bit pictures store them."""
    top, which = picture.max(0)
    spread = top - picture.min(0).values
    r, g, b = picture
    safe = spread.clamp_min(1e-12)
    sectors = torch.stack([(g - b) / safe, 2 + (b - r) / safe, 4 + (r - g) / safe])
    hue = sectors.gather(0, which[None])[0] % 6 / 6 * HUES
    hue = torch.where(spread > 0, hue, 0.0)
    saturation = torch.where(top > 0, spread / top.clamp_min(1e-12), 0.0) * LEVELS
    return torch.stack([hue.round() % HUES, saturation.round(), (top * LEVELS).round()])


def content_change(a: Tensor, b: Tensor) -> float:
    """Mean absolute difference of hue, saturation and value of pictures [3, H, W]: PySceneDetect's content score."""
    return float((hue_saturation_value(a) - hue_saturation_value(b)).abs().mean())
