"""Softmax of integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.cost import Cost
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw import softmax

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["Softmax"]


@dataclass(frozen=True)
class Softmax(Layer):
    """``y = spec(x)`` along the last axis."""

    cuts = True

    spec: softmax.SoftmaxSpec

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        if x.lo < -128 or x.hi > 127:
            raise ValueError(f"takes int8, not integers in {x.lo}..{x.hi}")
        if not 2 <= x.channels <= softmax.FEATURES:
            raise ValueError(f"takes 2 to {softmax.FEATURES} elements along the last axis, not "
                             f"{x.channels}")
        return Tensor(x.shape, -128, 127)

    def golden(self, *xs: Ints) -> Ints:
        return self.spec(xs[0])

    def folds(self, *xs: Tensor) -> list[Fold]:
        return [Fold()]

    def build(self, fold: Fold, *xs: Tensor) -> softmax.Softmax:
        (x,) = xs
        return softmax.Softmax(self.spec, x.channels, x.element)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return xs[0].vectors * len(self.timing(fold, *xs).takes)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        n = xs[0].channels
        # a result is worked on in the cycle before it is there
        waits = softmax.Softmax.latency_of(n) - 2
        gives = (False,) * (n + waits) + (True, *(False,) * (softmax.PERIOD - 1)) * (n - 1)
        return Steps((True,) * n + (False,) * (len(gives) + 2 - n), (*gives, True, False), 1)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        return Cost(545, 255, ((256, 31), (xs[0].channels, 8)), 55)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        spec = softmax.SoftmaxSpec.of(0.1)
        return [(cls(spec), (Tensor((3, 5), -128, 127),)), (cls(spec), (Tensor((2,), 0, 15),)),
                (cls(softmax.SoftmaxSpec.of(0.02)), (Tensor((1, 2, 12), -100, 100),))]
