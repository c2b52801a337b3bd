"""The greatest element in a window, of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.ir import Fold, Layer, Tensor
from bittern.hw.patches import Axis, Patches

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["MaxPool"]


@dataclass(frozen=True)
class MaxPool(Layer):
    """``y[…, c] = max(seen[…, t, c])``; filling counts, so let it be no more than any element."""

    patches: Patches

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        self.patches.check(x.shape)
        return Tensor((*self.patches.shape, x.shape[-1]), *self.patches.range(x.lo, x.hi))

    def golden(self, *xs: Ints) -> Ints:
        y: Ints = reduce(np.maximum, self.patches.each_tap(xs[0]))
        return y
