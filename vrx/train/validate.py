"""Validation of the enlarging network on held-out clips: gain in luma PSNR by scale and damage."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks.embedded.classical import bicubic
from vrx.networks.embedded.degradation import LEVELS, MOST_DAMAGE, DegradationEstimator
from vrx.networks.embedded.recurrent import (
    PIXELS,
    ClipMotion,
    Neighbors,
    PreviousFrame,
    RecurrentConfig,
    RecurrentNetwork,
)
from vrx.train.pool import Footage, motion_of
from vrx.train.synthesis import saturate

BORDER = 8  # pixels left out
LUMA = (65.481, 128.553, 24.966)  # ITU-R BT.601, of 255
LEAD = 4  # frames that damage is read from
OUTSIDE = 1e4  # motion to nowhere
NOISES = {4: (6.0,), 2: (10.0,), 3: ()}  # levels of 255
VIVID = 2.0  # of clips that features are watched on: times as far from gray
CODED = {4: (0, 2, 6), 2: (2,), 3: ()}  # which of a clip's copies, in the order of `vrx.train.material`


@dataclass(frozen=True)
class Case:
    """One kind of clips on the device, uint8 [N, T, 3, ...], their motion as `Clips` has it and bicubic's figure."""

    name: str
    scale: int
    low: Tensor
    truth: Tensor
    motion: Tensor
    plain: float


def psnr(out: Tensor, truth: Tensor) -> Tensor:
    """dB of luma of clips [N, T, 3, H, W] in 0..1, [N, T]."""
    weights = out.new_tensor(LUMA).view(3, 1, 1) / 255
    error = (((out.clamp(0, 1) * 255).round() / 255 - truth) * weights).sum(2)[..., BORDER:-BORDER, BORDER:-BORDER]
    return -10 * torch.log10(error.square().mean((-1, -2)).clamp_min(1e-10))


class Validation:
    """The cases, made once."""

    def __init__(self, held: list[Footage], frames: int, device: torch.device) -> None:
        self._device = device
        self.cases: list[Case] = []
        if not held:
            return
        self._workers = ThreadPoolExecutor(8)
        truths = torch.stack([clip.frames[:frames] for clip in held])
        torch_state = torch.get_rng_state()
        for scale in NOISES:
            step = scale * 2 * PIXELS[scale]
            height, width = (side // step * step for side in truths.shape[-2:])
            truth = truths[..., :height, :width]
            flat = truth.flatten(0, 1).float() / 255
            low = F.interpolate(flat, [height // scale, width // scale], mode="bicubic", antialias=True).clamp(0, 1)
            low = (low * 255).round().view(*truth.shape[:2], 3, height // scale, width // scale)
            self._add(f"x{scale}", scale, low, truth)
            for noise in NOISES[scale]:
                spoiled = (low + noise * torch.randn_like(low)).round().clamp(0, 255)
                self._add(f"x{scale} noise {noise:.0f}", scale, spoiled, truth)
            for index in CODED[scale]:
                copies = [clip.copies[scale][index].frames[:frames] for clip in held if clip.copies.get(scale)]
                if len(copies) == len(held):
                    coded = torch.stack(copies)[..., : low.shape[-2], : low.shape[-1]].float()
                    self._add(f"x{scale} coded {index}", scale, coded, truth)
        torch.set_rng_state(torch_state)
        self._workers.shutdown()

    def _add(self, name: str, scale: int, low: Tensor, truth: Tensor) -> None:
        motion = motion_of(low / 255, PIXELS[scale], self._workers).clone()
        motion[:, 0, 0] = motion[:, 1, -1] = OUTSIDE
        base = bicubic(low.flatten(0, 1) / 255, scale).view(truth.shape)
        plain = float(psnr(base, truth.float() / 255).mean())
        self.cases.append(Case(name, scale, low.to(torch.uint8), truth, motion, plain))

    @torch.no_grad()
    def run(self, config: RecurrentConfig, weights: dict[str, Tensor]) -> str:
        """Each case's figure, its gain over bicubic, without later frames, the last frame's, and the levels read."""
        cuda = self._device.type == "cuda"
        network, damage = RecurrentNetwork(config).to(self._device), DegradationEstimator().to(self._device)
        for prefix, module in {"network.": network, "damage.": damage}.items():
            own = {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
            module.load_state_dict(own)
        network = network.to(torch.bfloat16 if cuda else torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
        figures = [self._measure(case, network, damage) for case in self.cases]
        return "  |  ".join([*figures, *(self.largest(case, network) for case in self.cases[:1])])

    def _measure(self, case: Case, network: RecurrentNetwork, damage: DegradationEstimator) -> str:
        low = case.low.float() / 255
        levels = damage(low[:, :LEAD]).clamp(0, MOST_DAMAGE)
        grid = case.motion.shape[-2:]
        previous = PreviousFrame(low.new_zeros(len(low), network.config.channels, *grid), torch.zeros_like(low[:, 0]))
        before, after = case.motion.float().unbind(1)
        found = []
        for motion in (ClipMotion(before, after), ClipMotion(before)):
            residuals = network(case.scale, low, levels, previous, motion).residuals
            pixels = F.pixel_shuffle(residuals.flatten(0, 1).float(), case.scale * PIXELS[case.scale])
            out = (bicubic(low.flatten(0, 1), case.scale) + pixels).view(case.truth.shape)
            found.append(psnr(out, case.truth.float() / 255))
        read = ",".join(f"{value:.2f}" for value in levels.mean(0).tolist())
        figures, blind = found
        gain, last = figures.mean() - case.plain, figures[:, -1].mean()
        return f"{case.name} {figures.mean():.2f} ({gain:+.2f}, blind {blind.mean():.2f}, last {last:.2f}; {read})"

    @staticmethod
    @torch.no_grad()
    def largest(case: Case, network: RecurrentNetwork) -> str:
        """The largest feature of the trunk and of the branch on any frame of vivid clips.

        One that reaches its bound runs away: then it is as if that was not remembered, and it shows in the picture.
        """
        low = saturate(case.low.float() / 255, VIVID)
        levels, (before, after) = low.new_zeros(len(low), LEVELS), case.motion.float().unbind(1)
        shifts, state, seen = network.shifts(levels), None, []
        later = network.look_back(case.scale, low, levels, after)
        for index, picture in enumerate(low.unbind(1)):
            neighbors = Neighbors(state, before[:, index], later[index] if later else None)
            _, state = network.step(case.scale, picture, shifts, neighbors)
            seen.append(state.features)
        found = [float(torch.stack(features).abs().max()) for features in (seen, later) if features]
        return "vivid: features up to " + ", later ones ".join(f"{value:.1f}" for value in found)
