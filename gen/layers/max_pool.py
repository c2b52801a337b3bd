"""The greatest element in a window, of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.cost import Cost
from bittern.gen.ir import Fold, Tensor
from bittern.gen.layers.windowed import Windowed
from bittern.hw.credit import store_of
from bittern.hw.max_pool import MAX_DELAY, MaxPoolUnit

if TYPE_CHECKING:
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["MaxPool"]


@dataclass(frozen=True)
class MaxPool(Windowed):
    """``y[…, c] = max(seen[…, t, c])``; filling counts, so let it be no more than any element."""

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        self.patches.check(x.shape)
        return Tensor((*self.patches.shape, x.channels), *self.patches.range(x.lo, x.hi))

    def golden(self, *xs: Ints) -> Ints:
        y: Ints = reduce(np.maximum, self.patches.each_tap(xs[0]))
        return y

    def build(self, fold: Fold, *xs: Tensor) -> MaxPoolUnit:
        (x,) = xs
        return MaxPoolUnit(self.patches, x.element, channels=x.channels, pe=fold.pe,
                           one_port=fold.spram)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        taps = self.patches.taps
        return self.reading(fold, *xs).steps(taps, MAX_DELAY, store_of(MAX_DELAY, taps))

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        (x,) = xs
        bits = fold.pe * self.infer(x).element.width
        store = store_of(MAX_DELAY, self.patches.taps)
        kept = Cost(bits, bits) if store == 2 else Cost(memories=((store, bits),))
        return self.reading(fold, x).cost + Cost(2 * bits, 3 * bits) + kept
