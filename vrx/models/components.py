"""The files of a model by the role each plays, and networks filled from them.  Two roles only are named here."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vrx.errors import ModelError
from vrx.files import read_bytes, read_text
from vrx.models import sentencepiece
from vrx.networks.published import CONFIG_ERRORS, NetworkConfig, PublishedNetwork
from vrx.weights import checkpoint, sharded

Network = TypeVar("Network", bound=PublishedNetwork)
AnyModule = TypeVar("AnyModule", bound=nn.Module)
TRANSFORMER = "transformer"  # the role that a checkpoint alone plays
TOKENIZER = "tokenizer"  # the one role whose file holds no tensors
SENTENCEPIECE = "spiece.model"  # a tokenizer in another form
ALIGNMENT = 64  # bytes: where matrices begin decides how fast, and in which order, they are summed
LARGEST_TOKENIZER = 200_000_000  # bytes; UMT5's has 17 million
LARGEST_CONFIG = 1_000_000  # bytes


@dataclass(frozen=True, kw_only=True)
class Component:
    """One file of a checkpoint: the network it holds, and how it is recognized.

    `network`: None where it holds none (a tokenizer, rows of a prompt).  `published`: its size in this family,
    where it is not the network's default.  `files`: patterns of its published names, for people.  `signature`:
    a pattern of a tensor's name that only this component has, the network's own unless given.  `folders`: names
    of folders that hold it, besides its role.  `decoder`: the value of --decoder that asks for it, where it is
    optional; `prompted`: so does --prompt.  `config_role`: the role of the `config.json` with its sizes, which is
    published beside it.  `notes`: the key of its file's metadata under which more of its sizes are, JSON.  `beside`:
    of a config, the role that it is published beside, and the path from there.  `check`: loads it another way than
    `Components.load`, to see whether a file is one.
    """

    network: type[PublishedNetwork] | None = None
    published: NetworkConfig | None = None
    files: tuple[str, ...] = ()
    signature: str = ""
    folders: tuple[str, ...] = ()
    decoder: str = ""
    prompted: bool = False
    config_role: str = ""
    notes: str = ""
    beside: tuple[str, str] | None = None
    check: Callable[[Components], object] | None = None

    @property
    def config(self) -> NetworkConfig | None:
        """The published size of its network."""
        return self.published or (self.network.CONFIG() if self.network else None)

    def try_load(self, role: str, components: Components) -> None:
        """Build its network from a file and throw it away.  Raises ModelError where the file does not fit."""
        if self.check is not None:
            self.check(components)
        elif self.network is not None:
            components.load(role, self.network)

    def matches(self, names: Collection[str]) -> bool:
        """Whether tensors of these names are it."""
        pattern = self.signature or (self.network.SIGNATURE if self.network else "")
        return pattern in names or ("*" in pattern and bool(fnmatch.filter(names, pattern)))


@dataclass(frozen=True)
class Components:
    """Where a model's tensors are: a file for each role, or one file with the role before every name.

    `given`: sizes by role that the shapes of the tensors do not have, `ambiguous` roles that several files may be;
    `published` names of files by role, for messages.
    """

    files: dict[str, Path] = field(default_factory=dict)
    combined: Path | None = None
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    ambiguous: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    published: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def has(self, role: str) -> bool:
        """Whether there is such a component."""
        if role in self.files or role in self.ambiguous:
            return True
        return self.combined is not None and any(
            name.startswith(f"{role}.") for name in checkpoint.read_shapes(self.combined)
        )

    def paths(self) -> list[Path]:
        """All files there are, those of checkpoints in several among them.  Raises ModelError for a refused index."""
        named = [*self.files.values(), *([self.combined] if self.combined else [])]
        shards = (shard for path in named for shard in sharded.find_shards(path).values() if shard.is_file())
        return list(dict.fromkeys([*named, *shards]))

    def where(self, role: str) -> Path:
        """The file of a component.  Raises ModelError where there is none, or more than one."""
        if role in self.ambiguous:
            choices = ", ".join(map(str, self.ambiguous[role]))
            raise ModelError(f"more than one file may be the model's {role}: {choices}", "Leave one of them there")
        path = self.files.get(role, self.combined)
        if path is None:
            names = " or ".join(self.published.get(role) or (role,))
            raise ModelError(f"the model lacks its {role} ({names})", "See: vrx models show NAME")
        return path

    def tensors(self, role: str) -> dict[str, Tensor]:
        """A component's tensors under our names.  Raises ModelError."""
        path = self.where(role)
        if role in self.files:
            return checkpoint.load_tensors(path)[0]
        found = checkpoint.load_section(path, f"{role}.")
        if not found:
            raise ModelError(f"{path} lacks the tensors of its {role}")
        return found

    def count_weights(self, role: str) -> int:
        """Numbers in the tensors of a role.  Raises ModelError."""
        return sum(tensor.numel() for tensor in self.tensors(role).values())

    def mapped_bytes(self, role: str, dtype: torch.dtype) -> int:
        """Bytes of tensors that a network in a type uses where they are in their file.  Raises ModelError."""
        found = self.tensors(role).values()
        return sum(t.nbytes for t in found if t.dtype == dtype and t.data_ptr() % ALIGNMENT == 0)

    def tokenizer(self) -> str:
        """The tokenizer's description, JSON, whatever its file's form.  Raises ModelError."""
        path = self.where(TOKENIZER)
        if path == self.combined:
            return checkpoint.read_metadata(path).get(TOKENIZER, "")
        try:
            if path.name == SENTENCEPIECE:
                return sentencepiece.describe(read_bytes(path, LARGEST_TOKENIZER))
            return read_text(path, LARGEST_TOKENIZER)
        except (OSError, ValueError) as error:
            raise ModelError(f"cannot read the tokenizer {path}: {getattr(error, 'strerror', error)}") from error

    def load(self, role: str, kind: type[Network]) -> Network:
        """A component's network at the size its tensors have, filled strictly.  Raises ModelError."""
        return self.fill(role, kind, self.tensors(role))

    def fill(self, role: str, kind: type[Network], tensors: dict[str, Tensor]) -> Network:
        """A network around the tensors of a role: memory is taken once.  Raises ModelError."""
        network = self.wrap(role, kind, tensors)
        self.check_values(role, network)
        return network

    def check_values(self, role: str, network: nn.Module) -> None:
        """Refuse weights that are not finite.  Raises ModelError."""
        checkpoint.check_finite(network.state_dict(), self.where(role))

    def wrap(self, role: str, kind: type[Network], tensors: dict[str, Tensor]) -> Network:
        """A network around the tensors of a role, of which only names and shapes were looked at.  Raises ModelError."""
        path = self.where(role)
        checkpoint.check_filled(tensors, path)
        with config_errors(path, role):
            config = kind.CONFIG.from_tensors(
                {name: tuple(tensor.shape) for name, tensor in tensors.items()}, self.given.get(role, {})
            )
            config.validate(len(tensors))
            with torch.device("meta"):
                network = kind(config)
        checkpoint.check_keys(network, tensors, path)  # before memory is taken
        if any(True for _ in network.buffers()):  # they are computed, not loaded
            network = kind(config)
        network.load_state_dict(tensors, assign=True)
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        return network.eval()


