"""Weights of several outputs that share a multiplier of the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Value, signed, unsigned

from bittern.hw.family import Family
from bittern.hw.formats.tile import Term, TileFormat
from bittern.hw.ints import width_of
from bittern.hw.operators.packed_product import PackedProduct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["PackedMultiplier"]


@dataclass(frozen=True)
class PackedMultiplier(TileFormat):
    """Weights of two outputs in two's complement: their products with an input are one multiplier.

    See :class:`~bittern.hw.operators.packed_product.PackedProduct`.

    Parameters
    ----------
    bits : int
        Of a weight, 2 to 8.
    """

    bits: int

    name = "packed-multiplier"
    rows = 2
    dsp = 1
    port = 18
    masks = False
    fill = 0

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be in 2..8, not {self.bits}")

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.rows * self.bits

    @classmethod
    def find(cls, weights: Ints) -> Self | None:
        bits = width_of(min(int(weights.min()), -1), int(weights.max()))
        return cls(bits) if 4 <= bits <= 8 and len(weights) > 1 else None

    def _product(self, x_width: int) -> PackedProduct:
        return PackedProduct(self.rows, signed(self.bits), unsigned(x_width), registers=True)

    def takes(self, x_width: int) -> bool:
        try:
            self._product(x_width)
        except ValueError:
            return False
        return True

    def encode_tiles(self, tiles: Ints) -> Ints:
        half = 1 << (self.bits - 1)
        wrong = (tiles < -half) | (tiles >= half)
        if wrong.any():
            raise ValueError(f"format {self.name!r} of {self.bits} bits cannot hold the weight "
                             f"{tiles[wrong][0]}")
        low, high = np.moveaxis(tiles[..., 0] & (2 * half - 1), -1, 0)
        codes: Ints = low | high << self.bits
        return codes

    def correct_tiles(self, codes: Ints, x_width: int) -> Ints:
        return np.full((*codes.shape, self.rows), -(1 << (self.bits + x_width - 1)))

    def multiply_tiles(self, stages: Stages, codes: Sequence[Value], xs: Sequence[Value],
                       name: str) -> list[list[Term]]:
        (x,) = xs
        product, n = self._product(len(x)), self.bits
        start, results = stages.latency, list[Value]()
        for code in codes: # beside each other, through the same levels
            stages.latency = start
            results += product.gates(stages, code[:n].as_signed(), code[n:].as_signed(), x)
        # a product without its sign: that is inverted, and weighs as much as any bit
        return [[Term(0, Cat(p[:-1], ~p[-1]), (1 << len(p)) - 1)] for p in results]

    def lut4(self, x_width: int) -> int:
        return round(self._product(x_width).lut4(Family.ECP5))
