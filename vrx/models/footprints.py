"""GPU memory that a system takes, by the size of its output: measured, or computed where nobody measured yet."""

from __future__ import annotations

from dataclasses import dataclass

from vrx.weights.catalogue import Entry

SPARE = 1.1  # what the allocator's blocks and the libraries' workspaces take on top


@dataclass(frozen=True)
class Linear:
    """Bytes: `fixed` whatever the size, and `a_pixel` for every pixel of output."""

    fixed: float
    a_pixel: float

    def at(self, pixels: int) -> int:
        """Bytes for an output of so many pixels."""
        return round(SPARE * (self.fixed + self.a_pixel * pixels))

    def within(self, memory: int) -> int:
        """The most pixels that fit so many bytes."""
        return max(0, int((memory / SPARE - self.fixed) / self.a_pixel))


@dataclass(frozen=True)
class Footprint:
    """What a system takes in one piece, and in tiles whose caches rest on the host (None where it has none)."""

    whole: Linear
    tiled: Linear | None = None

    def least(self, pixels: int) -> int:
        """Bytes below which no way of working fits."""
        ways = [self.whole, *([self.tiled] if self.tiled else [])]
        return min(way.at(pixels) for way in ways)


# Peaks of all three stages at work.  Measured on an H100 (vrx/bench/README.md): embedded, InfVSR whole, and at one size
# with the tiny decoder.  Computed from the shapes of all tensors: the rest; within 15% where both are known.
FOOTPRINTS = {
    "embedded": Footprint(Linear(0.1e9, 280)),
    "infvsr": Footprint(Linear(3.2e9, 21_700), Linear(15.0e9, 4_600)),
    "infvsr, tiny decoder": Footprint(Linear(3.9e9, 13_200), Linear(15.0e9, 4_600)),
    "flashvsr": Footprint(Linear(8.0e9, 12_500)),
    "flashvsr, full decoder": Footprint(Linear(8.0e9, 16_000), Linear(15.0e9, 9_000)),
    "instantvir": Footprint(Linear(6.1e9, 27_800), Linear(15.0e9, 16_200)),
    "instantvir, tiny decoder": Footprint(Linear(6.1e9, 19_500), Linear(15.0e9, 16_200)),
    "instantvir, LeanVAE": Footprint(Linear(6.2e9, 16_300)),
}


def footprint(entry: Entry, decoder: str = "auto") -> Footprint | None:
    """What an entry takes with a decoder (`auto`, `tiny`, `full`); None for a family that nobody measured."""
    if entry.family == "instantvir" and any(part.role == "lean" for part in entry.parts):
        return FOOTPRINTS["instantvir, LeanVAE"]
    return FOOTPRINTS.get(f"{entry.family}, {decoder} decoder", FOOTPRINTS.get(entry.family))


def least(entry: Entry, pixels: int, decoder: str = "auto") -> int | None:
    """Bytes that an entry needs for an output of so many pixels; the catalogue's figure where nothing else is known."""
    found = footprint(entry, decoder)
    return entry.memory if found is None else found.least(pixels)


def untiled(entry: Entry, memory: int | None, decoder: str = "auto") -> int | None:
    """The most pixels of output that fit free `memory` in one piece; None where that is not known."""
    found = footprint(entry, decoder)
    return None if memory is None or found is None else found.whole.within(memory)
