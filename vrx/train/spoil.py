"""Degradations of video in batches on the device: noise, tape, resizing, a codec.

Functions of clips [N, T, 3, H, W] in 0..1 and of the levels of
`vrx.networks.embedded.degradation`: noise (a deviation of
NOISE_UNIT is 1), compression (QP of H.264, `strength_of`), softness (the factor of a resize and back, less 1).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.diagnosis import DOUBLING, UNIT_STEP
from vrx.train.synthesis import uniform

BLOCK = 8  # pixels
MACROBLOCK = 16
DEAD_ZONES = {"intra": 1 / 3, "inter": 1 / 6}  # what is added before rounding down
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # ITU-R BT.601


def strength_of(qp: Tensor) -> Tensor:
    """Compression of a quantizer on the scale of H.264: 0 at QP 17, 1 at 37."""
    return ((qp - 17) / 20).clamp_min(0)


def qp_of_step(step: float) -> float:
    """The QP of H.264 whose quantizer step, in levels of 255, this is."""
    return DOUBLING * math.log2(step / UNIT_STEP)


def quantizer_step(qp: Tensor) -> Tensor:
    """Levels of 255 between quantized coefficients of an orthonormal transform."""
    return UNIT_STEP * torch.exp2(qp / DOUBLING)


def add_noise(clips: Tensor, deviation: Tensor) -> Tensor:
    """Noise of `deviation` [N], anew in every frame: colors alike or apart, even or with the light, white or coarse."""
    count, device = len(clips), clips.device
    shape = (count, 1, 1, 1, 1)
    apart = torch.randn_like(clips)
    alike = torch.randn_like(clips[:, :, :1])
    share = torch.where(torch.rand(count, device=device) < 0.6, 0.0, uniform(count, 0, 1, device)).view(shape)
    grain = (apart * (1 - share) + alike * share) * (share**2 + (1 - share) ** 2).rsqrt()
    if torch.rand(()) < 0.3:  # coarse, or along the lines
        line = torch.tensor([0.25, 0.5, 0.25], device=device)
        flat = F.conv2d(F.pad(grain.flatten(0, 2)[:, None], (1, 1, 0, 0), mode="replicate"), line.view(1, 1, 1, 3))
        if torch.rand(()) < 0.5:
            flat = F.conv2d(F.pad(flat, (0, 0, 1, 1), mode="replicate"), line.view(1, 1, 3, 1)) / 0.375**0.5
        grain = flat.view_as(grain) / 0.375**0.5
    light = torch.where(torch.rand(count, device=device) < 0.3, uniform(count, 0, 1, device), 0.0).view(shape)
    level = (1 - light + light * 2 * clips.mean(2, keepdim=True)).clamp_min(0.05).sqrt()
    return clips + grain * level * deviation.view(shape)


def tape(clips: Tensor, deviation: Tensor) -> Tensor:
    """As from VHS: colors at an eighth of the width, noise in luma along the lines and in the colors."""
    matrix = torch.tensor(TO_YCC, device=clips.device)
    x = torch.einsum("ij,ntjhw->ntihw", matrix, clips)
    luma, chroma = x[:, :, :1], x[:, :, 1:]
    width = x.shape[-1]
    line = torch.tensor([0.25, 0.5, 0.25], device=clips.device).view(1, 1, 1, 3)
    grain = torch.randn_like(luma) * deviation.view(-1, 1, 1, 1, 1)
    flat = F.conv2d(F.pad((luma + grain).flatten(0, 2)[:, None], (1, 1, 0, 0), mode="replicate"), line)
    small = F.avg_pool2d(chroma.flatten(0, 1), (1, 8))
    small = small + torch.randn_like(small) * deviation.repeat_interleave(x.shape[1]).view(-1, 1, 1, 1) * 0.5
    wide = F.interpolate(small, (x.shape[-2], width), mode="bilinear").view_as(chroma)
    x = torch.cat([flat.view_as(luma), wide], 2)
    return torch.einsum("ij,ntjhw->ntihw", torch.linalg.inv(matrix), x)


def resized(clips: Tensor, factor: float) -> Tensor:
    """Shrunk by `factor` and back, as pictures on the web often were."""
    flat = clips.flatten(0, 1)
    size = [max(8, round(side / factor)) for side in flat.shape[-2:]]
    small = F.interpolate(flat, size, mode="bicubic", antialias=True)
    return F.interpolate(small, flat.shape[-2:], mode="bilinear").view_as(clips)


def transform(side: int, device: torch.device) -> Tensor:
    """The orthonormal cosine transform [side, side]."""
    k = torch.arange(side, dtype=torch.float32, device=device)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / (2 * side)) * math.sqrt(2 / side)
    basis[0] /= 2.0**0.5
    return basis


def quantized(plane: Tensor, step: Tensor, basis: Tensor, dead_zone: float, decimate: bool) -> Tensor:
    """Planes [N, C, H, W] after their blocks' coefficients were rounded to `step` [N]; sides of whole blocks.

    With `decimate` a block that would hold next to nothing holds nothing, as encoders have it.
    """
    side = len(basis)
    count, channels, height, width = plane.shape
    blocks = plane.view(count, channels, height // side, side, width // side, side).transpose(3, 4)
    step = step.view(-1, 1, 1, 1, 1, 1)
    coefficients = basis @ blocks @ basis.T / step
    levels = coefficients.sign() * (coefficients.abs() + dead_zone).floor()
    if decimate:
        levels = levels * (levels.abs().sum((-1, -2), keepdim=True) >= 2)
    decoded = basis.T @ (levels * step) @ basis
    return decoded.transpose(3, 4).reshape(plane.shape)


def deblocked(plane: Tensor, qp: Tensor, side: int) -> Tensor:
    """Planes [N, C, H, W] with small steps across block edges taken down, as H.264's loop filter does."""
    alpha = (0.8 * (torch.exp2(qp / 6) - 1)).view(-1, 1, 1, 1)
    beta = (0.5 * qp - 7).clamp_min(0).view(-1, 1, 1, 1)
    limit = (0.4 * torch.exp2((qp - 18) / 8.5)).view(-1, 1, 1, 1)
    for _ in range(2):  # vertical edges, then, transposed, the others
        plane = plane.transpose(-1, -2).contiguous()
        p1, p0 = plane[..., side - 2 : -side : side], plane[..., side - 1 : -side : side]
        q0, q1 = plane[..., side::side], plane[..., side + 1 :: side]
        smooth = ((p0 - q0).abs() < alpha) & ((p1 - p0).abs() < beta) & ((q1 - q0).abs() < beta)
        delta = (((q0 - p0) * 4 + p1 - q1) / 8).clamp(-limit, limit) * smooth
        plane[..., side - 1 : -side : side] += delta
        plane[..., side::side] -= delta
    return plane


