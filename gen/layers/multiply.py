"""Product of two tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from bittern.gen.cost import Cost
from bittern.gen.folds import any_lanes
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.merging import merge_cost
from bittern.gen.timing import Steps
from bittern.hw.centred_product import CentredProduct
from bittern.hw.family import Family
from bittern.hw.merge import Merger
from bittern.hw.stream import transfers

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["Multiply"]

MULTIPLIER, ADDERS = "multiplier", "adders"
"""What makes the products: the `format` of a fold."""
WIDEST = 16
"""The most bits of a factor."""
NARROW = 11
"""Bits of a product from which synthesis takes multipliers, on all families."""


@dataclass(frozen=True)
class Multiply(Layer):
    """``y = (x0 - zero0) * (x1 - zero1)``, element by element.

    Parameters
    ----------
    zero0, zero1 : int
    absorbs : bool
        Whether the adders of the device take in functions of two operands before them.
    """

    zero0: int = 0
    zero1: int = 0
    absorbs: bool = False

    def spec(self, form: str = ADDERS) -> CentredProduct:
        """Return what it computes of each two elements, and by what."""
        return CentredProduct(self.zero0, self.zero1, dsp=form == MULTIPLIER)

    def _widths(self, x0: Tensor, x1: Tensor) -> list[int]:
        return [shape.width for shape in self.spec().factors(x0.element, x1.element)]

    def infer(self, *xs: Tensor) -> Tensor:
        x0, x1 = xs
        if x0.shape != x1.shape:
            raise ValueError(f"cannot multiply tensors of shapes {x0.shape} and {x1.shape}")
        if max(self._widths(x0, x1)) > WIDEST:
            raise ValueError(f"factors may have up to {WIDEST} bits, less their zero points, not "
                             f"{max(self._widths(x0, x1))}: requantize them before")
        return Tensor(x0.shape, *self.spec().bounds((x0.lo, x0.hi), (x1.lo, x1.hi)))

    def golden(self, *xs: Ints) -> Ints:
        return self.spec()(*xs)

    def folds(self, *xs: Tensor) -> list[Fold]:
        widths = self._widths(*xs)
        forms = (MULTIPLIER, ADDERS) if min(widths) > 1 and sum(widths) >= NARROW else (ADDERS,)
        return [replace(fold, format=form) for form in forms for fold in any_lanes(xs[0].channels)]

    def build(self, fold: Fold, *xs: Tensor) -> Merger:
        x0, x1 = xs
        return Merger(self.spec(fold.format), (x0.lo, x0.hi), (x1.lo, x1.hi), pe=fold.pe)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return xs[0].vectors * transfers(xs[0].channels, fold.pe)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        every = (True,) * transfers(xs[0].channels, fold.pe)
        return Steps(every, every, self.spec(fold.format).draft(*(x.element for x in xs)).latency)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        x0, x1 = xs
        cost = merge_cost(self.spec(fold.format), x0.element, x1.element, fold.pe,
                          families=[Family.ECP5 if self.absorbs else Family.ICE40])
        if fold.format != MULTIPLIER:
            return cost
        # a multiplier has registers of its own
        return Cost(cost.lut4, cost.ff, dsp=fold.pe, port=max(self._widths(x0, x1)))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        return [(cls(), (Tensor((2, 3, 5), -128, 127), Tensor((2, 3, 5), 0, 15))),
                (cls(-128, 3), (Tensor((2, 4), -128, 127), Tensor((2, 4), -128, 127))),
                (cls(0, -1), (Tensor((3,), 0, 1), Tensor((3,), 0, 1))),
                (cls(), (Tensor((1,), -1, 0), Tensor((1,), -9, 9)))]
