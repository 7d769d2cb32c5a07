"""The files of a large model, by the role each plays, and networks filled from them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vrx.errors import ModelError
from vrx.files import read_text
from vrx.models import roles, sizes
from vrx.models.roles import PUBLISHED, TOKENIZER, role_in
from vrx.networks.flashvsr.projection import LqProjection
from vrx.networks.leanvae import LeanAutoencoder
from vrx.networks.ram import VisualGuidance, merge_adapter
from vrx.networks.taehv import ConditionalDecoder, TinyAutoencoder
from vrx.networks.umt5 import Umt5Encoder
from vrx.networks.wan.autoencoder import WanAutoencoder
from vrx.networks.wan.transformer import WanTransformer
from vrx.weights import checkpoint
from vrx.weights.catalogue import Entry, PartFile

Network = TypeVar("Network", bound=nn.Module)
LARGEST_TOKENIZER = 200_000_000  # bytes; UMT5's has 17 million
LARGEST_CONFIG = 1_000_000  # bytes
CONFIG = "config.json"  # in a folder: sizes by role, for networks smaller than the published ones
WIDE = "text_embedding.0.weight"
FOREIGN_WIDTHS = {"infvsr": 4096, "instantvir": 512, "flashvsr": 512}  # UMT5's rows, and RAM's
UNUSED = ("relative_position_index", "attn_mask")  # buffers of RAM's that are computed


@dataclass(frozen=True)
class Parts:
    """Where a model's tensors are: a file for each role, or one file with the role before every name.

    `given` holds by role what the shapes of the tensors do not tell, `ambiguous` roles that several files may be.
    """

    files: dict[str, Path] = field(default_factory=dict)
    combined: Path | None = None
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    ambiguous: dict[str, tuple[Path, ...]] = field(default_factory=dict)

    def has(self, role: str) -> bool:
        """Whether there is such a part."""
        if role in self.files or role in self.ambiguous:
            return True
        return self.combined is not None and any(
            n.startswith(f"{role}.") for n in checkpoint.read_shapes(self.combined)
        )

    def paths(self) -> list[Path]:
        """All files."""
        return list(dict.fromkeys([*self.files.values(), *([self.combined] if self.combined else [])]))

    def where(self, role: str) -> Path:
        """The file of a part.  Raises ModelError where there is none, or more than one."""
        if role in self.ambiguous:
            choices = ", ".join(map(str, self.ambiguous[role]))
            raise ModelError(f"more than one file may be the model's {role}: {choices}", "Leave one of them there")
        path = self.files.get(role, self.combined)
        if path is None:
            names = " or ".join(PUBLISHED.get(role, (role,)))
            raise ModelError(f"the model lacks its {role} ({names})", "See: vrx models show NAME")
        return path

    def tensors(self, role: str) -> dict[str, Tensor]:
        """A part's tensors under our names.  Raises ModelError."""
        path = self.where(role)
        if role in self.files:
            return checkpoint.load_tensors(path)[0]
        found = checkpoint.load_section(path, f"{role}.")
        if not found:
            raise ModelError(f"{path} lacks the tensors of its {role}")
        return found

    def tokenizer(self) -> str:
        """The tokenizer's description, JSON.  Raises ModelError."""
        path = self.where(TOKENIZER)
        if path == self.combined:
            return checkpoint.read_metadata(path).get(TOKENIZER, "")
        try:
            return read_text(path, LARGEST_TOKENIZER)
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"cannot read the tokenizer {path}: {getattr(error, 'strerror', error)}") from error

    def network(
        self, role: str, config: Callable[[sizes.Shapes, sizes.Sizes], Any], build: Callable[[Any], Network]
    ) -> Network:
        """A part's network at the size its tensors have, filled strictly.  Raises ModelError."""
        return self.filled(role, self.tensors(role), config, build)

    def filled(
        self,
        role: str,
        tensors: dict[str, Tensor],
        config: Callable[[sizes.Shapes, sizes.Sizes], Any],
        build: Callable[[Any], Network],
    ) -> Network:
        """A network of a role around these tensors: memory is taken once.  Raises ModelError."""
        path = self.where(role)
        try:
            values = config({n: tuple(t.shape) for n, t in tensors.items()}, self.given.get(role, {}))
            sizes.sane(values, len(tensors))
            with torch.device("meta"):
                network = build(values)
        except KeyError as error:
            raise ModelError(f"{path} is no {role}: it lacks the tensor {error}") from error
        except sizes.CANNOT_BE as error:
            raise ModelError(f"{path} asks for a network that cannot be: {error}") from error
        checkpoint.check_keys(network, tensors, path)  # before memory is taken
        if build is VisualGuidance:  # its tables are computed, not loaded
            network = build(values)
        checkpoint.load_into(network, tensors, path, assign=True)
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        return network.eval()

    # ------------------------------------------------------------ the networks there are

    def transformer(self) -> WanTransformer:
        """Wan's transformer."""
        return self.network("transformer", sizes.transformer, WanTransformer)

    def autoencoder(self) -> WanAutoencoder:
        """Wan's autoencoder."""
        return self.network("autoencoder", sizes.autoencoder, WanAutoencoder)

    def tiny(self) -> TinyAutoencoder:
        """TAEHV; its file may be in half precision."""
        return self.network("tiny", sizes.tiny, TinyAutoencoder)

    def lean(self) -> LeanAutoencoder:
        """LeanVAE."""
        return self.network("lean", sizes.lean, LeanAutoencoder)

    def projection(self) -> LqProjection:
        """FlashVSR's LQ projection."""
        return self.network("projection", sizes.projection, LqProjection)

    def decoder(self) -> ConditionalDecoder:
        """FlashVSR's conditional decoder."""
        return self.network("decoder", sizes.conditional, ConditionalDecoder)

    def text(self) -> Umt5Encoder:
        """The text encoder."""
        return self.network("text", sizes.text, Umt5Encoder)

    def guidance(self) -> VisualGuidance:
        """RAM's encoder with DAPE merged in, where there is one."""
        kept = ("visual_encoder.", "image_proj.")
        tensors = {
            n: t.float() for n, t in self.tensors("guidance").items() if n.startswith(kept) and not n.endswith(UNUSED)
        }
        if self.has("adapter"):
            try:
                tensors = merge_adapter(tensors, self.tensors("adapter"))
            except KeyError as error:
                raise ModelError(f"{self.where('adapter')} does not fit the guidance: no {error}") from error
        return self.filled("guidance", tensors, sizes.guidance, VisualGuidance)


