"""The classical estimates that the embedded network adds its residual to.

Pure functions on float tensors in 0..1.  They know no network, no file and no device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL_RADIUS = 30  # pixels; a 61 x 61 kernel holds a Gaussian of sigma 6 to five deviations
CUBIC_SHARPNESS = -0.75  # Keys' a, as image programs have it
CUBIC_REACH = 2  # pixels of the cubic kernel on either side
LANCZOS_REACH = 4  # the same of Lanczos' kernel
WIENER_MARGIN = 64  # pixels reflected around the picture so that the transform's wrap-around stays outside
WIENER_NOISE = 4e-4  # noise-to-signal power ratio of the Wiener filter
FILL_SIGMAS = ((0.8, 1.0), (2.0, 1e-2), (6.0, 1e-4), (18.0, 1e-6))  # pixels, weight of that scale
FILL_POOL = 4  # fills wider than this many pixels are computed on block sums of this size


def gaussian(sigma: float, radius: int, like: Tensor) -> Tensor:
    """A normalized line of 2 * radius + 1 Gaussian weights; `sigma` in pixels, > 0."""
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64)
    line = torch.exp(-(axis**2) / (2 * sigma**2))
    return (line / line.sum()).to(like)


def separable(x: Tensor, line: Tensor, mode: str = "reflect") -> Tensor:
    """Filter [N, C, H, W] by `line` along both axes; the border is extended by `mode`."""
    radius, channels = len(line) // 2, x.shape[1]
    if mode == "reflect" and radius >= min(x.shape[-2:]):
        mode = "replicate"
    x = F.pad(x, (radius,) * 4, mode=mode)
    x = x.contiguous(memory_format=torch.channels_last)  # ten times the speed on a CPU
    x = F.conv2d(x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def bicubic(x: Tensor, scale: int) -> Tensor:
    """Enlarge [N, C, H, W] by an integer factor with Keys' cubic (a = -0.75), half-pixel centers."""
    return F.interpolate(x, scale_factor=scale, mode="bicubic")


def bicubic_grid(x: Tensor, scale: int) -> Tensor:
    """`bicubic` with its samples still on the source's grid: [N, C, H, W] to [N, C scale^2, H, W], for a pixel shuffle.

    On a CPU it is one convolution, at a third of the time: every place between the source's pixels has
    weights of its own that hold everywhere.  Elsewhere convolutions may round to less than float32.
    """
    if x.device.type != "cpu":
        return F.pixel_unshuffle(bicubic(x, scale), scale)
    channels, reach = x.shape[1], CUBIC_REACH
    line = polyphase_line(cubic, reach, scale)
    kernel = torch.einsum("py,qx->pqyx", line, line).flatten(0, 1).to(x)
    weight = x.new_zeros(channels, len(kernel), channels, *kernel.shape[1:])
    weight[range(channels), :, range(channels)] = kernel
    padded = F.pad(x, (reach,) * 4, mode="replicate").contiguous(memory_format=torch.channels_last)
    return F.conv2d(padded, weight.flatten(0, 1).contiguous(memory_format=torch.channels_last))


def cubic(distance: Tensor) -> Tensor:
    """Keys' interpolation kernel with a = -0.75 (Keys, 1981) at distances in pixels, of any shape."""
    t, a = distance.abs(), CUBIC_SHARPNESS
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0.0))


def polyphase_line(kernel: Callable[[Tensor], Tensor], reach: int, scale: int) -> Tensor:
    """Weights of an interpolation `kernel` for each place between pixels, float64: [scale, 2 reach + 1]."""
    places = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    return kernel(places[:, None] - torch.arange(-reach, reach + 1))


def lanczos_kernel(distance: Tensor) -> Tensor:
    """The sinc window of LANCZOS_REACH lobes (Duchon, 1979) at distances in pixels, not yet normalized."""
    near = torch.sinc(distance) * torch.sinc(distance / LANCZOS_REACH)
    return torch.where(distance.abs() < LANCZOS_REACH, near, 0.0)


def lanczos(x: Tensor, scale: int) -> Tensor:
    """Enlarge [N, C, H, W] by an integer factor with Lanczos' kernel of four lobes, half-pixel centers."""
    line = polyphase_line(lanczos_kernel, LANCZOS_REACH, scale)
    line = (line / line.sum(1, keepdim=True)).to(x)
    for dim in (2, 3):  # down, then across
        size, reach = x.shape[dim], LANCZOS_REACH
        padding = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
        weight = line.view(scale, 1, -1, 1) if dim == 2 else line.view(scale, 1, 1, -1)
        flat = F.pad(x.flatten(0, 1)[:, None], padding, mode="replicate")
        phases = F.conv2d(flat, weight).movedim(1, dim)  # [N C, ..., size, scale, ...]
        x = phases.flatten(dim - 1, dim).view(*x.shape[:dim], size * scale, *x.shape[dim + 1 :])
    return x


