"""Evaluation of the embedded network: its gain over the classical estimate, with and without its cache.

    python -m vrx.train.evaluate --checkpoint FILE --clips DIR [--frames 10]

Every clip is degraded, restored once with the rolling cache and once without, and compared with the
truth: dB of luma over the classical estimate, in the first frame of the scene, in the last one, and in
the last one with the cache off.  Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import av
import torch
from torch import Tensor

from vrx.models.base import DeviceChunk
from vrx.models.embedded.checkpoint import load_networks
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.runner import restore_scene
from vrx.networks.embedded.classical import bicubic, smooth_fill, wiener
from vrx.train import degrade
from vrx.train.validate import LUMA

BORDER = 8  # pixels left out
BLOCK = 32  # sides are cut to multiples of it


def read_clip(path: Path, frames: int) -> Tensor:
    """The first frames of a video, [T, 3, H, W] in 0..1."""
    pictures = []
    with av.open(str(path)) as box:
        for picture in box.decode(video=0):
            pictures.append(torch.from_numpy(picture.to_ndarray(format="rgb24")).permute(2, 0, 1))
            if len(pictures) == frames:
                break
    clip = torch.stack(pictures).float() / 255
    return clip[..., : clip.shape[-2] // BLOCK * BLOCK, : clip.shape[-1] // BLOCK * BLOCK]


def psnr(out: Tensor, truth: Tensor) -> Tensor:
    """dB of luma for every frame of [T, 3, H, W]."""
    weights = torch.tensor(LUMA).view(1, 3, 1, 1) / 255
    error = ((degrade.quantize(out) - truth) * weights).sum(1)[..., BORDER:-BORDER, BORDER:-BORDER]
    return -10 * torch.log10(error.square().mean((-1, -2)).clamp_min(1e-10))


def restored(restorer: EmbeddedRestorer, low: Tensor, mask: Tensor | None) -> Tensor:
    """All frames of a scene in one chunk; after its last frame the scene stands still."""
    still = low[-1:].expand(restorer.schedule.ahead, *low.shape[1:])
    (chunk,) = restore_scene(restorer, [DeviceChunk(low, mask, frozenset({0}), still if len(still) else None)])
    return chunk.frames


def tasks() -> dict[str, tuple[EmbeddedOptions, Callable[[Tensor], tuple[Tensor, Tensor | None, Tensor]]]]:
    """Name to options and degradation: the low clip, its mask, and the classical estimate."""

    def shrunk(x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        low = degrade.quantize(degrade.shrink(x, 4))
        return low, None, bicubic(low, 4)

    def blurred(x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        low = degrade.quantize(degrade.gaussian_blur(x, 3.0))
        return low, None, wiener(low, 3.0)

    def holed(x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        generator = torch.Generator().manual_seed(7)
        mask = (torch.rand(1, 1, *x.shape[-2:], generator=generator) < 0.5).float().expand(len(x), -1, -1, -1)
        return x * (1 - mask), mask, smooth_fill(x, mask)

    def covered(x: Tensor, step: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """A box of an eighth of the width in the middle, which moves by `step` pixels a frame."""
        height, width = x.shape[-2:]
        mask, side = torch.zeros_like(x[:, :1]), width // 8
        for number, frame in enumerate(mask):
            left = (width // 4 + step * number) % (width - side)
            frame[:, (height - side) // 2 : (height + side) // 2, left : left + side] = 1
        return x * (1 - mask), mask, smooth_fill(x, mask)

    return {
        "upscale x4": (EmbeddedOptions(task="upscale", scale=4), shrunk),
        "deblur, sigma 3": (EmbeddedOptions(task="deblur", sigma=3.0), blurred),
        "inpaint, half of the pixels": (EmbeddedOptions(task="inpaint"), holed),
        "inpaint, a box": (EmbeddedOptions(task="inpaint"), lambda x: covered(x, 0)),
        "inpaint, a moving box": (EmbeddedOptions(task="inpaint"), lambda x: covered(x, 6)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="folders of short single-shot clips")
    parser.add_argument("--frames", type=int, default=10)
    args = parser.parse_args()
    clips = [read_clip(p, args.frames) for folder in args.clips for p in sorted(folder.iterdir())]
    print("| task | first frame | last frame | last frame, memory off |\n|---|---|---|---|")  # noqa: T201
    with torch.inference_mode():
        for name, (options, spoil) in tasks().items():
            gains = []
            for truth in clips:
                low, mask, base = spoil(truth)
                plain = psnr(base, truth)
                row = []
                for remember in (True, False):
                    restorer = EmbeddedRestorer(
                        options, load_networks(args.checkpoint), torch.device("cpu"), torch.float32, remember
                    )
                    row.append(psnr(restored(restorer, low, mask), truth) - plain)
                gains.append(torch.stack([row[0][0], row[0][-1], row[1][-1]]))
            first, last, alone = torch.stack(gains).mean(0).tolist()
            print(f"| {name} | {first:+.2f} dB | {last:+.2f} dB | {alone:+.2f} dB |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
