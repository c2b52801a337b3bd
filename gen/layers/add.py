"""Sum of two tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.cost import Cost
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw.adder import Adder
from bittern.hw.stream import transfers

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["Add"]


@dataclass(frozen=True)
class Add(Layer):
    """``y = factor0 * x0 + factor1 * x1``, element by element: the end of a residual connection."""

    factor0: int = 1
    factor1: int = 1

    def infer(self, *xs: Tensor) -> Tensor:
        x0, x1 = xs
        if x0.shape != x1.shape:
            raise ValueError(f"cannot add tensors of shapes {x0.shape} and {x1.shape}")
        ends = [sorted((factor * x.lo, factor * x.hi))
                for factor, x in ((self.factor0, x0), (self.factor1, x1))]
        return Tensor(x0.shape, ends[0][0] + ends[1][0], ends[0][1] + ends[1][1])

    def golden(self, *xs: Ints) -> Ints:
        x0, x1 = xs
        return self.factor0 * x0 + self.factor1 * x1

    def folds(self, *xs: Tensor) -> list[Fold]:
        n = xs[0].size
        return [Fold(k, k) for k in sorted({transfers(n, transfers(n, k))
                                            for k in range(1, n + 1)})]

    def build(self, fold: Fold, *xs: Tensor) -> Adder:
        x0, x1 = xs
        return Adder((x0.lo, x0.hi), (x1.lo, x1.hi), pe=fold.pe)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return transfers(xs[0].size, fold.pe)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        count = transfers(xs[0].size, fold.pe)
        return Steps((True,) * count, (True,) * count, Adder.latency)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        bits = fold.pe * self.infer(*xs).element.width
        return Cost(bits + 3, bits + 1)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        return [(cls(), (Tensor((7,), 0, 3), Tensor((7,), -2, 1))),
                (cls(), (Tensor((1,), -1, 1), Tensor((1,), 0, 0)))]
