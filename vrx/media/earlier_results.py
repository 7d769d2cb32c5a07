"""Results of earlier runs, recognized by the names that vrx gives them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vrx.errors import UsageError
from vrx.geometry import TargetSize, fit
from vrx.media.file_types import pattern_of, sequence_stem
from vrx.media.probe import find_size

# what vrx puts before the suffix of a result; nobody gives a TASK to a mask, but people use a SIZE, too, so the
# pictures must have it
TASK = r"x\d(\.\d+)?|deblur|inpaint"
SIZE = r"w(?P<w>\d+)|h(?P<h>\d+)|(?P<width>\d+)x(?P<height>\d+)"
RESULT = re.compile(rf"(?P<source>.+)\.({TASK}|mask|({SIZE}))", re.DOTALL)
RESTORED = re.compile(rf".+\.({TASK})", re.DOTALL)
PREVIEW_MARK = ".preview"  # behind these, where it is a preview of one


def results_among(files: Mapping[str, Path]) -> set[str]:
    """Those of some names that vrx gave to results of others of them: `a.x2.mp4` where an `a.*` is among them."""
    stems: dict[str, list[Path]] = {}
    for name, path in files.items():
        stems.setdefault(os.path.splitext(name)[0], []).append(path)  # noqa: PTH122 - as text, with its folder
        stems.setdefault(name, []).append(path)  # inputs that differ in the suffix only: a.avi.x2.mp4
        pattern = pattern_of(path)
        if pattern is not None:  # previews and masks of all pictures: shot.x2.preview.mp4, shot.mask.mkv
            stems.setdefault(str(Path(name).with_name(sequence_stem(pattern))), []).append(path)
    found = set()
    for name, path in files.items():
        stem = os.path.splitext(name)[0]  # noqa: PTH122
        result = RESULT.fullmatch(stem.removesuffix(PREVIEW_MARK))
        sources = [] if result is None else stems.get(result["source"], [])
        if result is None or not sources:
            continue
        size = tuple(int(result[long] or result[short] or 0) for long, short in (("width", "w"), ("height", "h")))
        if not any(size) or (stem.endswith(PREVIEW_MARK) or any(is_enlarged(path, source, size) for source in sources)):
            found.add(name)
    return found


def results_among_masks(files: Sequence[Path]) -> list[Path]:
    """Those of the pictures of a folder of masks that vrx restored, and put there: of others in it, or of other files.

    Where all of them have such names they are the masks, enlarged as the video was.
    """
    known = results_among({path.name: path for path in files})
    found = [p for p in files if p.name in known or RESTORED.fullmatch(p.stem.removesuffix(PREVIEW_MARK))]
    return found if len(found) < len(files) else []


def is_enlarged(path: Path, source: Path, wanted: tuple[int, ...]) -> bool:
    """Whether pictures have the size that those of a source get from --size; a side of 0: --width or --height."""
    size, before = find_size(path), find_size(source)
    if size is None or before is None or size[0] * size[1] < before[0] * before[1]:
        return False
    try:
        target = TargetSize(width=wanted[0] or None, height=wanted[1] or None)
    except UsageError:  # of one pixel
        return False
    return size in (fit(before, target), fit(before[::-1], target))  # of turned pictures sides are exchanged
