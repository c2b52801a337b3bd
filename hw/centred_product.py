"""Product of two integers, each counted from a zero point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bittern.hw.ints import shape_of
from bittern.hw.merge import Merge
from bittern.hw.operators.dsp_product import DspProduct
from bittern.hw.operators.product import Product, bounds_of
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from amaranth import Shape, Value

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.operators.operator import Operator
    from bittern.hw.pipeline import Stages

__all__ = ["CentredProduct"]


@dataclass(frozen=True)
class CentredProduct(Merge):
    """``(x0 - zero0) * (x1 - zero1)``; the factors may have 1 to 16 bits.

    Parameters
    ----------
    zero0, zero1 : int
    dsp : bool
        Whether a multiplier of the device makes it, or a tree of adders, each with a register.
    """

    zero0: int = 0
    zero1: int = 0
    dsp: bool = True

    def bounds(self, x0: tuple[int, int], x1: tuple[int, int]) -> tuple[int, int]:
        ends = [(a - self.zero0) * (b - self.zero1) for a in x0 for b in x1]
        return min(ends), max(ends)

    def __call__(self, x0: Ints, x1: Ints) -> Ints:
        return (x0 - self.zero0) * (x1 - self.zero1)

    def factors(self, a: Shape, b: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the factors for elements of shapes `a` and `b`."""
        f0, f1 = (shape_of(lo - zero, hi - zero) for zero, (lo, hi) in
                  ((self.zero0, bounds_of(a)), (self.zero1, bounds_of(b))))
        return f0, f1

    def _product(self, a: Shape, b: Shape) -> Operator:
        f0, f1 = self.factors(a, b)
        return DspProduct(f0, f1) if self.dsp else Product(f0, f1, registers=True)

    def gates(self, stages: Stages, a: Value, b: Value) -> Value:
        product = self._product(a.shape(), b.shape())
        factors = []
        for x, zero, shape in zip((a, b), (self.zero0, self.zero1), product.inputs, strict=True):
            factor = (x - zero if zero else x)[:shape.width]
            factors.append(factor.as_signed() if shape.signed else factor)
        if not self.dsp and (self.zero0 or self.zero1 or not product.latency):
            factors = stages.stage(factors, "factor")
        (y,) = product.gates(stages, *factors)
        return y

    def lut4(self, a: Shape, b: Shape, family: Family) -> float:
        product = self._product(a, b)
        # a zero point of half the range, or none, is an inverter at the most
        return product.lut4(family) + sum(
            adder_lut4(factor.width, family) for zero, x, factor in
            zip((self.zero0, self.zero1), (a, b), product.inputs, strict=True)
            if zero % (1 << x.width - 1))
