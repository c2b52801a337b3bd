"""Sum of two integers, each times a constant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from bittern.hw.ints import shape_of
from bittern.hw.merge import Merge
from bittern.hw.operators.constant_product import LIMIT, ConstantProduct
from bittern.hw.operators.product import bounds_of
from bittern.hw.pipeline import draft
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from amaranth import Shape, Value

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

    Operand = TypeVar("Operand", Shape, Value)

__all__ = ["WeightedSum"]

IN_A_ROW = 2
"""Adders between registers."""


@dataclass(frozen=True)
class WeightedSum(Merge):
    """``factor0 * x0 + factor1 * x1``, with registers after every second adder.

    Factors are multiplied by as :class:`~bittern.hw.operators.constant_product.ConstantProduct`
    does; what is beyond that is left to synthesis, which may take multipliers of the device.
    """

    factor0: int = 1
    factor1: int = 1

    def bounds(self, x0: tuple[int, int], x1: tuple[int, int]) -> tuple[int, int]:
        ends = [sorted(factor * end for end in x)
                for factor, x in ((self.factor0, x0), (self.factor1, x1))]
        return ends[0][0] + ends[1][0], ends[0][1] + ends[1][1]

    def __call__(self, x0: Ints, x1: Ints) -> Ints:
        return self.factor0 * x0 + self.factor1 * x1

    def _terms(self, a: Operand, b: Operand) -> tuple[list[tuple[Operand, int]], bool]:
        """Return operands and factors, and whether the second product is to be subtracted."""
        (x0, c0), (x1, c1) = sorted(((a, self.factor0), (b, self.factor1)),
                                    key=lambda term: term[1] < 0)
        return [(x0, c0), (x1, abs(c1))], c1 < 0

    def gates(self, stages: Stages, a: Value, b: Value) -> Value:
        terms, subtracts = self._terms(a, b)
        products = [partial(_times, x=x, c=c) for x, c in terms]
        levels = [draft(product).latency for product in products]
        first, second = stages.parallel([partial(product, waits=max(levels) - own)
                                         for product, own in zip(products, levels, strict=True)],
                                        "product")
        (total,) = stages.stage([first - second if subtracts else first + second], "sum")
        return total

    def lut4(self, a: Shape, b: Shape, family: Family) -> float:
        terms, _ = self._terms(a, b)
        total = shape_of(*self.bounds(bounds_of(a), bounds_of(b))).width
        return adder_lut4(total, family) + sum(
            ConstantProduct(x, c).lut4(family) for x, c in terms if _by_adders(x, c))


def _by_adders(x: Shape, c: int) -> bool:
    return x.width <= 16 and abs(c) < LIMIT


def _times(stages: Stages, x: Value, c: int, waits: int = 0) -> Value:
    """Return ``x * c``, beginning `waits` levels later."""
    for _ in range(waits):
        (x,) = stages.stage([x], "factor")
    if c > 0 and not c & c - 1:
        return x.shift_left(c.bit_length() - 1)
    if not _by_adders(x.shape(), c):
        return stages.stage([x * c], "product")[0]
    return ConstantProduct(x.shape(), c, registers=IN_A_ROW).gates(stages, x)[0]
