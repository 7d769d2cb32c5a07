"""What happened to each scene of the compared videos, read from its first frames as they are stored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vrx.models.embedded.checkpoint import load_networks
from vrx.models.embedded.damage import WINDOW, DamageReader, SceneDamage
from vrx.models.embedded.tiles import middle
from vrx.weights.catalogue import EMBEDDED
from vrx.weights.hashes import SAFE, packaged_path


class DamageLog:
    """Takes the frames of all videos as they come, and reads every scene's damage once it has enough of them."""

    def __init__(self) -> None:
        networks = load_networks(packaged_path(f"{EMBEDDED}{SAFE}"))
        self._reader = DamageReader(networks.degradation, networks.blur, networks.diagnosis)
        self._waiting: list[tuple[Tensor, ...]] = []
        self._found: list[tuple[SceneDamage, ...]] = []
        self._open = False

    def cut(self) -> None:
        """A scene begins."""
        self._read()
        self._open = True

    def add(self, pictures: Sequence[Tensor]) -> None:
        """A frame of every video, colors [3, H, W] in 0..1."""
        if self._open:
            self._waiting.append(tuple(middle(picture.clamp(0, 1)[None])[0] for picture in pictures))
            if len(self._waiting) == WINDOW:
                self._read()

    def _read(self) -> None:
        if self._waiting:
            with torch.inference_mode():
                clips = [torch.stack(frames) for frames in zip(*self._waiting, strict=True)]
                self._found.append(tuple(self._reader.read(clip).damage for clip in clips))
        self._waiting, self._open = [], False

    def result(self) -> tuple[tuple[SceneDamage, ...], ...]:
        """Of every scene, every video's damage."""
        self._read()
        return tuple(self._found)
