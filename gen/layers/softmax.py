"""Softmax of integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.ir import Fold, Layer, Tensor
from bittern.hw.softmax import SoftmaxSpec

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["Softmax"]


@dataclass(frozen=True)
class Softmax(Layer):
    """``y = spec(x)`` along the last axis."""

    spec: SoftmaxSpec

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        if x.lo < -128 or x.hi > 127:
            raise ValueError(f"takes int8, not integers in {x.lo}..{x.hi}")
        return Tensor(x.shape, -128, 127)

    def golden(self, *xs: Ints) -> Ints:
        return self.spec(xs[0])
