"""Muon beside AdamW, and the schedule of the rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vrx.networks.embedded.network import EmbeddedNetwork

WARM_UP = 100  # steps


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by a Newton-Schulz iteration (Jordan et al., 2024).

    For matrices; a convolution's kernel is read as [out, in x height x width].
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter by its orthogonalized Nesterov momentum."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                buffer = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(buffer, group["momentum"]).flatten(1)
                update = orthogonal(update) * max(1, update.shape[0] / update.shape[1]) ** 0.5
                p.add_(update.view_as(p), alpha=-group["lr"])


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: a quintic Newton-Schulz iteration."""
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


def optimizers(network: EmbeddedNetwork, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' and attention's matrices, AdamW for stems, heads, biases and tables."""
    inner: list[nn.Parameter] = []
    outer: list[nn.Parameter] = []
    for name, p in network.named_parameters():
        matrix = p.ndim >= 2 and not name.startswith(("stems", "heads", "conditions"))
        (inner if matrix and not name.endswith((".near", ".far")) else outer).append(p)
    return [
        Muon(inner, lr=rate * 10),
        torch.optim.AdamW(outer, lr=rate, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def rate_at(step: int, progress: float) -> float:
    """Share of the full rate: warm-up by steps, then a cosine to zero over `progress` 0..1."""
    return min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, progress)))
