"""The same elements in another shape."""

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

__all__ = ["Reshape"]


@dataclass(frozen=True)
class Reshape(Layer):
    """``y = x`` in raster order, channels last: nothing moves."""

    shape: tuple[int, ...]

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        if prod(self.shape) != x.size:
            raise ValueError(f"a tensor of shape {x.shape} cannot have the shape {self.shape}")
        return Tensor(self.shape, x.lo, x.hi)

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        return x.reshape(len(x), *self.shape)
