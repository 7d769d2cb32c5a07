"""Stream state files: the state of all stages at one position, as safetensors."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from vrx.errors import InputError
from vrx.files import replace_file
from vrx.models.base import SceneStart
from vrx.pipeline.executor import StreamState
from vrx.weights import checkpoint


def write(state: StreamState, path: Path) -> None:
    """Write a state; the file appears complete or not at all.  Raises OSError."""
    tensors = {f"{stage}.{name}": t.contiguous() for stage, part in state.stages.items() for name, t in part.items()}
    place = {
        "scene": state.scene.number,
        "source": state.scene.source,
        "target": state.scene.target,
        "index": state.index,
        "frame": state.frame,
        "stages": list(state.stages),
    }
    with replace_file(path) as partial:
        partial.write_bytes(save(tensors, {"state": json.dumps(place)}))  # its own writer hides why a disk refuses


def read(path: Path) -> StreamState:
    """Read a state.  Raises ModelError or InputError for any other file."""
    tensors, metadata = checkpoint.load_safetensors(path)
    try:
        place = json.loads(metadata["state"])
        scene = SceneStart(place["scene"], tuple(place["source"]), tuple(place["target"]))
        stages: dict[str, dict[str, object]] = {name: {} for name in place["stages"]}
        for name, tensor in tensors.items():
            stage, part = name.split(".", 1)
            stages[stage][part] = tensor
        return StreamState(scene, place["index"], place["frame"], stages)  # type: ignore[arg-type]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} holds no stream state") from error
