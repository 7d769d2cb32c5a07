"""Look for clips that deblurring makes worse.

    python -m vrx.train.fuzz_deblur --photos DIR --footage DIR [--cases 400] [--seed 0] [--only NUMBER...]
        [--softer] [--checkpoint FILE] [--json FILE] [--hold-out STEM...]

What is seen (photographs, films, soft backgrounds, text, drawings, what is soft by nature; tiny, dark, gray, pale and
letterboxed ones), how it is blurred (not at all, everywhere, or only what moves) and spoiled is drawn for each case
from the seed and its number; some are restored with their width given.  All of the model takes part, over several
frames.  Prints which cases lose more than `LOSS` dB of luma against doing nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vrx.models.base import ChunkSchedule, DeviceChunk
from vrx.models.embedded.checkpoint import EmbeddedNetworks, load_networks
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.runner import restore_scene
from vrx.networks.embedded.blur import LUMA
from vrx.train.blurred import Clip
from vrx.train.diagnosis import to_tensor
from vrx.train.fuzz_cases import Case, Material, draw_case
from vrx.weights.hashes import packaged_path

LOSS = 0.1  # dB
BORDER = 8  # pixels that do not count; of small pictures an eighth of a side
UNSEEN = 1e-8  # of squared differences in 0..1


def chunks_of(clip: Tensor, schedule: ChunkSchedule) -> Iterator[DeviceChunk]:
    """A scene [T, 3, H, W] in the model's chunks; its last frame is repeated where frames ahead are asked for."""
    start = 0
    while start < len(clip):
        index = int(start > 0)
        end = start + schedule.size(index)
        follow = range(min(end, len(clip)), min(end, len(clip)) + schedule.lookahead(index))
        ahead = clip[[min(place, len(clip) - 1) for place in follow]] if follow else None
        yield DeviceChunk(clip[start:end].clone(), None, frozenset(() if start else {0}), ahead)
        start = end


def to_clip(frames: Tensor) -> Clip:
    """[T, 3, H, W] in 0..1 as 8 bits [T, H, W, 3]."""
    return (frames.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def restore(case: Case, networks: EmbeddedNetworks) -> tuple[Clip, str]:
    """A case after deblurring, as 8 bits, and what the model says of it."""
    options = EmbeddedOptions(task="deblur", sigma=case.sigma)
    restorer = EmbeddedRestorer(options, networks, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        done = list(restore_scene(restorer, chunks_of(to_tensor(case.low), restorer.schedule)))
    text = "; ".join(note.text for chunk in done for note in chunk.notes)
    return to_clip(torch.cat([chunk.frames for chunk in done])), text


def luma_error(clip: Clip, truth: Clip) -> Tensor:
    """Mean squared differences of luma in 0..1, frame by frame [T]."""
    inner = [slice(b, side - b) for side in clip.shape[1:3] for b in (min(BORDER, side // 8),)]
    apart = (clip[:, inner[0], inner[1]].astype(np.float64) - truth[:, inner[0], inner[1]]) / 255
    return torch.from_numpy((apart @ np.array(LUMA)) ** 2).mean((1, 2)).clamp_min(UNSEEN)


def gain(case: Case, out: Clip) -> tuple[float, float]:
    """dB of luma before, and those won, means of the frames."""
    before, after = (-10 * luma_error(clip, case.truth).log10() for clip in (case.low, out))
    return float(before.mean()), float((after - before).mean())


def conclude(rows: list[dict[str, Any]], path: Path | None) -> int:
    """Print how many rows lose by their `gain`, and write them as JSON; 1 where any does, else 0."""
    gains = np.array([row["gain"] for row in rows])
    print(f"{len(rows)} cases: {(gains < -LOSS).sum()} lose more than {LOSS} dB, mean {gains.mean():+.2f} dB")  # noqa: T201
    if path:
        path.write_text(json.dumps(rows, indent=1))
    return int((gains < -LOSS).any())


def main() -> int:
    """Draw, restore, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--footage", type=Path, required=True)
    parser.add_argument("--hold-out", nargs="*", default=[], help="file stems that are not used")
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--softer", action="store_true", help="cases that are smaller, and more that is soft by nature")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of single cases")
    parser.add_argument("--checkpoint", type=Path, help="in place of the one that ships")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    networks = load_networks(args.checkpoint or packaged_path("embedded.safetensors"))
    material, rows = Material(args.photos, args.footage, args.hold_out), []
    for number in args.only or range(args.cases):
        case = draw_case(material, args.seed, number, args.softer)
        out, text = restore(case, networks)
        before, won = gain(case, out)
        rows.append({"case": number, "what": case.words, "before": before, "gain": won, "note": text})
        if won < -LOSS or args.only:
            print(f"{number:5d} {before:6.2f} dB {won:+6.2f}  {case.words} | {text}", flush=True)  # noqa: T201
    return conclude(rows, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
