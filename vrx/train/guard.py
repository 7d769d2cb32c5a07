"""Train the networks that decide how much of a deblurring a scene bears.

    python -m vrx.train.guard --photos DIR --footage DIR --checkpoint FILE --out FILE [--samples 1500] [--seed 1]
        [--softer N] [--hold-out STEM...]

`--checkpoint` is a packed one; its guard need not be trained.  Each case of `vrx.train.fuzz_cases` is
restored without a guard; what every mixture of the input, the filter and the network would win follows from a few
products.  The networks learn to choose the mixture that wins most, losses counting many times.  `--softer` is how many
further cases are smaller and softer; where there are any, the others count twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from vrx.models.embedded.checkpoint import EmbeddedNetworks, load_networks
from vrx.models.embedded.damage import LEAST_WIDTH, WINDOW
from vrx.models.embedded.deblur import Plan, Planner
from vrx.networks.embedded.classical import wiener
from vrx.networks.embedded.grid import GRID, deblur_inputs, to_pixels
from vrx.networks.embedded.guard import DeblurGuard, measure
from vrx.networks.embedded.kernels import NONE
from vrx.networks.embedded.network import SIGMA_UNIT, EmbeddedNetwork
from vrx.networks.embedded.symptoms import describe, gray
from vrx.train import sources
from vrx.train.diagnosis import SPREAD_FLOOR, to_tensor
from vrx.train.fuzz_cases import Case, Material, draw_case

STEPS, BATCH, RATE, DECAY, JITTER = 1400, 192, 6e-3, 0.1, 0.1
HARM = 5.0  # further times that a dB lost counts over one won
MARGIN = 0.03  # dB of a loss that nobody minds
QUIET = 2e-7  # added to both errors: a third of what rounding to 8 bits makes
MOST = 6.0  # dB that count
BORDER = 8  # pixels that do not count; of small pictures an eighth of a side


@dataclass(frozen=True)
class Table:
    """Tried cases: `measures` [N, MEASURES]; `products` [N, 6].

    The products are means over luma: e = truth - input squared, a = filter - input squared, b = filter and network -
    input squared, a b, a e, b e.
    """

    measures: Tensor
    products: Tensor


def undone(plan: Plan, low: Tensor, network: EmbeddedNetwork) -> tuple[Tensor, Tensor]:
    """Frames [T, 3, H, W] after the filter, and where the network takes its part in full."""
    filtered = plan.filtered(low)
    if not plan.network:
        return filtered, filtered
    sharp = wiener(low, plan.recipe.width)
    levels = low.new_tensor([[plan.recipe.width / SIGMA_UNIT, 0, 0]])
    memory, residuals = network.allocate(low.shape[-2] // GRID, low.shape[-1] // GRID), []
    for t, grid in enumerate(deblur_inputs(low, sharp)[:, None]):
        residuals.append(network.step("deblur", grid, levels, memory, t == 0))
    residual = to_pixels(torch.cat(residuals))
    return filtered, torch.lerp(filtered, sharp, plan.network) + plan.network * residual


def row(case: Case, networks: EmbeddedNetworks) -> tuple[Tensor, Tensor] | None:
    """The measures and products of a case; None where nothing would be tried."""
    planner = Planner(networks.blur, networks.diagnosis, networks.guard, case.sigma, None)
    sides = [side // GRID * GRID for side in case.low.shape[1:3]]
    clips = [clip[:WINDOW, : sides[0], : sides[1]] for clip in (case.low, case.truth)]
    low, truth = map(to_tensor, clips)
    seen = planner.evidence(describe(low, networks.blur), low)
    found, plan = planner.draft(seen)
    if found.width < LEAST_WIDTH or (found.kind == NONE and case.sigma is None):
        return None
    measures = measure(planner.tried(found, plan, seen, low))
    before, *after = (gray(x.clamp(0, 1)) for x in (low, *undone(plan, low, networks.network)))
    edge = [min(BORDER, side // 8) for side in sides]
    a, b, e = (
        (x - before)[..., edge[0] : sides[0] - edge[0], edge[1] : sides[1] - edge[1]].double()
        for x in (*after, gray(truth))
    )
    products = torch.stack([(x * y).mean() for x, y in ((e, e), (a, a), (b, b), (a, b), (a, e), (b, e))])
    return measures, products


def gain(products: Tensor, strength: Tensor, network: Tensor) -> Tensor:
    """dB that mixtures [N] win: s ((1 - n) a + n b)."""
    e, a, b, ab, ae, be = products.unbind(1)
    p, q = strength * (1 - network), strength * network
    after = e - 2 * (p * ae + q * be) + p * p * a + 2 * p * q * ab + q * q * b
    return 10 * torch.log10((e + QUIET) / (after.clamp_min(0) + QUIET))


def utility(won: Tensor) -> Tensor:
    """What a gain is worth: a loss counts HARM times."""
    return won.clamp_max(MOST) - HARM * F.relu(-won - MARGIN)


def fitted(table: Table, steps: int = STEPS) -> DeblurGuard:
    """A guard, each of its members trained on other draws of the cases."""
    guard = DeblurGuard()
    guard.middle.copy_(table.measures.mean(0))
    guard.spread.copy_(table.measures.std(0) + SPREAD_FLOOR)
    x, products = guard.normalized(table.measures), table.products.float()
    drawn = torch.randint(len(x), (len(guard.members), len(x)))  # each member sees other cases, some twice
    optimizer = torch.optim.AdamW(guard.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(steps):
        loss = torch.zeros(())
        for member, cases in zip(guard.members, drawn, strict=True):
            index = cases[torch.randint(len(x), (BATCH,))]
            chosen = member(x[index] + JITTER * torch.randn(BATCH, x.shape[1])).sigmoid()
            loss = loss - utility(gain(products[index], *chosen.unbind(1))).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return guard.eval()


def tabulate(cases: Iterator[Case], networks: EmbeddedNetworks) -> Table:
    """Cases as numbers, those alone on which something would be tried."""
    with torch.inference_mode():
        rows = [found for case in cases if (found := row(case, networks)) is not None]
    measures, products = (torch.stack(part).clone() for part in zip(*rows, strict=True))
    return Table(measures, products)


def joined(*tables: Table) -> Table:
    """The cases of several tables."""
    return Table(torch.cat([t.measures for t in tables]), torch.cat([t.products for t in tables]))


def main() -> None:
    """Draw the cases, fit, write the weights."""
    parser = sources.arguments(__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--softer", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    material, networks = Material(args.photos, args.footage, args.hold_out), load_networks(args.checkpoint)
    table = tabulate((draw_case(material, args.seed, n) for n in range(args.samples)), networks)
    if args.softer:
        soft = tabulate((draw_case(material, args.seed + 1, n, softer=True) for n in range(args.softer)), networks)
        table = joined(table, table, soft)
    save_file(fitted(table).state_dict(), args.out)


if __name__ == "__main__":
    main()
