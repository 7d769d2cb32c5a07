"""Pack training material into a folder small enough to travel: photographs, clips, and the clips once compressed.

    python -m vrx.train.material --photos DIR --clips DIR --out DIR [--hold-out STEM...]

`photos/*.webp` are shrunk photographs; `clips/NAME.mp4` short runs of natural motion at 640x360 or so;
`coded/NAME.SCALE.GENERATIONS.mkv` the same runs shrunk by SCALE and encoded as people's video is, once or more
often, frame for frame; `index.json` names them, with each run's first frame.  Clips that are held out get an index
of their own.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from vrx.train.degrade import quantize, shrink
from vrx.train.generations import COMBED, Generation, decode, encode, store

PHOTO_SIDE = 416  # pixels, the shorter side
PHOTO_QUALITY = 72  # of WebP
CLIP_SIDE = 360  # pixels, the shorter side
RUN = 24  # consecutive frames that are stored together
TRUTH = Generation("h264", 17)
OLD_SHARE = 4  # of these, other ones for each clip and scale: old encoders take much room
OLD = (  # what film on tape, discs, cameras and the web went through
    (Generation("hevc", 28),),
    (Generation("hevc", 34),),
    (Generation("mpeg2", 8),),
    (Generation("mjpeg", 9),),
    (Generation("mpeg4", 6), Generation("h264", 27)),
    (Generation("mpeg2", 5), Generation("h264", 30)),
    (Generation("h264", 30), Generation("h264", 30)),
    (Generation(COMBED, 0.35), Generation("mpeg2", 5)),
)
CODED = {  # scale: the generations of its copies
    4: (
        *((Generation("h264", crf),) for crf in (23, 26, 29, 33, 37)),
        *((Generation("mpeg4", quantizer),) for quantizer in (5, 12)),
    ),
    2: (*((Generation("h264", crf),) for crf in (24, 28, 32, 36)), (Generation("mpeg4", 8),)),
}


def photo(path: Path) -> np.ndarray:
    """A still as uint8 [H, W, 3] (BGR), shrunk to the side that is stored."""
    with av.open(str(path)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="bgr24")
    factor = PHOTO_SIDE / min(image.shape[:2])
    if factor >= 1:
        return image
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def runs(path: Path, count: int) -> list[np.ndarray]:
    """`count` runs of RUN frames spread over a video, uint8 [T, H, W, 3] in RGB, even sides."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            image = frame.to_ndarray(format="rgb24")
            factor = max(1.0, min(image.shape[:2]) / CLIP_SIDE)
            size = [round(side / factor) // 4 * 4 for side in (image.shape[1], image.shape[0])]
            frames.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor > 1 else image)
    count = max(1, min(count, len(frames) // RUN))
    starts = np.linspace(0, max(0, len(frames) - RUN), count).round().astype(int)
    return [np.stack(frames[start : start + RUN]) for start in starts]


def shrunk(frames: np.ndarray, scale: int) -> np.ndarray:
    """Bicubic with anti-aliasing, sides cut to whole even results; uint8 [T, H, W, 3]."""
    step = 2 * scale
    frames = frames[:, : frames.shape[1] // step * step, : frames.shape[2] // step * step]
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    return (quantize(shrink(x, scale)) * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def store_clip(path: Path, out: Path, count: int) -> dict[str, object]:
    """One clip's runs joined in a file, and its coded copies; what the index holds of it."""
    target = out / "clips" / f"{path.stem}.mp4"
    frames = np.concatenate(runs(path, count))
    encode(target, frames, TRUTH)
    frames = decode(target)
    copies = []
    for scale, copies_of in CODED.items():
        low = shrunk(frames, scale)
        old = random.Random(f"{path.stem} {scale}").sample(OLD, OLD_SHARE)
        for generations in (*copies_of, *old):
            name = f"{path.stem}.{scale}.{'+'.join(map(str, generations))}.mkv"
            store(out / "coded" / name, low, generations)
            copies.append({"file": name, "scale": scale, "qp": max(g.qp for g in generations)})
    return {"file": target.name, "frames": len(frames), "run": RUN, "coded": copies}


def main() -> None:
    """Pack everything and report the size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="files, with :N for N runs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hold-out", nargs="*", default=[], help="stems of clips reserved for validation")
    args = parser.parse_args()
    for name in ("photos", "clips", "coded"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    index: dict[str, list[object]] = {"train": [], "hold_out": []}
    for item in args.clips:
        name, _, count = str(item).partition(":")
        held = Path(name).stem in args.hold_out
        entry = store_clip(Path(name), args.out, int(count or 2))
        index["hold_out" if held else "train"].append(entry)
        print(name, entry["frames"], flush=True)  # noqa: T201
    (args.out / "index.json").write_text(json.dumps(index))
    for path in sorted(args.photos.iterdir()):
        quality = [cv2.IMWRITE_WEBP_QUALITY, PHOTO_QUALITY]
        cv2.imwrite(str(args.out / "photos" / f"{path.stem}.webp"), photo(path), quality)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{size / 1e6:.1f} MB in {args.out}")  # noqa: T201


if __name__ == "__main__":
    main()