def compensated(plane: Tensor, motion: Tensor) -> Tensor:
    """Planes [N, C, H, W] fetched block by block along `motion` [N, 2, H, W] in pixels, to quarters of one."""
    height, width = plane.shape[-2:]
    blocks = F.avg_pool2d(motion, MACROBLOCK, ceil_mode=True)
    whole = F.interpolate((blocks * 4).round() / 4, scale_factor=MACROBLOCK)[..., :height, :width]
    x = torch.arange(width, device=plane.device) + whole[:, 0]
    y = torch.arange(height, device=plane.device)[:, None] + whole[:, 1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return F.grid_sample(plane, grid, mode="bicubic", padding_mode="border", align_corners=False)


def coded(clips: Tensor, motion: Tensor, qp: Tensor, modern: bool) -> Tensor:
    """Clips after a codec: pictures predicted from the one before, the rest quantized, colors at half the size.

    `motion` [N, T, 2, H, W] in pixels, to the frame before; `qp` [N].  `modern` filters block edges (H.264),
    else it does not (MPEG-2, MPEG-4).  Every clip begins with a picture of its own, or long after one.
    """
    device = clips.device
    matrix = torch.tensor(TO_YCC, device=device)
    height, width = clips.shape[-2:]
    x = torch.einsum("ij,ntjhw->ntihw", matrix, clips) * 255
    extra = (0, -width % MACROBLOCK, 0, -height % MACROBLOCK)
    x = F.pad(x.flatten(0, 1), extra, mode="replicate").view(*x.shape[:3], height + extra[3], width + extra[1])
    motion = F.pad(motion.flatten(0, 1), extra, mode="replicate").view(*motion.shape[:3], *x.shape[-2:])
    luma, chroma = x[:, :, 0:1], F.avg_pool2d(x[:, :, 1:].flatten(0, 1), 2)
    chroma = chroma.view(*x.shape[:2], 2, *chroma.shape[-2:])
    basis = transform(4 if modern and torch.rand(()) < 0.4 else BLOCK, device)
    decoded: list[tuple[Tensor, Tensor]] = []
    for t in range(clips.shape[1]):
        now = (luma[:, t], chroma[:, t])
        if decoded:
            small = F.avg_pool2d(motion[:, t], 2) / 2
            predicted = (compensated(decoded[-1][0], motion[:, t]), compensated(decoded[-1][1], small))
            fresh_qp, zone = qp + 2, DEAD_ZONES["inter"]
        else:
            predicted = (torch.zeros_like(now[0]), torch.zeros_like(now[1]))
            fresh_qp, zone = qp, DEAD_ZONES["intra"]
        step = quantizer_step(fresh_qp)
        y, c = (
            guess + quantized(plane - guess, step, basis, zone, bool(decoded))
            for plane, guess in zip(now, predicted, strict=True)
        )
        decoded.append((deblocked(y, fresh_qp, len(basis)), deblocked(c, fresh_qp, len(basis))) if modern else (y, c))
    luma = torch.stack([y for y, _ in decoded], 1)
    small = torch.stack([c for _, c in decoded], 1)
    wide = F.interpolate(small.flatten(0, 1), scale_factor=2, mode="bilinear").view(*small.shape[:3], *luma.shape[-2:])
    ycc = torch.cat([luma, wide], 2)[..., :height, :width] / 255
    return torch.einsum("ij,ntjhw->ntihw", torch.linalg.inv(matrix), ycc)
