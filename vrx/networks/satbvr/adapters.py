"""Low-rank adapters (LoRA, arXiv 2106.09685) in peft's naming: several on one network, one of them active.

Rank and targets come from the tensors; the weight of a target becomes W + B A, or what the settings in the
adapter's file make of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from vrx.networks.libraries import load

NAME = re.compile(r"(?P<target>.+)\.lora_(?P<side>[AB])\.weight")
SETTINGS = "lora_adapter_metadata"  # of a safetensors file's metadata: where diffusers writes an adapter's settings
SCALES = {"lora_alpha": (int, float), "alpha_pattern": (dict,), "use_rslora": (bool,)}  # settings, and their types


def add_adapter(network: nn.Module, name: str, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Put an adapter on a network, which uses it once it is selected.

    `settings` are those of its file (see `read_settings`).  Raises ValueError for tensors that are damaged or
    of another network, which is not to be used any more then, and ImportError without peft.
    """
    ranks = read_ranks(tensors)
    check_targets(network, ranks)
    patterns = {f"^{re.escape(target)}": rank for target, rank in ranks.items()}
    scales = dict(settings) or {"alpha_pattern": patterns}  # as much as the rank: a scale of 1
    config = load("peft", "LoraConfig")(
        r=max(ranks.values()), rank_pattern=patterns, target_modules=list(ranks), **scales
    )
    load("peft", "inject_adapter_in_model")(config, network, name, low_cpu_mem_usage=True)
    check_shapes(network, name, tensors)
    load("peft", "set_peft_model_state_dict")(network, dict(tensors), name, low_cpu_mem_usage=True)
    del network.peft_config  # of no use to what runs, and peft warns of it when the next adapter comes


def select_adapter(network: nn.Module, name: str) -> None:
    """Make an adapter the only active one; where there is none of its name, the network runs without."""
    for layer in adapted_layers(network):
        layer.set_adapter(name, inference_mode=True)


def adapted_layers(network: nn.Module) -> Iterable[Any]:
    """The layers that have adapters, in peft's wrapping."""
    return (layer for layer in network.modules() if hasattr(layer, "lora_A"))


def read_settings(metadata: Mapping[str, str]) -> dict[str, Any]:
    """How an adapter is scaled, from the metadata of its file; empty where it is not.  Raises ValueError."""
    try:
        table = json.loads(metadata.get(SETTINGS, "{}"))
        found = {key: table[key] for key in SCALES if key in table}
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"its settings cannot be read: {error}") from error
    wrong = [key for key, value in found.items() if not isinstance(value, SCALES[key]) or not is_scale(value)]
    if wrong:
        raise ValueError(f"its setting {wrong[0]} is {found[wrong[0]]!r}")
    return found


def is_scale(value: Any) -> bool:
    """Whether a setting's numbers can scale an adapter, and its patterns can be searched for."""
    if not isinstance(value, dict):
        return isinstance(value, int | float) and math.isfinite(value)
    try:
        return all(re.compile(pattern) and is_scale(number) for pattern, number in value.items())
    except (re.error, RecursionError, OverflowError):
        return False


def read_ranks(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The rank at each target.  Raises ValueError where tensors are not an adapter's, or do not fit each other."""
    ranks: dict[str, dict[str, int]] = {}
    for name, tensor in tensors.items():
        match = NAME.fullmatch(name)
        if match is None or tensor.ndim < 2 or not tensor.is_floating_point():
            raise ValueError(f"the tensor {name} is not an adapter's")
        ranks.setdefault(match["target"], {})[match["side"]] = tensor.shape[0 if match["side"] == "A" else 1]
    for target, sides in ranks.items():
        if not sides.get("A") or sides["A"] != sides.get("B"):
            raise ValueError(f"the adapter of {target} has ranks {sides.get('A')} and {sides.get('B')}")
    if not ranks:
        raise ValueError("it holds no adapter")
    return {target: sides["A"] for target, sides in ranks.items()}


def check_targets(network: nn.Module, targets: Iterable[str]) -> None:
    """Refuse targets that are not layers with a kernel of the network.  Raises ValueError."""
    layers = dict(network.named_modules())
    for target in targets:
        if not isinstance(layers.get(target), nn.Linear | nn.Conv2d | nn.Conv3d) and not hasattr(
            layers.get(target), "lora_A"
        ):
            raise ValueError(f"the network has no layer {target} for an adapter")


def check_shapes(network: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that do not fit the adapter as it was made for the network.  Raises ValueError."""
    state = load("peft", "get_peft_model_state_dict")(network, adapter_name=name)
    made = {key: tuple(value.shape) for key, value in state.items()}
    for key, tensor in tensors.items():
        if made.get(key) != tuple(tensor.shape):
            raise ValueError(f"the adapter's tensor {key} has the shape {tuple(tensor.shape)}, not {made.get(key)}")
