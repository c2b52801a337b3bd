"""Weights as plain integers, for the multipliers of the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat

from bittern.hw.formats.format import Format, Term
from bittern.hw.ints import width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["Multiplier"]


@dataclass(frozen=True)
class Multiplier(Format):
    """Weights in two's complement: each product is one of the device's multipliers.

    Parameters
    ----------
    width : int
        Bits of a weight, 2 to 18.
    """

    width: int

    name = "multiplier"
    masks = False
    dsp = 1

    @property
    def port(self) -> int:  # type: ignore[override]
        return self.width

    def __post_init__(self) -> None:
        if not 2 <= self.width <= 18:
            raise ValueError(f"width must be in 2..18, not {self.width}")

    @classmethod
    def find(cls, weights: Ints) -> Self | None:
        # narrow products are smaller in LUTs than what is around a multiplier
        width = width_of(min(int(weights.min()), -1), int(weights.max()))
        return cls(width) if 4 <= width <= 18 else None

    def decode(self, codes: Ints) -> Ints:
        sign = 1 << (self.width - 1)
        return (codes ^ sign) - sign

    def encode(self, weights: Ints) -> Ints:
        half = 1 << (self.width - 1)
        wrong = (weights < -half) | (weights >= half)
        if wrong.any():
            raise ValueError(f"format {self.name!r} of {self.width} bits cannot hold the weight "
                             f"{weights[wrong][0]}")
        return weights & (2 * half - 1)

    def _sign(self, x_width: int) -> int:
        return 1 << (self.width + x_width - 1)

    def correction(self, codes: Ints, x_width: int) -> Ints:
        return np.full(np.shape(codes), -self._sign(x_width))

    def times(self, operand: Value, x: Value) -> list[Term]:
        product = (operand.as_signed() * x)[:self.width + len(x)]
        return [self._term(product)]

    def _term(self, product: Value) -> Term:
        """Return a product without its sign: that is inverted, and weighs as much as any bit."""
        return Term(0, Cat(product[:-1], ~product[-1]), (1 << len(product)) - 1)

    def products(self, stages: Stages, codes: Sequence[Value], x: Value, name: str
                 ) -> list[list[Term]]:
        # multipliers stand far apart: to multiply takes a cycle, to come and to go another one
        *held, x = stages.stage([*codes, x], f"{name}_factor")
        values = stages.stage([(code.as_signed() * x)[:self.width + len(x)] for code in held],
                              f"{name}_product")
        # Yosys 0.70 makes a wrong netlist of a second register that it finds behind a product
        values = stages.stage([stages.fence(v, f"{name}_{k}_held") for k, v in enumerate(values)],
                              name)
        return [[self._term(v)] for v in values]

    def lut4(self, x_width: int) -> int:
        return 0

    @property
    def pad(self) -> int:
        return 0
