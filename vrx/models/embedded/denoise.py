"""Noise taken out of a scene's frames before anything else is done with them: in time, then within each frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrx.models.embedded.damage import SceneDamage
from vrx.models.optical_flow import Motion
from vrx.networks.embedded.planes import to_colors, to_planes
from vrx.networks.embedded.shrink import shrink
from vrx.networks.embedded.temporal import Average, Noise, begin, join

LEAST_NOISE = (2.2, 1.6)  # levels of 255, of luma or chroma, from which on it is taken out by itself
LEAST_ASKED = 0.3  # the same where the user says how much goes
# deviations of luma's noise that detail within a frame must stand out by; the network that enlarges takes the rest out
LUMA_LIMITS = (1.7, 1.2)
LEAD_FRAMES = 4  # of a scene, followed from last to first before it begins: its first frame has others to build on


@dataclass(frozen=True)
class Followed:
    """How content moved.

    `motion` [T, 2, H, W]: from each position to its place in the frame before.  `lead` [L - 1, 2, H, W], where a scene
    begins: where the content of each of its first frames but the last will be in the next; the motion of the first
    frame is then from the second.
    """

    motion: Tensor
    lead: Tensor | None

    def to(self, device: torch.device) -> Followed:
        """On a device."""
        return Followed(self.motion.to(device), None if self.lead is None else self.lead.to(device))


def follow(search: Motion, luma: Tensor, previous: Tensor, count: int) -> Followed:
    """The motion of the first `count` of luma uint8 [T, H, W] after the frame `previous` [0 or 1, H, W]."""
    return begin_to_follow(search, luma, previous, count)()


def begin_to_follow(search: Motion, luma: Tensor, previous: Tensor, count: int) -> Callable[[], Followed]:
    """As `follow`, what is found being waited for when it is asked for."""
    if len(previous):
        after = search.begin(torch.cat([previous, luma[:count]]))
        return lambda: Followed(after(), None)
    backward, forward = search.begin(luma[:LEAD_FRAMES].flip(0)), search.begin(luma[:count])

    def found() -> Followed:
        lead = backward().flip(0)
        first = lead[:1] if len(lead) else lead.new_zeros(1, *lead.shape[1:])
        return Followed(torch.cat([first, forward()]), lead)

    return found


@dataclass(frozen=True)
class Cleaned:
    """Frames [T, 3, H, W] less their noise, those of the lead [L, 3, H, W] where there is one, and the mean of them."""

    frames: Tensor
    lead: Tensor | None
    average: Average


class Denoiser:
    """Takes out as much of the noise found as is asked for: `amount` 0 to 1, None for all of what is plainly there.

    `limit`: deviations of the noise of luma that detail within a frame must stand out by.
    """

    def __init__(self, amount: float | None, limit: float) -> None:
        self._amount, self._limit = amount, limit

    def noise(self, damage: SceneDamage) -> Noise | None:
        """The noise that is taken out; None for none."""
        found = (damage.luma_noise, damage.chroma_noise)
        least = LEAST_NOISE if self._amount is None else (LEAST_ASKED, LEAST_ASKED)
        if self._amount == 0 or all(level < limit for level, limit in zip(found, least, strict=True)):
            return None
        variance = torch.tensor([max(level, LEAST_ASKED) / 255 for level in found]).square()
        spread = torch.tensor([damage.luma_spread, damage.chroma_spread])
        return Noise(variance.view(1, 2, 1, 1), spread.view(1, 2, 1, 1))

    def clean(self, pictures: Tensor, followed: Followed, noise: Noise, average: Average | None) -> Cleaned:
        """The first frames of pictures [T, 3, H, W], as many as there is motion for, after those of `average`."""
        noise, followed, lead = noise.to(pictures), followed.to(pictures.device), None
        if followed.lead is not None:
            lead, average = self.lead(pictures, followed.lead, noise)
        elif average is not None:
            average = average.to(pictures.device)  # a resumed run's comes from the host
        frames = []
        for picture, motion in zip(pictures.split(1), followed.motion.split(1), strict=False):
            now = to_planes(picture)
            average = begin(now, noise) if average is None else join(now, noise, average, motion)
            frames.append(self.finish(picture, average))
        assert average is not None
        return Cleaned(torch.cat(frames), lead, average)

    def lead(self, pictures: Tensor, motion: Tensor, noise: Noise) -> tuple[Tensor, Average | None]:
        """A scene's first frames followed from last to first, and the mean of all but the first."""
        average, frames = None, [pictures[:1]]
        for number in range(len(motion), 0, -1):
            now = to_planes(pictures[number : number + 1])
            after = motion[number : number + 1]
            average = begin(now, noise) if average is None else join(now, noise, average, after)
            frames.insert(1, self.finish(pictures[number : number + 1], average))
        return torch.cat(frames), average

    def finish(self, picture: Tensor, average: Average) -> Tensor:
        """The mean less the noise that is left in it, mixed with the picture [1, 3, H, W] as asked for."""
        clean = to_colors(shrink(average.planes, average.variance, self._limit)).clamp_(0, 1)
        return clean if self._amount is None else torch.lerp(picture, clean, self._amount)
