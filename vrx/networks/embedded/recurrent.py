"""The enlarging network: residual blocks over a picture and what they found in the frame before.

The features of the latest frame are moved along the optical flow and go into the next frame's first layer
(frame-recurrent propagation as in BasicVSR, Chan et al., 2021).  A shallow branch runs from later frames to earlier
ones in the same way, as far as there is a view ahead; what it finds at a frame goes into that layer as well.  A trunk
is shared by the scales; each has a first and a last convolution of its own.  Predicts a residual to bicubic
interpolation.  Knows tensors; does not know files, threads, chunks or scenes.

Legend: N batch, C channels, H and W grid positions; a position is p x p pixels of the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.embedded.degradation import LEVELS
from vrx.networks.embedded.grid import DETAIL_GAIN, contrast
from vrx.networks.published import Given, NetworkConfig, PublishedNetwork, Shapes, count_entries

PIXELS = {4: 1, 3: 1, 2: 2}  # scale: pixels of the source a grid position has a side
INPUTS = 10  # planes per pixel of the source: colors, their contrast; of the frame before its difference, and where
# there is one
HIDDEN = 32  # units between the conditions and the blocks
# what features of the branch and of the trunk never exceed; those of plain clips stay far below
LATER_BOUND, BOUND = 4.0, 8.0
SLOPE = 0.1  # of activations below zero
BAND = 1 << 19  # numbers a thread that several steps are done with before the next ones, so that they stay in its cache
MOST_POSITIONS = 1 << 19  # that go through the network at once; larger pictures go in bands of rows


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(NetworkConfig):
    """Sizes of the network."""

    COUNTS = frozenset(("blocks", "later_blocks"))

    channels: int
    blocks: int
    later_blocks: int = 0

    @classmethod
    def from_tensors(cls, shapes: Shapes, given: Given) -> RecurrentConfig:
        """See `NetworkConfig`."""
        found = {
            "channels": shapes["recall.weight"][0],
            "blocks": count_entries(shapes, "blocks."),
            "later_blocks": count_entries(shapes, "later.blocks."),
        }
        return cls(**{**found, **given})


STANDARD = RecurrentConfig(channels=64, blocks=7, later_blocks=3)
FAST_SIZE = RecurrentConfig(channels=64, blocks=3)  # of less than half the work


@dataclass(frozen=True)
class PreviousFrame:
    """State after a frame: features [N, C, H, W] and its picture [N, 3, p H, p W].

    For the branch that runs backward in time, the frame that it saw before is the later one.
    """

    features: Tensor
    picture: Tensor


@dataclass(frozen=True)
class Neighbors:
    """What is known of the frames around one.

    `motion` [N, 2, H, W]: from each position to its content's place in the `previous` frame, x and y in positions.
    Without either the frame is a scene's first.  `later` [N, C, H, W]: what `look_back` found at this frame.
    """

    previous: PreviousFrame | None = None
    motion: Tensor | None = None
    later: Tensor | None = None


@dataclass(frozen=True)
class ClipMotion:
    """How content of clips moves, for training.

    `before` [N, T, 2, H, W] to each frame's previous one, `after` to the next one; far outside where there is none.
    `foreseen` [N] is 0 for clips that do without what later frames show.
    """

    before: Tensor
    after: Tensor | None = None
    foreseen: Tensor | None = None


class WalkedClips(NamedTuple):
    """Of clips: residuals [N, T, 3 (s p)^2, H, W], what the last frame leaves, and each frame's features [N, C, H, W].

    `later`: those of the branch for later frames; none without it.
    """

    residuals: Tensor
    previous: PreviousFrame
    features: list[Tensor]
    later: list[Tensor]


class Block(nn.Module):
    """Two 3 x 3 convolutions around one activation, added to their input; the conditions shift what is between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.first.weight, a=SLOPE, nonlinearity="leaky_relu")
        nn.init.normal_(self.second.weight, std=0.3 / (9 * channels) ** 0.5)
        nn.init.zeros_(self.first.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        """[N, C, H, W] to the same; `shift` [N, C]."""
        bias = self.first.bias
        assert bias is not None
        if len(shift) == 1:  # one scene: the shift is part of the bias, which costs nothing
            hidden = F.conv2d(x, self.first.weight, bias + shift[0], padding=1)
        else:
            hidden = F.conv2d(x, self.first.weight, padding=1) + (shift + bias)[..., None, None]
        out: Tensor = self.second(F.leaky_relu(hidden, SLOPE, inplace=True))
        return out.add_(x)


class Propagation(nn.Module):
    """From a picture and the features of the frame seen before it to its own features."""

    def __init__(self, channels: int, blocks: int, bound: float) -> None:
        super().__init__()
        self.channels, self.bound = channels, bound
        self.stems = nn.ModuleDict(
            {str(s): nn.Conv2d(INPUTS * p * p, channels, 3, padding=1) for s, p in PIXELS.items()}
        )
        self.recall = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(blocks))
        self.conditions = nn.Sequential(nn.Linear(LEVELS, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, blocks * channels))
        nn.init.zeros_(self.conditions[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.conditions[-1].bias)  # type: ignore[arg-type]

    @property
    def weight(self) -> Tensor:
        """Some weight: its device and type are the network's."""
        return cast(Tensor, next(iter(self.stems.values())).weight)

    def shifts(self, levels: Tensor) -> tuple[Tensor, ...]:
        """The blocks' shifts [N, C] under conditions `levels` [N, LEVELS]."""
        shifts: Tensor = self.conditions(levels.to(self.weight.dtype))
        return shifts.split(self.channels, -1)

    def inputs(self, scale: int, picture: Tensor, neighbors: Neighbors) -> tuple[Tensor, Recalled | None]:
        """Planes [N, C, H, W] of a picture [N, 3, p H, p W] in 0..1 beside the one seen before, and its features."""
        pixels, previous, motion = PIXELS[scale], neighbors.previous, neighbors.motion
        if previous is None or motion is None:
            earlier = torch.cat([torch.zeros_like(picture), torch.zeros_like(picture[:, :1])], 1)
            recalled = None
        else:
            valid = inside(motion)
            change = (picture - fetch(previous.picture, motion, pixels)) * DETAIL_GAIN
            plane = F.interpolate(valid, scale_factor=pixels) if pixels > 1 else valid
            earlier = torch.cat([change * plane, plane], 1)
            recalled = Recalled(previous.features, motion, valid)
        x = torch.cat([picture, contrast(picture), earlier], 1)
        x = F.pixel_unshuffle(x, pixels) if pixels > 1 else x
        return x.to(self.weight.dtype), recalled

    def begin(self, scale: int, x: Tensor, recalled: Recalled | None) -> Tensor:
        """The first layer before its activation."""
        x = self.stems[str(scale)](x.contiguous(memory_format=torch.channels_last))
        if recalled is not None:
            x = x + self.recall(recalled.fetch().to(x.dtype).contiguous(memory_format=torch.channels_last))
        return x

    def refine(self, x: Tensor, shifts: tuple[Tensor, ...]) -> Tensor:
        """From the first layer to the features, which are bounded."""
        x = F.leaky_relu(x, SLOPE)
        for block, shift in zip(self.blocks, shifts, strict=True):
            x = block(x, shift)
        return bounded(x, self.bound)

    def features(self, scale: int, picture: Tensor, shifts: tuple[Tensor, ...], neighbors: Neighbors) -> PreviousFrame:
        """A frame's features; arguments as of `RecurrentNetwork.step`."""
        x = self.begin(scale, *self.inputs(scale, picture, neighbors))
        return PreviousFrame(self.refine(x, shifts), picture)


class RecurrentNetwork(Propagation, PublishedNetwork):
    """The network as a whole; `step` walks one frame at a time.

    `later` is the branch that runs backward in time, None in networks without one.
    """

    CONFIG = RecurrentConfig
    SIGNATURE = "recall.weight"

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config.channels, config.blocks, BOUND)
        self.config = config
        width = config.channels
        self.heads = nn.ModuleDict(
            {str(s): nn.Conv2d(width, 3 * (s * p) ** 2, 3, padding=1) for s, p in PIXELS.items()}
        )
        self.later = Propagation(width, config.later_blocks, LATER_BOUND) if config.later_blocks else None
        self.combine = nn.Conv2d(width, width, 3, padding=1, bias=False) if config.later_blocks else None
        for layer in (*self.heads.values(), *((self.combine,) if self.combine else ())):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self, scale: int, pictures: Tensor, levels: Tensor, previous: PreviousFrame, motion: ClipMotion
    ) -> WalkedClips:
        """Clips [N, T, 3, p H, p W] after a `previous` frame."""
        shifts, residuals, features = self.shifts(levels), [], []
        later = found_later = self.look_back(scale, pictures, levels, motion.after)
        if motion.foreseen is not None:
            later = [found * motion.foreseen.view(-1, 1, 1, 1).to(found.dtype) for found in later]
        for index, (picture, moved) in enumerate(zip(pictures.unbind(1), motion.before.unbind(1), strict=True)):
            neighbors = Neighbors(previous, moved, later[index] if later else None)
            residual, previous = self.step(scale, picture, shifts, neighbors)
            residuals.append(residual)
            features.append(previous.features)
        return WalkedClips(torch.stack(residuals, 1), previous, features, found_later)

    def look_back(self, scale: int, pictures: Tensor, levels: Tensor, motion: Tensor | None) -> list[Tensor]:
        """What the branch finds at each frame of clips, from the last to the first, in the frames' order.

        `pictures` [N, T, 3, p H, p W]; `motion` [N, T, 2, H, W] from each position to its content's place in the frame
        after; none where that is outside.  Nothing for a network without the branch.
        """
        if self.later is None or motion is None:
            return []
        shifts, state, found = self.later.shifts(levels), None, []
        for index in range(pictures.shape[1] - 1, -1, -1):
            neighbors = Neighbors(state, motion[:, index])
            state = self.later.features(scale, pictures[:, index], shifts, neighbors)
            found.append(state.features)
        return found[::-1]

    def step(
        self, scale: int, picture: Tensor, shifts: tuple[Tensor, ...], neighbors: Neighbors
    ) -> tuple[Tensor, PreviousFrame]:
        """One frame [N, 3, p H, p W] in 0..1 to its residual [N, 3 (s p)^2, H, W], and what it leaves."""
        x, recalled = self.inputs(scale, picture, neighbors)
        residual, features = self.run(scale, x, recalled, shifts, neighbors.later)
        return residual, PreviousFrame(features, picture)

    def run(
        self, scale: int, x: Tensor, recalled: Recalled | None, shifts: tuple[Tensor, ...], later: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Inputs [N, C, H, W] and the features before to the residual and features, in bands where they are large."""
        height, width = x.shape[-2:]
        rows = max(self.reach, MOST_POSITIONS // width)
        if height <= rows or torch.is_grad_enabled():
            return self.walk(scale, x, recalled, shifts, later)
        found: list[Tensor] = []
        for top in range(0, height, rows):
            seen = slice(max(0, top - self.reach), top + rows + self.reach)
            part_later = None if later is None else later[..., seen, :]
            results = self.walk(scale, x[..., seen, :], recalled and recalled.rows(seen), shifts, part_later)
            own = slice(top - seen.start, top - seen.start + rows)
            for index, part in enumerate(results):
                if not top:
                    size = (*part.shape[:2], height, width)
                    found.append(part.new_empty(size).contiguous(memory_format=torch.channels_last))
                found[index][..., top : top + rows, :] = part[..., own, :]
        return found[0], found[1]

    @property
    def reach(self) -> int:
        """Rows on either side that a result depends on: one for each convolution on its way."""
        return 2 * self.config.blocks + 2

    def walk(
        self, scale: int, x: Tensor, recalled: Recalled | None, shifts: tuple[Tensor, ...], later: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The layers in order: inputs to the residual and features."""
        x = self.begin(scale, x, recalled)
        if later is not None and self.combine is not None:
            x = x + self.combine(later.to(x.dtype).contiguous(memory_format=torch.channels_last))
        x = self.refine(x, shifts)
        return self.heads[str(scale)](x), x


def bounded(features: Tensor, bound: float) -> Tensor:
    """Features [N, C, H, W], those far below `bound` nearly as they are, none larger: bound tanh(x / bound).

    Feedback over frames has no bound of its own: what is rare in training can be amplified from frame to frame.
    """
    if features.device.type != "cpu" or torch.is_grad_enabled():
        return torch.tanh(features / bound) * bound
    result = torch.empty_like(features)  # by the logistic function, which a processor has at half the time
    rows = rows_at_once(features)
    for part, target in zip(features.split(rows, 2), result.split(rows, 2), strict=True):
        target.copy_((part.float() * (2 / bound)).sigmoid_().mul_(2 * bound).sub_(bound))
    return result


def rows_at_once(x: Tensor) -> int:
    """How many rows of [N, C, H, W] go together through several steps on a processor."""
    return max(1, BAND * torch.get_num_threads() // (x.shape[1] * x.shape[3]))


@dataclass(frozen=True)
class Recalled:
    """Features of the frame before [N, C, H, W], and for rows from `top` on where their content was in it.

    `motion` [N, 2, h, W] in positions; `valid` [N, 1, h, W] is 0 where it was outside.
    """

    features: Tensor
    motion: Tensor
    valid: Tensor
    top: int = 0

    def rows(self, part: slice) -> Recalled:
        """For some of the rows only."""
        return Recalled(self.features, self.motion[..., part, :], self.valid[..., part, :], part.start)

    def fetch(self) -> Tensor:
        """The features, moved along the motion [N, C, h, W]."""
        return warp(self.features, self.motion, self.valid, self.top)


def warp(features: Tensor, motion: Tensor, valid: Tensor, top: int = 0) -> Tensor:
    """Features [N, C, H, W] fetched from where content was, times `valid` [N, 1, h, W], for rows from `top` on.

    On a CPU whole rows of channels are gathered and weighed in one pass, at a fifth of the time.
    """
    if features.device.type != "cpu":
        return fetch(features.float().contiguous(), motion, 1, top) * valid
    count, channels, height, width = features.shape
    rows = motion.shape[-2]
    x = (torch.arange(width) + motion[:, 0].float()).clamp(0, width - 1)
    y = (torch.arange(top, top + rows)[:, None] + motion[:, 1].float()).clamp(0, height - 1)
    left, upper = x.floor(), y.floor()
    right, lower = (left + 1).clamp_max(width - 1), (upper + 1).clamp_max(height - 1)
    first = (torch.arange(count) * height * width)[:, None, None]
    corners = [(row * width + column).long() + first for row in (upper, lower) for column in (left, right)]
    x, y = x - left, y - upper
    shares = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], -1) * valid[:, 0, ..., None]
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    places = torch.stack(corners, -1).view(-1, 4)
    found = F.embedding_bag(places, table, per_sample_weights=shares.view(-1, 4).to(table.dtype), mode="sum")
    return found.view(count, rows, width, channels).permute(0, 3, 1, 2)


def fetch(picture: Tensor, motion: Tensor, side: int, top: int = 0, mode: str = "bilinear") -> Tensor:
    """[N, C, s H, s W] sampled at `motion` [N, 2, h, W] positions of s pixels from rows `top` on.

    `mode` bilinear or bicubic.
    """
    height, width = picture.shape[-2:]
    motion = motion.float()
    moved = F.interpolate(motion, scale_factor=side, mode="bilinear") if side > 1 else motion
    x = torch.arange(width, device=motion.device) + moved[:, 0] * side
    first = top * side
    y = torch.arange(first, first + moved.shape[-2], device=motion.device)[:, None] + moved[:, 1] * side
    places = torch.stack([x * (2 / max(1, width - 1)) - 1, y * (2 / max(1, height - 1)) - 1], -1)
    return F.grid_sample(picture, places, mode=mode, padding_mode="border", align_corners=True)


def inside(motion: Tensor) -> Tensor:
    """1 where a position's content was inside the picture, else 0, [N, 1, H, W]."""
    height, width = motion.shape[-2:]
    x = motion[:, 0] + torch.arange(width, device=motion.device)
    y = motion[:, 1] + torch.arange(height, device=motion.device)[:, None]
    within = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return within[:, None].float()