def in_folder(folder: Path) -> Parts:
    """The parts that stand in a folder, by the folders of their roles or their tensors (see `roles`).

    Raises ModelError for a broken config, and for a file that would have to be the transformer and cannot be read.
    """
    found = roles.find(folder)
    if found.faults and "transformer" not in {**found.files, **found.ambiguous}:
        raise found.faults[0]
    return Parts(found.files, None, stated(folder / CONFIG), found.ambiguous)


def stated(path: Path) -> dict[str, dict[str, Any]]:
    """Sizes by role from a folder's config, where there is one of ours.  Raises ModelError."""
    if not os.path.lexists(path):
        return {}
    try:
        table = json.loads(read_text(path, LARGEST_CONFIG))
    except RecursionError as error:
        raise ModelError(f"cannot read {path}: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from error
    return by_role(table)


def by_role(table: object) -> dict[str, dict[str, Any]]:
    """The entries of a table that are tables under the name of a role."""
    if not isinstance(table, Mapping):
        return {}
    return {role: dict(entry) for role, entry in table.items() if role in PUBLISHED and isinstance(entry, Mapping)}


def part_in(entry: Entry, path: Path) -> PartFile:
    """Which part of a model a file is; its network is built from it and thrown away.

    Raises ModelError where it is none, or does not fit.
    """
    tensors = checkpoint.load_tensors(path)[0]
    role = role_in(tensors)
    part = next((part for part in entry.parts if role and part.role == role), None)
    if part is None or (role == "transformer" and foreign(tensors, entry.family)):
        known = ", ".join(part.role for part in entry.parts if part.role)
        raise ModelError(f"{path} is no part of {entry.name}", f"Its parts: {known or 'none are known'}")
    build = getattr(Parts({part.role: path}, None, {part.role: part.sizes}), part.role, None)
    if build is not None:
        build()
    return part


def foreign(tensors: Mapping[str, Tensor], family: str) -> bool:
    """Whether a transformer takes guidance as wide as only that of another family is."""
    width = tensors.get(WIDE, torch.empty(0)).shape[-1]
    return width == FOREIGN_WIDTHS.get(family)


def combine(parts: Parts, family: str, target: Path) -> None:
    """All parts as one safetensors file: the role before every name; family, sizes and tokenizer as metadata.

    Raises ModelError.
    """
    for role in parts.ambiguous:
        parts.where(role)
    tensors: dict[str, Tensor] = {}
    notes = {"family": family, "config": json.dumps(parts.given)}
    for role, path in parts.files.items():
        if role == TOKENIZER:
            notes[TOKENIZER] = parts.tokenizer()
        else:
            tensors |= {f"{role}.{name}": tensor for name, tensor in checkpoint.load_tensors(path)[0].items()}
    checkpoint.save(target, tensors, notes)
