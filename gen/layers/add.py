"""Sum of two tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bittern.gen.ir import Fold, Layer, Tensor

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["Add"]


@dataclass(frozen=True)
class Add(Layer):
    """``y = x0 + x1``, element by element: the end of a residual connection."""

    def infer(self, *xs: Tensor) -> Tensor:
        x0, x1 = xs
        if x0.shape != x1.shape:
            raise ValueError(f"cannot add tensors of shapes {x0.shape} and {x1.shape}")
        return Tensor(x0.shape, x0.lo + x1.lo, x0.hi + x1.hi)

    def golden(self, *xs: Ints) -> Ints:
        x0, x1 = xs
        return x0 + x1

    def folds(self, *xs: Tensor) -> list[Fold]:
        raise NotImplementedError

    def build(self, fold: Fold, *xs: Tensor) -> wiring.Component:
        raise NotImplementedError

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        raise NotImplementedError

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        raise NotImplementedError
