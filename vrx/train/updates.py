"""One optimizer for all weights, of tensor operations alone, so that a CUDA graph can hold it.

Muon (Jordan et al., 2024) for the square convolutions, which are alike and updated as one stack; Adam for
the rest; a running average of all.  Knows parameters; does not know networks, losses or data.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
BETAS = (0.9, 0.99)
MUON_RATE = 10.0  # times the rate of Adam
CLIP_NORM = 1.0
AVERAGE = 0.999  # of the running average, once there are enough steps
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonal(stack: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices [K, rows, columns], roughly; rows at most columns."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = stack / (stack.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Updates:
    """Moves parameters by their gradients.  `rate`, `count` and what is averaged are tensors on the device."""

    def __init__(self, named: list[tuple[str, nn.Parameter]], square: int, average: float = AVERAGE) -> None:
        """Kernels [square, square, 3, 3] are for Muon, all others for Adam; `average` of the running average."""
        self._average = average
        self.names = [name for name, _ in named]
        self.parameters = [p for _, p in named]
        alike = torch.Size((square, square, 3, 3))
        self._inner = [p for p in self.parameters if p.shape == alike]
        self._outer = [p for p in self.parameters if p.shape != alike]
        device = self.parameters[0].device
        self.rate = torch.zeros((), device=device)
        self.count = torch.zeros((), device=device)
        self.momentum = torch.zeros(len(self._inner), square, 9 * square, device=device)
        self.first = [torch.zeros_like(p) for p in self._outer]
        self.second = [torch.zeros_like(p) for p in self._outer]
        self.mean = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def step(self) -> Tensor:
        """Move everything once; returns the norm of the gradients.  Gradients that are not finite move nothing."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        norm: Tensor = torch.stack([g.norm() for g in grads]).norm()
        scale = torch.where(norm.isfinite(), (CLIP_NORM / (norm + 1e-6)).clamp(max=1.0), 0.0)
        self.count += 1
        self._muon(scale)
        self._adam(scale)
        keep = torch.minimum((self.count + 1) / (self.count + 10), torch.full_like(self.count, self._average))
        for mean, p in zip(self.mean, self.parameters, strict=True):
            mean.lerp_(p, 1 - keep)
        return norm

    def _muon(self, scale: Tensor) -> None:
        kernels = [p.grad for p in self._inner if p.grad is not None]
        stack = torch.stack([g.flatten(1) for g in kernels]).nan_to_num(0, 0, 0) * scale
        self.momentum.lerp_(stack, 1 - MOMENTUM)
        update = orthogonal(stack.lerp(self.momentum, MOMENTUM).bfloat16()).float() * (self.rate * MUON_RATE)
        for p, move in zip(self._inner, update, strict=True):
            p.sub_(move.view_as(p))

    def _adam(self, scale: Tensor) -> None:
        fresh = [1 - torch.pow(torch.full_like(self.count, beta), self.count) for beta in BETAS]
        for p, first, second in zip(self._outer, self.first, self.second, strict=True):
            if p.grad is None:  # of another scale
                continue
            grad = p.grad.nan_to_num(0, 0, 0) * scale
            first.lerp_(grad, 1 - BETAS[0])
            second.lerp_(grad * grad, 1 - BETAS[1])
            p.sub_(self.rate * (first / fresh[0]) / ((second / fresh[1]).sqrt() + 1e-8))

    def averaged(self) -> dict[str, Tensor]:
        """The running average by name."""
        return dict(zip(self.names, self.mean, strict=True))

    def state(self) -> dict[str, list[Tensor]]:
        """All there is to save."""
        return {
            "parameters": [p.detach() for p in self.parameters],
            "mean": self.mean,
            "momentum": [self.momentum],
            "first": self.first,
            "second": self.second,
            "count": [self.count],
        }

    @torch.no_grad()
    def restore(self, state: dict[str, list[Tensor]]) -> None:
        """Take back what `state` gave."""
        own = self.state()
        for name, saved in state.items():
            for target, value in zip(own[name], saved, strict=True):
                target.copy_(value)


def rate_at(count: int, progress: float, warm_up: int) -> float:
    """Share of the full rate: a warm-up by steps, then a cosine to zero over `progress` 0..1."""
    return min(1.0, (count + 1) / warm_up) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, progress))))
