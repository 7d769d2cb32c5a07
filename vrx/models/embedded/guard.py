"""The guard of enlarging: what is added to plain interpolation must, shrunk again, be the source up to its damage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.events import Note
from vrx.models.base import SceneStart
from vrx.networks.embedded.agreement import kept_share, offsets, shrink, spread
from vrx.networks.embedded.classical import LANCZOS_REACH, lanczos
from vrx.networks.embedded.degradation import NOISE_UNIT

NOISE_SHARE = 1.3  # of the noise of luma, all of which may be taken away
LUMA_SHARE = 0.67  # of the noise in each color, where it is white, that luma has
TRACES, COMPRESSION_ALLOWED = 0.1, 6.75  # compression from which on it allows differences; levels of them for each 1
LIFTED = (0.1, 0.3)  # compression, from and up to which the means of wide surroundings may differ
RATE = 0.5  # of the way to a frame's own share that the share goes
WHOLE = 0.999  # share that is taken for 1
TOLD_SHARE = 0.05  # of the picture, mostly enlarged plainly, from which on it is said
# pixels of the source that are enlarged plainly at once, so that buffers are small enough to be used again (memory
# that is new to the process took three quarters of the time), and rows, of which some are for the kernel
BAND, LEAST_ROWS = 1 << 15, 32


@dataclass(frozen=True)
class Tolerance:
    """What damage explains.

    `difference`: levels of luma, root mean square, by which the result, shrunk again, may differ from the source;
    `lifted`: the share of an offset of the brightness that is taken back.
    """

    difference: float
    lifted: float


EXACT = Tolerance(0.0, 1.0)


def tolerance_of(levels: Tensor, luma_noise: float) -> Tolerance:
    """The tolerance under conditions [LEVELS] of the network, and measured noise of luma in levels."""
    seen, compression, _ = levels.tolist()
    noise = NOISE_SHARE * max(luma_noise, LUMA_SHARE * seen * NOISE_UNIT * 255)
    traces = COMPRESSION_ALLOWED * max(0.0, compression - TRACES)
    full, none = LIFTED
    return Tolerance((noise**2 + traces**2) ** 0.5, min(1.0, max(0.0, (none - compression) / (none - full))))


@dataclass
class GuardState:
    """What the latest frame kept of what was added, [1, 1, H, W], None before the first; whether it was told."""

    scene: SceneStart
    share: Tensor | None = None
    told: bool = False

    def tensors(self) -> dict[str, Tensor]:
        """All but the scene."""
        share = {} if self.share is None else {"share": self.share.clone()}
        return {**share, "told": torch.tensor(self.told)}

    @staticmethod
    def from_tensors(scene: SceneStart, tensors: dict[str, Tensor]) -> GuardState:
        """The inverse of `tensors`."""
        return GuardState(scene, tensors.get("share"), bool(tensors["told"]))


def keep_agreeing(
    frames: Tensor, source: Tensor, scale: int, tolerance: Tolerance, state: GuardState
) -> tuple[tuple[Note, ...], GuardState]:
    """Change enlarged frames [T, 3, s H, s W] of `source` [T, 3, H, W] in place, where they do not agree with it.

    One frame after the other: together they may round differently.
    """
    share, told = state.share, state.told
    notes: tuple[Note, ...] = ()
    for frame, picture in zip(frames.split(1), source.split(1), strict=True):
        wanted = kept_share(lift(frame, picture, scale, tolerance.lifted), picture, scale, tolerance.difference)
        share = wanted if share is None else torch.lerp(share.to(wanted), wanted, RATE)
        if float(share.min()) < WHOLE:
            fall_back(frame, picture, scale, share)
            plain = float((share < 0.5).float().mean())
            if plain >= TOLD_SHARE and not told:
                told, notes = True, (plain_note(state.scene.number + 1, plain),)
    return notes, GuardState(state.scene, share, told)


def lift(frame: Tensor, picture: Tensor, scale: int, amount: float) -> Tensor:
    """Take an amount of the offsets from an enlarged frame, in place, and give it shrunk again."""
    shrunk = shrink(frame, scale)
    found = offsets(shrunk, picture) if amount else None
    if found is None:
        return shrunk
    found = amount * spread(found, shrunk)
    height, width = shrunk.shape[-2:]
    # an offset hardly changes from a pixel of the source to the next
    frame.view(1, -1, height, scale, width, scale).sub_(found[:, :, :, None, :, None])
    frame.clamp_(0, 1)
    return shrunk.sub_(found)


def fall_back(frame: Tensor, picture: Tensor, scale: int, share: Tensor) -> None:
    """Mix an enlarged frame [1, 3, s H, s W], in place, with plain interpolation of its picture, in bands of rows."""
    height, width = picture.shape[-2:]
    rows = max(LEAST_ROWS, BAND // width)
    for top in range(0, height, rows):
        last = min(top + rows, height)
        first, end = max(0, top - LANCZOS_REACH), min(height, last + LANCZOS_REACH)
        own = slice((top - first) * scale, (last - first) * scale)
        plain = lanczos(picture[..., first:end, :], scale)[..., own, :].clamp_(0, 1)
        weight = F.interpolate(share[..., first:end, :], scale_factor=scale, mode="bilinear")[..., own, :]
        part = frame[..., top * scale : last * scale, :]
        part.copy_(torch.lerp(plain, part, weight.to(part)))


def plain_note(scene: int, share: float) -> Note:
    """That a part of a scene, counted from 1, is enlarged plainly."""
    text = f"scene {scene}: {share:.0%} of the picture enlarged plainly, the network does not fit it"
    return Note("plainly-enlarged", text, {"scene": scene, "share": round(share, 2)})
