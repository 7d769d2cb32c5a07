"""Moving clips from photographs, rendered in batches on the device: crops on affine paths, what passes in front, text.

Knows uint8 stacks of pictures; does not know files, degradations or networks.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SPEEDS = (0.0, 0.4, 1.0, 2.5, 6.0)  # pixels a frame
SHAKES = (0.0, 0.0, 0.3, 1.0)  # deviation, pixels
LAYERS = (0.5, 0.35, 0.15)  # shares of clips with nothing, a second photograph, text in front
TILT = 0.006  # deviation of turn (radians) and zoom (share) a frame, in half of the clips
VIVID = 2.5  # how many times as far from gray the colors of some clips get
PITCH = (0.95, 1.35)  # photograph's pixels a pixel of the clip
WORDS = ("vrx", "Kino", "SAMPLE", "news 24", "Ende", "LIVE", "12:30", "Restaurant", "film", "2026")


def uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    """`count` numbers between two."""
    return torch.rand(count, device=device) * (high - low) + low


def choice(count: int, values: tuple[float, ...], device: torch.device) -> Tensor:
    """`count` of some values, each as likely."""
    return torch.tensor(values, device=device)[torch.randint(len(values), (count,), device=device)]


def text_bank(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Pictures of lettering, uint8 [N, 1, H, W]."""
    rng, pictures = np.random.default_rng(seed), []
    for _ in range(count):
        canvas = np.zeros((height, width), np.uint8)
        for _ in range(8):
            place = (int(rng.integers(-30, width)), int(rng.integers(height)))
            word = str(rng.choice(WORDS)) + " " + str(rng.choice(WORDS))
            size, thick = float(rng.uniform(0.4, 2.0)), int(rng.integers(1, 5))
            cv2.putText(canvas, word, place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, thick, cv2.LINE_AA)
        pictures.append(canvas)
    return torch.from_numpy(np.stack(pictures))[:, None]


def paths(count: int, frames: int, device: torch.device) -> Tensor:
    """Per frame: x and y offset in pixels, angle, zoom; [N, T, 4]."""
    time = torch.arange(frames, device=device) - (frames - 1) / 2
    speed, heading = choice(count, SPEEDS, device), uniform(count, 0, 2 * math.pi, device)
    shake = choice(count, SHAKES, device)[:, None, None] * torch.randn(count, frames, 2, device=device)
    velocity = torch.stack([speed * heading.cos(), speed * heading.sin()], -1)
    tilt = torch.randn(count, 2, device=device) * TILT * (torch.rand(count, 2, device=device) < 0.5)
    place = velocity[:, None] * time[:, None] + shake
    turned = tilt[:, None] * time[:, None]
    return torch.cat([place, turned[..., :1], 1 + turned[..., 1:]], -1)


def places(path: Tensor, side: int, size: tuple[int, int], pitch: Tensor, fine: int) -> Tensor:
    """Where a moving window looks: [N, T x fine side, fine side, 2] in -1..1 of pictures of `size`."""
    count, frames = path.shape[:2]
    device = path.device
    axis = (torch.arange(fine * side, device=device) + 0.5) / fine - side / 2
    gy, gx = torch.meshgrid(axis, axis, indexing="ij")
    scale = pitch[:, None] * path[..., 3]
    c, s = (path[..., 2].cos() * scale)[..., None, None], (path[..., 2].sin() * scale)[..., None, None]
    free = [((extent - side * pitch) / 2).clamp_min(0) for extent in size]
    center = [extent / 2 + uniform(count, -1, 1, device) * room for extent, room in zip(size, free, strict=True)]
    x = center[1][:, None, None, None] + c * gx - s * gy + (path[..., 0] * pitch[:, None])[..., None, None]
    y = center[0][:, None, None, None] + s * gx + c * gy + (path[..., 1] * pitch[:, None])[..., None, None]
    grid = torch.stack([2 * x / size[1] - 1, 2 * y / size[0] - 1], -1)
    return grid.view(count, frames * fine * side, fine * side, 2)


def render(pictures: Tensor, path: Tensor, side: int, pitch: Tensor) -> Tensor:
    """Pictures [N, C, H, W] seen through moving windows, [N, T, C, side, side]; drawn at twice the size."""
    grid = places(path, side, (pictures.shape[-2], pictures.shape[-1]), pitch, 2)
    seen = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    seen = seen.view(*pictures.shape[:2], path.shape[1], 2 * side, 2 * side)
    return F.avg_pool2d(seen.flatten(0, 2)[:, None], 2).view(*seen.shape[:3], side, side).transpose(1, 2)


def blobs(count: int, height: int, width: int, device: torch.device) -> Tensor:
    """Smooth random shapes with sharp edges [N, 1, H, W] in 0..1."""
    cells = (int(torch.randint(3, 9, ())), int(torch.randint(3, 9, ())))
    field = F.interpolate(torch.randn(count, 1, *cells, device=device), (height, width), mode="bicubic")
    level = uniform(count, 0.0, 0.8, device)[:, None, None, None]
    return ((field - level) * 60).clamp(-0.5, 0.5) + 0.5


