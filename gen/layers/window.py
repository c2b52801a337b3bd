"""What a window sees at each of its places: the inputs of a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.ir import Fold, Layer, Tensor
from bittern.hw.patches import Axis, Patches

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["Window"]


@dataclass(frozen=True)
class Window(Layer):
    """``y[oy, ox, (ky, kx, c)] = x[row(oy, ky), column(ox, kx), c]``, filling beyond the map.

    With a dense layer behind it a convolution; with kernels of 1 it pads, crops, takes every n-th
    element, repeats them, or sets them apart.
    """

    patches: Patches

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        self.patches.check(x.shape)
        return Tensor((*self.patches.shape, self.patches.taps * x.shape[-1]),
                      *self.patches.range(x.lo, x.hi))

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        return self.patches(x).reshape(len(x), *self.patches.shape, -1)
