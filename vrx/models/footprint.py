"""GPU memory that a model takes, by the size of its output: measured, or computed where not measured yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from vrx.networks.quantized import WeightFormat

SPARE = 1.1  # what the allocator's blocks and the libraries' workspaces take on top


@dataclass(frozen=True)
class Linear:
    """Bytes: `fixed` whatever the size, and `per_pixel` for every pixel of output."""

    fixed: float
    per_pixel: float

    def at(self, pixels: int) -> int:
        """Bytes for an output of so many pixels."""
        return round(SPARE * (self.fixed + self.per_pixel * pixels))

    def within(self, memory: int) -> int:
        """The most pixels that fit so many bytes."""
        return max(0, int((memory / SPARE - self.fixed) / self.per_pixel))


@dataclass(frozen=True)
class Curve:
    """Bytes at growing numbers of pixels, straight between them and beyond the last; the first is at 0 pixels."""

    points: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        pairs = list(pairwise(self.points))
        if self.points[0][0] != 0 or any(p >= q or a > b for (p, a), (q, b) in pairs) or not pairs:
            raise ValueError(f"points of a footprint do not grow from 0: {self.points}")

    def at(self, pixels: int) -> int:
        """Bytes for an output of so many pixels."""
        (p, a), (q, b) = next((two for two in self._pairs if pixels <= two[1][0]), self._pairs[-1])
        return round(SPARE * (a + (b - a) * (pixels - p) / (q - p)))

    def within(self, memory: int) -> int:
        """The most pixels that fit so many bytes."""
        low, high = 0, 1 << 40
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.at(middle) <= memory else (low, middle)
        return low

    @property
    def _pairs(self) -> list[tuple[tuple[int, float], tuple[int, float]]]:
        return list(pairwise(self.points))


@dataclass(frozen=True)
class Fit:
    """How a model's weights are stored: most in 8 bits, or on the host until it is their layer's turn."""

    quantized: WeightFormat | None = None
    offload: bool = False


@dataclass(frozen=True)
class Footprint:
    """Peak of all stages at work: in one piece, and in tiles whose caches rest on the host (None without tiles).

    `offloaded`: in one piece, with weights that wait on the host for their layer's turn (None where they do not);
    `tiled_offloaded`: such weights and tiles (None where not computed); `quantized`: in one piece, with weights in
    8 bits, in either format (None where not computed).

    It is that of a run with the given `decoder` (as --decoder has it), where the model has the part `part`, or at most
    so many `parameters`; of any run where none of these is named.
    """

    whole: Linear | Curve
    tiled: Linear | None = None
    decoder: str = ""
    part: str = ""
    offloaded: Linear | None = None
    parameters: float = float("inf")
    quantized: Linear | None = None
    tiled_offloaded: Linear | None = None

    def stored(self, quantized: WeightFormat | None) -> Footprint:
        """Of a run whose weights are in a format from the start."""
        return self if quantized is None or self.quantized is None else replace(self, whole=self.quantized)

    def minimum(self, pixels: int, *, int8: bool = True, offload: bool = True) -> int:
        """Bytes below which no way of working fits.

        Weights in 8 bits (`int8`) and weights that wait on the host (`offload`) are ways that a run may take by itself.
        """
        ways = [self.whole, self.tiled, self.quantized if int8 else None]
        if offload:
            ways += [self.offloaded, self.tiled_offloaded]
        return min(way.at(pixels) for way in ways if way)

    def fit(self, memory: int, pixels: int, *, int8: bool = False) -> Fit:
        """How the weights are stored so that an output of so many pixels fits so many bytes.

        The first of these that fits: as they are, in int8 where `int8` allows that, on the host, and as they are but
        in tiles.  Where none does, on the host.
        """
        if self.whole.at(pixels) <= memory:
            return Fit()
        if int8 and self.quantized is not None and self.quantized.at(pixels) <= memory:
            return Fit(quantized="int8")
        if self.offloaded is None:
            return Fit()
        tiles = self.tiled is not None and self.tiled.at(pixels) <= memory
        return Fit(offload=self.offloaded.at(pixels) <= memory or not tiles)

    def in_one_piece(self, fit: Fit) -> Linear | Curve:
        """What a run without tiles takes, its weights stored in a way."""
        stored = self.offloaded if fit.offload else self.quantized if fit.quantized else None
        return stored or self.whole

    def applies(self, decoder: str, roles: frozenset[str], parameters: int | None = None) -> bool:
        """Whether it is that of a run with this decoder, of a model with these parts and so many parameters."""
        small = self.parameters == float("inf") or (parameters is not None and parameters <= self.parameters)
        return self.decoder in ("", decoder) and (not self.part or self.part in roles) and small