def sharpen_or_soften(clips: Tensor) -> Tensor:
    """Half of the clips [N, T, 3, H, W] sharpened a little, a quarter softened."""
    count, device = len(clips), clips.device
    line = torch.exp(-(torch.arange(-3, 4, device=device) ** 2) / (2 * uniform(1, 0.7, 1.3, device) ** 2))
    line = line / line.sum()
    flat = F.pad(clips.flatten(0, 2)[:, None], (3, 3, 3, 3), mode="reflect")
    soft = F.conv2d(F.conv2d(flat, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1)).view_as(clips)
    kind = torch.rand(count, device=device)
    amount = torch.where(kind < 0.5, uniform(count, 0.0, 0.7, device), torch.zeros_like(kind))
    amount = torch.where(kind > 0.75, -uniform(count, 0.3, 1.0, device), amount)
    return clips + (clips - soft) * amount[:, None, None, None, None]


class Photographs:
    """Draws clips from stacks on a device: photographs uint8 [N, 3, H, W] and lettering uint8 [M, 1, H, W]."""

    def __init__(self, photos: Tensor, texts: Tensor) -> None:
        self._photos, self._texts = photos, texts

    def to(self, device: torch.device) -> Photographs:
        """The same on a device."""
        return Photographs(self._photos.to(device), self._texts.to(device))

    @property
    def count(self) -> int:
        """How many photographs there are."""
        return len(self._photos)

    def _pictures(self, count: int) -> Tensor:
        index = torch.randint(len(self._photos), (count,), device=self._photos.device)
        pictures = self._photos[index].float() / 255
        return pictures.flip(-1) if torch.rand(()) < 0.5 else pictures

    def _front(self, count: int) -> Tensor:
        """What passes in front: colors and how opaque, [N, 4, H, W]."""
        device = self._photos.device
        colors = self._pictures(count)
        kind = torch.rand(count, device=device)[:, None, None, None]
        shape = blobs(count, colors.shape[-2], colors.shape[-1], device)
        index = torch.randint(len(self._texts), (count,), device=device)
        letters = self._texts[index].float() / 255
        plain = torch.rand(count, 3, 1, 1, device=device).expand_as(colors)
        written = kind > 1 - LAYERS[2]
        colors, alpha = torch.where(written, plain, colors), torch.where(written, letters, shape)
        return torch.cat([colors, alpha * (kind > LAYERS[0])], 1)

    def draw(self, count: int, frames: int, side: int) -> Tensor:
        """Clips [N, T, 3, side, side] in 0..1, not rounded."""
        device = self._photos.device
        pitch = uniform(count, *PITCH, device) * (1.0 if side >= 300 else 1.15)
        back = render(self._pictures(count), paths(count, frames, device), side, pitch)
        front = render(self._front(count), paths(count, frames, device), side, pitch)
        colors, alpha = front[:, :, :3], front[:, :, 3:]
        return sharpen_or_soften(back * (1 - alpha) + colors * alpha).clamp(0, 1)


def saturate(clips: Tensor, factor: Tensor | float) -> Tensor:
    """Clips [N, T, 3, S, S] in 0..1 with colors `factor` times as far from gray, clipped; one factor or [N]."""
    gray, factor = clips.mean(-3, keepdim=True), torch.as_tensor(factor, device=clips.device).view(-1, 1, 1, 1, 1)
    return (gray + (clips - gray) * factor).clamp(0, 1)


def vary(clips: Tensor) -> Tensor:
    """Clips [N, T, 3, S, S] in 0..1 flipped, turned, brighter or darker, some with other colors or paler or vivid ones.

    Vivid ones matter for what is fed back: where they are rare in training, features grow from frame to frame.
    """
    count, device = len(clips), clips.device
    parts = []
    for clip, draw in zip(clips, torch.rand(count, 4).tolist(), strict=True):
        clip = clip.flip(-1) if draw[0] < 0.5 else clip
        clip = clip.flip(-2) if draw[1] < 0.3 else clip
        clip = clip.transpose(-1, -2) if draw[2] < 0.5 else clip
        parts.append(clip.flip(1) if draw[3] < 0.15 else clip)
    gain = torch.where(torch.rand(count, device=device) < 0.4, uniform(count, 0.6, 1.1, device), 1.0)
    offset = (1 - gain).clamp_min(0) * uniform(count, 0, 1, device)
    clips = (torch.stack(parts) * gain.view(-1, 1, 1, 1, 1) + offset.view(-1, 1, 1, 1, 1)).clamp(0, 1)
    other = torch.rand(count, device=device) < 0.25
    return saturate(clips, torch.where(other, uniform(count, 0.3, VIVID, device), 1.0))