@contextmanager
def config_errors(path: Path | str, role: str = "") -> Iterator[None]:
    """What building from a checkpoint's sizes may raise, as a ModelError in one line."""
    try:
        yield
    except KeyError as error:
        raise ModelError(f"{path} is not a checkpoint of the {role}: it lacks the tensor {error}") from error
    except ImportError as error:
        raise ModelError(str(error), "Install a build of it that fits your torch") from error
    except CONFIG_ERRORS as error:
        raise ModelError(f"{path} has an invalid configuration: {error}") from error


def align_weights(network: AnyModule) -> AnyModule:
    """The network with every weight where a matrix may begin; those mapped from a file begin anywhere."""
    for parameter in network.parameters():
        if parameter.data_ptr() % ALIGNMENT:
            parameter.data = parameter.data.clone()
    return network


def read_sizes(path: Path, roles: Collection[str]) -> dict[str, dict[str, Any]]:
    """Sizes by role from a folder's config, where there is one of ours.  Raises ModelError."""
    return sizes_by_role(read_config(path), roles)


def read_config(path: Path) -> object:
    """The content of a config, JSON; None where there is no such file.  Raises ModelError."""
    if not os.path.lexists(path):
        return None
    try:
        return json.loads(read_text(path, LARGEST_CONFIG))
    except RecursionError as error:
        raise ModelError(f"cannot read {path}: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from error


def sizes_by_role(table: object, roles: Collection[str]) -> dict[str, dict[str, Any]]:
    """The entries of a table that are tables under the name of a role."""
    if not isinstance(table, Mapping):
        return {}
    return {role: dict(entry) for role, entry in table.items() if role in roles and isinstance(entry, Mapping)}


def combine(components: Components, family: str, target: Path) -> None:
    """All components as one safetensors file: the role before every name; family, sizes and tokenizer as metadata.

    Raises ModelError.
    """
    for role in components.ambiguous:
        components.where(role)
    tensors: dict[str, Tensor] = {}
    notes = {"family": family, "config": json.dumps(components.given)}
    for role, path in components.files.items():
        if role == TOKENIZER:
            notes[TOKENIZER] = components.tokenizer()
        else:
            tensors |= {f"{role}.{name}": tensor for name, tensor in checkpoint.load_tensors(path)[0].items()}
    checkpoint.save(target, tensors, notes)
