"""Sum of two tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.folds import any_lanes
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.merging import merge_cost
from bittern.gen.timing import Steps
from bittern.hw.merge import Merger
from bittern.hw.stream import transfers
from bittern.hw.weighted_sum import WeightedSum

if TYPE_CHECKING:
    from bittern.gen.cost import Cost
    from bittern.hw.ints import Ints

__all__ = ["Add"]


@dataclass(frozen=True)
class Add(Layer):
    """``y = factor0 * x0 + factor1 * x1``, element by element: the end of a residual connection."""

    factor0: int = 1
    factor1: int = 1

    @property
    def spec(self) -> WeightedSum:
        """What it computes of each two elements."""
        return WeightedSum(self.factor0, self.factor1)

    def infer(self, *xs: Tensor) -> Tensor:
        x0, x1 = xs
        if x0.shape != x1.shape:
            raise ValueError(f"cannot add tensors of shapes {x0.shape} and {x1.shape}")
        return Tensor(x0.shape, *self.spec.bounds((x0.lo, x0.hi), (x1.lo, x1.hi)))

    def golden(self, *xs: Ints) -> Ints:
        return self.spec(*xs)

    def folds(self, *xs: Tensor) -> list[Fold]:
        return any_lanes(xs[0].channels)

    def build(self, fold: Fold, *xs: Tensor) -> Merger:
        x0, x1 = xs
        return Merger(self.spec, (x0.lo, x0.hi), (x1.lo, x1.hi), pe=fold.pe)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return xs[0].vectors * transfers(xs[0].channels, fold.pe)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        every = (True,) * transfers(xs[0].channels, fold.pe)
        return Steps(every, every, self.spec.draft(*(x.element for x in xs)).latency)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        x0, x1 = xs
        return merge_cost(self.spec, x0.element, x1.element, fold.pe)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        return [(cls(), (Tensor((7,), 0, 3), Tensor((7,), -2, 1))),
                (cls(), (Tensor((1,), -1, 1), Tensor((1,), 0, 0))),
                (cls(), (Tensor((2, 3, 5), -128, 127), Tensor((2, 3, 5), -100, 100))),
                (cls(173, 46341), (Tensor((3, 4), -128, 127), Tensor((3, 4), 0, 200))),
                (cls(-4, 5), (Tensor((2, 2, 4), -8, 7), Tensor((2, 2, 4), -3, 7))),
                (cls(2, -1), (Tensor((3,), 0, 7), Tensor((3,), 0, 7))),
                (cls(-3, -7), (Tensor((3,), -1, 7), Tensor((3,), 0, 0))),
                (cls(1, 3), (Tensor((2, 3), -1 << 17, 1 << 17), Tensor((2, 3), -1 << 16, 5)))]
