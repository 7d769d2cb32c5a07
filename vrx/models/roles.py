"""Which part of a model a file is: by the folder it stands in, then by the tensors it holds; its name comes last.

Published parts share their names: `vae/diffusion_pytorch_model.safetensors` and the same in `transformer/`.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vrx.errors import ModelError
from vrx.weights import checkpoint, sharded
from vrx.weights.hashes import SAFE

PUBLISHED: dict[str, tuple[str, ...]] = {  # names the parts have where they are published, for people
    "transformer": ("InfVSR.*", "diffusion_pytorch_model*", "model.pt", "transformer.*"),
    "autoencoder": ("Wan2.1_VAE.*", "autoencoder.*"),
    "tiny": ("taew2_1.*", "lighttaew2_1.*"),
    "lean": ("LeanVAE-dim16.*",),
    "projection": ("LQ_proj_in.*",),
    "decoder": ("TCDecoder.*",),
    "prompt": ("posi_prompt.*",),
    "guidance": ("ram_swin_large_14m.*",),
    "adapter": ("DAPE.*",),
    "text": ("models_t5_umt5-xxl-enc*",),
    "tokenizer": ("tokenizer.json",),
}
SIGNS: dict[str, str] = {  # a tensor that only that part has
    "transformer": "patch_embedding.weight",
    "autoencoder": "decoder.upsamples.0.residual.2.weight",
    "projection": "linear_layers.0.weight",
    "tiny": "decoder.22.bias",
    "decoder": "decoder.26.bias",
    "lean": "latent_bottleneck.phi",
    "guidance": "visual_encoder.patch_embed.proj.weight",
    "text": "token_embedding.weight",
}
TOKENIZER = "tokenizer"  # the one part that holds no tensors
FOLDERS: dict[str, tuple[str, ...]] = {  # what folders of such a name hold; the first where tensors do not tell
    **{role: (role,) for role in PUBLISHED},
    "vae": ("autoencoder", "lean", "tiny"),
    "text_encoder": ("text",),
    **dict.fromkeys(("unet", "controlnet", "image_encoder", "scheduler", "optimizer"), ()),  # of no family here
}
MOST_FILES = 10_000  # in a model's folder, those of its folders included
DEEPEST = 5  # folders below a model's


@dataclass
class Found:
    """The files of a folder by role; roles that several files may be; and why some could not be read."""

    files: dict[str, Path] = field(default_factory=dict)
    ambiguous: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    faults: list[ModelError] = field(default_factory=list)


def role_in(names: Collection[str]) -> str | None:
    """Which part tensors of these names are, None where they are none."""
    if any(name.endswith(".lora_A") for name in names):
        return "adapter"
    if set(names) == {"tensor"}:
        return "prompt"
    return next((role for role, sign in SIGNS.items() if sign in names), None)


def find(folder: Path) -> Found:
    """The parts that stand in a folder and the folders below it.

    A file in a folder that is named for a part is that part; any other is what its tensors say.  One whose
    tensors say nothing is taken for what it is called where nothing else is that part, so that its use says
    what is wrong with it.  Raises ModelError for a folder that cannot be listed, or is no model's.
    """
    found = Found()
    placed: dict[str, list[Path]] = {}
    signed: dict[str, list[Path]] = {}
    named: dict[str, list[Path]] = {}
    for path in candidates(folder):
        roles = roles_of_folder(path.relative_to(folder))
        if roles == ():
            continue
        try:
            role = TOKENIZER if path.name == "tokenizer.json" else role_in(checkpoint.read_names(path))
        except ModelError as fault:
            found.faults.append(fault)
            role = None
        if roles and role in (None, *roles):
            placed.setdefault(role or roles[0], []).append(path)
        elif role:
            signed.setdefault(role, []).append(path)
        elif called := role_by_name(path):
            named.setdefault(called, []).append(path)
    for role in {**placed, **signed, **named}:
        choices = in_one_format(placed.get(role) or signed.get(role) or named[role])
        if len(choices) == 1:
            found.files[role] = choices[0]
        else:
            found.ambiguous[role] = tuple(choices)
    return found


def roles_of_folder(path: Path) -> tuple[str, ...] | None:
    """What the nearest folder of a relative path that has such a name holds; None where none has."""
    return next((FOLDERS[name] for name in reversed(path.parts[:-1]) if name in FOLDERS), None)


def role_by_name(path: Path) -> str | None:
    """The part that is published under a file's name; only for what its tensors do not tell."""
    fitting = (role for role, names in PUBLISHED.items() if any(fnmatch.fnmatch(path.name, name) for name in names))
    return next(fitting, None)


def in_one_format(paths: Iterable[Path]) -> list[Path]:
    """One file of those that are one checkpoint in several formats, as safetensors where it is there."""
    chosen: dict[tuple[Path, str], Path] = {}
    for path in sorted(paths, key=lambda path: (SAFE not in path.suffixes, path)):
        stem = Path(path.name.removesuffix(sharded.INDEX)).stem.removeprefix("pytorch_")
        chosen.setdefault((path.parent, stem), path)
    return list(chosen.values())


def candidates(folder: Path) -> list[Path]:
    """The checkpoints, indexes and tokenizers of a folder, without the shards of an index.  Raises ModelError."""
    members = [path for path in files_below(folder) if is_candidate(path)]
    shards_of_all: set[Path] = set()
    for path in members:
        if sharded.is_index(path):
            shards_of_all.update(path.parent / name for name in sharded.shard_names(path))
    return [path for path in members if path not in shards_of_all]


def is_candidate(path: Path) -> bool:
    """Whether a file may be a part by the end of its name."""
    named = path.suffix in sharded.SUFFIXES or sharded.is_index(path) or path.name == "tokenizer.json"
    return named and path.is_file()


def files_below(folder: Path) -> Iterator[Path]:
    """Every name in a folder and those below it; hidden folders and links to folders are left out.

    Raises ModelError once there are more than a model has.
    """

    def refuse(error: OSError) -> None:
        if Path(str(error.filename)) == folder:
            raise ModelError(f"cannot list the folder {folder}: {error.strerror or error}") from error

    count = 0
    for place, folders, names in os.walk(folder, onerror=refuse):
        here = Path(place)
        deep = len(here.relative_to(folder).parts) >= DEEPEST
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        count += len(folders) + len(names)
        if count > MOST_FILES:
            raise ModelError(
                f"the folder {folder} holds more than {MOST_FILES:,} files", "Name the folder of one model"
            )
        yield from (here / name for name in sorted(names))
