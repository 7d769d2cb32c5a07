"""Stream state files: the state of all stages at one position, as safetensors.

Memory layouts are part of it: sums are rounded differently in another one, and a resumed run must give the same bits.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from vrx.errors import InputError
from vrx.files import replace_file
from vrx.models.base import SceneStart
from vrx.pipeline.executor import StreamState
from vrx.weights import checkpoint


def write(state: StreamState, path: Path) -> None:
    """Write a state; the file appears complete or not at all.  Raises OSError."""
    tensors = {f"{stage}.{name}": t for stage, part in state.stages.items() for name, t in part.items()}
    place = {
        "scene": state.scene.number,
        "source": state.scene.source,
        "target": state.scene.target,
        "index": state.index,
        "frame": state.frame,
        "stages": list(state.stages),
        "channels_last": [name for name, tensor in tensors.items() if is_channels_last(tensor)],
    }
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replace_file(path) as partial:
        partial.write_bytes(save(tensors, {"state": json.dumps(place)}))  # its own writer hides why a disk refuses


def read(path: Path) -> StreamState:
    """Read a state.  Raises ModelError or InputError for any other file."""
    tensors, metadata = checkpoint.load_safetensors(path)
    try:
        place = json.loads(metadata["state"])
        scene = SceneStart(place["scene"], tuple(place["source"]), tuple(place["target"]))
        stages: dict[str, dict[str, object]] = {name: {} for name in place["stages"]}
        channels_last = place.get("channels_last", [])
        for name, tensor in tensors.items():
            stage, part = name.split(".", 1)
            if name in channels_last and tensor.ndim == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            stages[stage][part] = tensor
        return StreamState(scene, place["index"], place["frame"], stages)  # type: ignore[arg-type]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} holds no stream state") from error


def is_channels_last(tensor: Tensor) -> bool:
    """Whether a tensor's channels are next to each other in memory, as convolutions on a CPU like them."""
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
