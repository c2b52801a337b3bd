"""What a window sees at each of its places: the inputs of a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bittern.gen.cost import Cost
from bittern.gen.ir import Fold, Tensor
from bittern.gen.layers.windowed import Windowed
from bittern.hw.window import READ, WindowUnit

if TYPE_CHECKING:
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["Window"]


@dataclass(frozen=True)
class Window(Windowed):
    """``y[oy, ox, (ky, kx, c)] = x[row(oy, ky), column(ox, kx), c]``, filling beyond the map.

    With a dense layer behind it a convolution; with kernels of 1 it pads, crops, takes every n-th
    element, repeats them, or sets them apart.
    """

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        self.patches.check(x.shape)
        return Tensor((*self.patches.shape, self.patches.taps * x.shape[-1]),
                      *self.patches.range(x.lo, x.hi))

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        return self.patches(x).reshape(len(x), *self.patches.shape, -1)

    def build(self, fold: Fold, *xs: Tensor) -> WindowUnit:
        (x,) = xs
        return WindowUnit(self.patches, x.element, channels=x.channels, lanes=fold.pe,
                          one_port=fold.spram)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        return self.reading(fold, *xs).steps(1, READ, WindowUnit.store)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        (x,) = xs
        bits = fold.pe * self.infer(x).element.width
        return self.reading(fold, x).cost + Cost(
            bits, 20, memories=((WindowUnit.store, bits),))