def wiener(x: Tensor, sigma: float, noise: float = WIENER_NOISE) -> Tensor:
    """Undo a Gaussian blur of `sigma` pixels in [N, C, H, W] by a Wiener filter.

    X = Y conj(H) / (|H|^2 + noise), on the reflected picture (Wiener, 1949; Gonzalez and Woods,
    section 5.8).  `sigma` at or below 0 returns the input.
    """
    if sigma <= 0:
        return x

    def undo(spectrum: Tensor, size: tuple[int, int]) -> Tensor:
        line = gaussian(sigma, KERNEL_RADIUS, x)
        rows = torch.fft.fft(wrap_kernel(line, size[0])).real
        columns = torch.fft.rfft(wrap_kernel(line, size[1])).real
        transfer = rows[:, None] * columns[None, :]
        return spectrum * (transfer / (transfer**2 + noise))

    return filter_padded(x, undo)


def filter_padded(x: Tensor, change: Callable[[Tensor, tuple[int, int]], Tensor]) -> Tensor:
    """[N, C, H, W] with its spectrum changed; the picture is reflected, so that what wraps around stays outside.

    `change` takes the spectrum [N, C, h, w // 2 + 1] of `torch.fft.rfft2` and the size (h, w).
    """
    height, width = x.shape[-2:]
    pad_y, pad_x = min(WIENER_MARGIN, height - 1), min(WIENER_MARGIN, width - 1)
    padded = F.pad(x.contiguous(), (pad_x, pad_x, pad_y, pad_y), mode="reflect")
    size = (fast_size(padded.shape[-2]), fast_size(padded.shape[-1]))
    extra = (0, size[1] - padded.shape[-1], 0, size[0] - padded.shape[-2])
    padded = F.pad(padded, extra, mode="replicate")
    restored: Tensor = torch.fft.irfft2(change(torch.fft.rfft2(padded), size), s=size)
    return restored[..., pad_y : pad_y + height, pad_x : pad_x + width]


def wrap_kernel(line: Tensor, size: int) -> Tensor:
    """A centered line as a circular kernel of `size` samples with its middle at index 0."""
    radius = len(line) // 2
    index = torch.arange(-radius, radius + 1, device=line.device) % size
    return torch.zeros(size, dtype=line.dtype, device=line.device).index_add_(0, index, line)


def fast_size(size: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5."""
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1


def smooth_fill(x: Tensor, mask: Tensor) -> Tensor:
    """Fill the masked pixels of [N, C, H, W] from their surroundings, known pixels untouched.

    `mask` is [N, 1, H, W], 1 where a pixel is missing.  A sum of normalized Gaussians (Knutsson and
    Westin, 1993) from narrow to wide, each a hundred times weaker than the one before: the nearest
    knowledge decides.  A picture without any known pixel becomes mid-gray.
    """
    known = 1 - mask
    stack = torch.cat([x * known, known], 1)  # [N, C + 1, H, W]
    height, width = x.shape[-2:]
    total = torch.zeros_like(stack)
    for sigma, weight in FILL_SIGMAS:
        if sigma <= FILL_POOL:
            total = total + weight * separable(stack, gaussian(sigma, round(3 * sigma), x), "constant")
    extra = (0, -width % FILL_POOL, 0, -height % FILL_POOL)
    pooled = F.avg_pool2d(F.pad(stack, extra), FILL_POOL)
    coarse = torch.zeros_like(pooled)
    for sigma, weight in FILL_SIGMAS:
        if sigma > FILL_POOL:
            line = gaussian(sigma / FILL_POOL, round(3 * sigma / FILL_POOL), x)
            coarse = coarse + weight * separable(pooled, line, "constant")
    wide = F.interpolate(coarse, scale_factor=FILL_POOL, mode="bilinear")
    total = total + wide[..., :height, :width]
    tiny = torch.finfo(torch.float32).tiny * 1e6
    filled = (total[:, :-1] + 0.5 * tiny) / (total[:, -1:] + tiny)
    return x * known + filled * mask
