"""Sum over a map, of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Self

from bittern.gen.ir import Fold, Layer, Tensor

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["SpatialSum"]


@dataclass(frozen=True)
class SpatialSum(Layer):
    """``y[c] = sum(x[…, c])``: a global average, but for the division."""

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        places = prod(x.shape[:-1])
        return Tensor(x.shape[-1:], x.lo * places, x.hi * places)

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        y: Ints = x.reshape(len(x), -1, x.shape[-1]).sum(axis=1)
        return y
