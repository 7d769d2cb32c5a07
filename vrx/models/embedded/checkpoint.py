"""The embedded model's one file: six networks, five of them under a prefix, what differs for the sharp look, and a
smaller enlarging network for speed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vrx.errors import ModelError
from vrx.models.components import Network
from vrx.networks.embedded.blur import BlurEstimator
from vrx.networks.embedded.degradation import DegradationEstimator
from vrx.networks.embedded.diagnosis import BlurDiagnosis
from vrx.networks.embedded.guard import DeblurGuard
from vrx.networks.embedded.int8 import Peaks
from vrx.networks.embedded.network import SMALL, EmbeddedNetwork
from vrx.networks.embedded.recurrent import FAST_SIZE, STANDARD, Propagation, RecurrentNetwork
from vrx.networks.published import CONFIG_ERRORS, NetworkConfig
from vrx.weights import checkpoint

FAMILY_NAME = "embedded"
# before the names of their tensors
ENLARGING, DAMAGE, SHARPNESS, DIAGNOSIS, GUARD = "enlarging.", "damage.", "sharpness.", "diagnosis.", "guard."
PEAKS = "peaks."  # before those of what the enlarging network's convolutions see (`Peaks`); not in every file
# before those that the sharp look has instead of the enlarging network's and of its peaks; not in every file
SHARP, SHARP_PEAKS = "sharp.", "sharp_peaks."
FAST, FAST_PEAKS = "fast.", "fast_peaks."  # before those of the smaller enlarging network; not in every file


@dataclass(frozen=True)
class EmbeddedNetworks:
    """The networks of one embedded checkpoint: `network` where the size stays, `enlarging` where it grows.

    `peaks`: of the enlarging network and its branch for later frames, for 8 bits; None where there are none.
    """

    network: EmbeddedNetwork
    blur: BlurEstimator
    enlarging: RecurrentNetwork
    degradation: DegradationEstimator
    diagnosis: BlurDiagnosis
    guard: DeblurGuard
    peaks: tuple[Peaks, Peaks | None] | None = None

    @property
    def parameters(self) -> int:
        """How many there are in all."""
        networks = [network for network in vars(self).values() if isinstance(network, nn.Module)]
        return sum(parameter.numel() for network in networks for parameter in network.parameters())


def load_networks(path: Path) -> EmbeddedNetworks:
    """The networks of an embedded checkpoint, float32, on the CPU.  Raises ModelError."""
    tensors, metadata = checkpoint.load_safetensors(path)
    if metadata.get("family") != FAMILY_NAME:
        raise ModelError(f"{path} is not a checkpoint of the embedded family")
    prefixes = (ENLARGING, DAMAGE, SHARPNESS, DIAGNOSIS, GUARD)
    others = (*prefixes, PEAKS, SHARP, SHARP_PEAKS, FAST, FAST_PEAKS)
    own = {n: t.float() for n, t in tensors.items() if not n.startswith(others)}
    given = dict(checkpoint.parse_config(path, metadata))
    enlarging = given.pop(ENLARGING.rstrip("."), {})
    recurrent = build(RecurrentNetwork, STANDARD, section(tensors, ENLARGING), enlarging, path)
    found = EmbeddedNetworks(
        build(EmbeddedNetwork, SMALL, own, given, path),
        BlurEstimator(),
        recurrent,
        DegradationEstimator(),
        BlurDiagnosis(),
        DeblurGuard(),
        read_peaks(section(tensors, PEAKS), recurrent, path),
    )
    parts = [own, *(section(tensors, prefix) for prefix in prefixes)]
    networks = (found.network, found.enlarging, found.degradation, found.blur, found.diagnosis, found.guard)
    for network, part in zip(networks, parts, strict=True):
        checkpoint.load_into(network, part, path)
        network.eval()
    return found


def load_sharp(path: Path, networks: EmbeddedNetworks) -> EmbeddedNetworks:
    """Networks of a checkpoint with the enlarging one of the sharp look, float32, on the CPU.

    Raises ModelError, also where there is none.
    """
    tensors, metadata = checkpoint.load_safetensors(path)
    sharp = section(tensors, SHARP)
    if not sharp:
        raise ModelError(f"{path} has no network for --look sharp", "Use --look faithful")
    whole = {**section(tensors, ENLARGING), **sharp}
    given = checkpoint.parse_config(path, metadata).get(ENLARGING.rstrip("."), {})
    enlarging = build(RecurrentNetwork, STANDARD, whole, given, path)
    checkpoint.load_into(enlarging, whole, path)
    own = section(tensors, SHARP_PEAKS)
    peaks = read_peaks({**section(tensors, PEAKS), **own} if own else {}, enlarging, path)
    return replace(networks, enlarging=enlarging.eval(), peaks=peaks)


def load_fast(path: Path, networks: EmbeddedNetworks) -> EmbeddedNetworks:
    """Networks of a checkpoint with its smaller enlarging one, float32, on the CPU.

    Raises ModelError, also where there is none.
    """
    tensors, _ = checkpoint.load_safetensors(path)
    own = section(tensors, FAST)
    if not own:
        raise ModelError(f"{path} has no network for --quality fast", "Use --quality best")
    enlarging = build(RecurrentNetwork, FAST_SIZE, own, {}, path)
    checkpoint.load_into(enlarging, own, path)
    return replace(
        networks, enlarging=enlarging.eval(), peaks=read_peaks(section(tensors, FAST_PEAKS), enlarging, path)
    )


def check_networks(path: Path) -> None:
    """Load all there is.  Raises ModelError."""
    networks, names = load_networks(path), checkpoint.load_safetensors(path)[0].keys()
    for prefix, load in ((SHARP, load_sharp), (FAST, load_fast)):
        if any(name.startswith(prefix) for name in names):
            load(path, networks)


def build(
    kind: type[Network], shipped: NetworkConfig, tensors: dict[str, Tensor], given: dict[str, Any], path: Path
) -> Network:
    """A network at the size its tensors have, not yet filled.  Raises ModelError."""
    try:
        config = kind.CONFIG.from_tensors({name: tuple(t.shape) for name, t in tensors.items()}, given)
        if config != shipped:  # tried before memory is taken; not for ours: it loads torch's compiler, a second
            config.validate(len(tensors))
            with torch.device("meta"):
                trial = kind(config)
            checkpoint.check_keys(trial, tensors, path)
        return kind(config)
    except KeyError as error:
        raise ModelError(f"{path}: tensor {error} is missing") from error
    except CONFIG_ERRORS as error:
        raise ModelError(f"{path} has an invalid configuration: {error}") from error


def read_peaks(tensors: dict[str, Tensor], network: RecurrentNetwork, path: Path) -> tuple[Peaks, Peaks | None] | None:
    """The peaks of a network's trunk and of its branch, if any; None where there are none.  Raises ModelError."""
    if not tensors:
        return None
    parts: list[tuple[str, Propagation]] = [("trunk.", network)]
    parts += [("later.", network.later)] if network.later is not None else []
    for prefix, part in parts:
        for name, empty in Peaks.zero(part).tensors(prefix).items():
            if name not in tensors:
                raise ModelError(f"{path}: tensor {PEAKS}{name} is missing")
            if tensors[name].shape != empty.shape:
                shapes = f"{list(tensors[name].shape)} and not {list(empty.shape)}"
                raise ModelError(f"{path}: tensor {PEAKS}{name} has the shape {shapes}")
    found = [Peaks.from_tensors(tensors, prefix) for prefix, _ in parts]
    return found[0], found[1] if len(found) > 1 else None


def section(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, float32, without it."""
    return {name.removeprefix(prefix): t.float() for name, t in tensors.items() if name.startswith(prefix)}
