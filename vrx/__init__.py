"""vrx: video restoration by streaming one-step diffusion models.

    vrx.upscale("in.mp4", "out.mp4", scale=4)               # also deblur, and inpaint(..., mask="m.png")

    model = vrx.load_model("embedded")
    for frame in model.upscale(frames, scale=4):            # numpy arrays or torch tensors, any number
        ...

    with vrx.VideoReader("in.mp4") as video, vrx.VideoWriter("out.mp4", like=video, scale=4) as out:
        for frame in model.upscale(video, scale=4):
            out.write(frame)

Failures are `vrx.VrxError`s; events are documented in `vrx.events`.  Importing vrx is cheap: torch comes with the
first call.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vrx.errors import VrxError

if TYPE_CHECKING:
    from vrx.api import compare, detect_scenes, probe
    from vrx.pipeline.compare.results import Comparison
    from vrx.pipeline.model import Model, load_model
    from vrx.pipeline.preview.run import PreviewResult
    from vrx.pipeline.run import RestoreResult
    from vrx.pipeline.video import VideoFrame, VideoReader, VideoWriter
    from vrx.tasks import deblur, inpaint, preview, upscale

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "Model",
    "PreviewResult",
    "RestoreResult",
    "VideoFrame",
    "VideoReader",
    "VideoWriter",
    "VrxError",
    "__version__",
    "compare",
    "deblur",
    "detect_scenes",
    "inpaint",
    "load_model",
    "preview",
    "probe",
    "upscale",
]
MODULES = {
    "Comparison": "vrx.pipeline.compare.results",
    "Model": "vrx.pipeline.model",
    "PreviewResult": "vrx.pipeline.preview.run",
    "RestoreResult": "vrx.pipeline.run",
    "VideoFrame": "vrx.pipeline.video",
    "VideoReader": "vrx.pipeline.video",
    "VideoWriter": "vrx.pipeline.video",
    "compare": "vrx.api",
    "deblur": "vrx.tasks",
    "detect_scenes": "vrx.api",
    "inpaint": "vrx.tasks",
    "load_model": "vrx.pipeline.model",
    "preview": "vrx.tasks",
    "probe": "vrx.api",
    "upscale": "vrx.tasks",
}


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return getattr(importlib.import_module(MODULES[name]), name)
    if name == "events":
        return importlib.import_module("vrx.events")
    raise AttributeError(f"module 'vrx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "errors", "events", *(name for name in globals() if name.startswith("__"))})
