"""Product of two tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.ir import Fold, Layer, Tensor

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["Multiply"]


@dataclass(frozen=True)
class Multiply(Layer):
    """``y = (x0 - zero0) * (x1 - zero1)``, element by element."""

    zero0: int = 0
    zero1: int = 0

    def infer(self, *xs: Tensor) -> Tensor:
        x0, x1 = xs
        if x0.shape != x1.shape:
            raise ValueError(f"cannot multiply tensors of shapes {x0.shape} and {x1.shape}")
        ends = [(a - self.zero0) * (b - self.zero1) for a in (x0.lo, x0.hi) for b in (x1.lo, x1.hi)]
        return Tensor(x0.shape, min(ends), max(ends))

    def golden(self, *xs: Ints) -> Ints:
        x0, x1 = xs
        return (x0 - self.zero0) * (x1 - self.zero1)
