"""Look for clips that enlarging makes worse than plain interpolation does.

    python -m vrx.train.fuzz_enlarge --photos DIR --footage DIR [--scale 2] [--cases 100] [--seed 0]
        [--only NUMBER...] [--pictures DIR] [--checkpoint FILE] [--json FILE] [--hold-out STEM...]

What is seen (films, photographs, text, drawings, patterns, pixel art; tiny, dark, gray, pale and letterboxed ones), how
it was shrunk (eight ways) and spoiled is drawn for each case from the seed and its number.  All of the model takes
part, over several frames.  Prints which cases lose more than `LOSS` dB of luma against Lanczos interpolation, and what
they gain over bicubic.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from vrx.models.embedded.checkpoint import EmbeddedNetworks, load_networks
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.model import EmbeddedRestorer
from vrx.models.runner import restore_scene
from vrx.networks.embedded.classical import bicubic, lanczos
from vrx.train.blurred import Clip
from vrx.train.diagnosis import to_tensor
from vrx.train.enlarge_cases import SIZES, Shrunk, draw_shrunk
from vrx.train.fuzz_cases import Material
from vrx.train.fuzz_deblur import LOSS, chunks_of, conclude, luma_error, to_clip
from vrx.weights.hashes import packaged_path


def restorer_of(case: Shrunk, networks: EmbeddedNetworks) -> EmbeddedRestorer:
    """What enlarges a case."""
    options = EmbeddedOptions(task="upscale", scale=case.scale)
    return EmbeddedRestorer(options, networks, torch.device("cpu"), torch.float32)


def enlarge(case: Shrunk, networks: EmbeddedNetworks) -> tuple[Clip, str]:
    """A case enlarged, and what the model says of it."""
    restorer = restorer_of(case, networks)
    with torch.inference_mode():
        done = list(restore_scene(restorer, chunks_of(to_tensor(case.low), restorer.schedule)))
    text = "; ".join(note.text for chunk in done for note in chunk.notes)
    return to_clip(torch.cat([chunk.frames for chunk in done])), text


def gains(case: Shrunk, out: Clip) -> tuple[float, float, float]:
    """dB of luma of Lanczos, and those won over it and over bicubic, means of the frames."""
    low = to_tensor(case.low)
    own, *plain = (
        -10 * luma_error(clip, case.truth).log10()
        for clip in (out, *(to_clip(way(low, case.scale)) for way in (lanczos, bicubic)))
    )
    return float(plain[0].mean()), *(float((own - other).mean()) for other in plain)  # type: ignore[return-value]


def show(case: Shrunk, out: Clip, path: Path) -> None:
    """Lanczos, the result and the truth side by side, one frame in the middle, as a picture."""
    middle = len(out) // 2
    plain = to_clip(lanczos(to_tensor(case.low), case.scale))
    row = np.concatenate([clip[middle] for clip in (plain, out, case.truth)], 1)
    cv2.imwrite(str(path), row[..., ::-1])


def main() -> int:
    """Draw, enlarge, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--footage", type=Path, required=True)
    parser.add_argument("--hold-out", nargs="*", default=[], help="file stems that are not used")
    parser.add_argument("--scale", type=int, choices=sorted(SIZES), default=2)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of single cases")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each case that loses, or of --only")
    parser.add_argument("--checkpoint", type=Path, help="in place of the one that ships")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    networks = load_networks(args.checkpoint or packaged_path("embedded.safetensors"))
    material, rows = Material(args.photos, args.footage, args.hold_out), []
    for number in args.only or range(args.cases):
        case = draw_shrunk(material, args.scale, args.seed, number)
        out, text = enlarge(case, networks)
        before, won, over = gains(case, out)
        rows.append({"case": number, "what": case.words, "lanczos": before, "gain": won, "cubic": over, "note": text})
        if won < -LOSS or args.only:
            print(f"{number:5d} {before:6.2f} dB {won:+6.2f} ({over:+.2f})  {case.words} | {text}", flush=True)  # noqa: T201
            if args.pictures:
                show(case, out, args.pictures / f"x{args.scale}-{args.seed}-{number}.png")
    return conclude(rows, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
