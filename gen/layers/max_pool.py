"""The greatest element in a window, of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.cost import Cost
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.reading import PATCHES, Reading
from bittern.hw.credit import store_of
from bittern.hw.max_pool import MAX_DELAY, MaxPoolUnit

if TYPE_CHECKING:
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints
    from bittern.hw.patches import Patches

__all__ = ["MaxPool"]


@dataclass(frozen=True)
class MaxPool(Layer):
    """``y[…, c] = max(seen[…, t, c])``; filling counts, so let it be no more than any element."""

    cuts = True

    patches: Patches

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        self.patches.check(x.shape)
        return Tensor((*self.patches.shape, x.channels), *self.patches.range(x.lo, x.hi))

    def golden(self, *xs: Ints) -> Ints:
        y: Ints = reduce(np.maximum, self.patches.each_tap(xs[0]))
        return y

    def folds(self, *xs: Tensor) -> list[Fold]:
        (x,) = xs
        return [Fold(k, k) for k in range(1, x.channels + 1) if x.channels % k == 0]

    def build(self, fold: Fold, *xs: Tensor) -> MaxPoolUnit:
        (x,) = xs
        return MaxPoolUnit(self.patches, x.element, channels=x.channels, pe=fold.pe,
                           one_port=fold.spram)

    def _reading(self, fold: Fold, x: Tensor) -> Reading:
        return Reading(self.patches, x, fold.pe, fold.spram)

    def stores(self, fold: Fold, *xs: Tensor) -> tuple[int, int]:
        return self._reading(fold, *xs).memory

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return self._reading(fold, *xs).cycles

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        taps = self.patches.taps
        return self._reading(fold, *xs).steps(taps, MAX_DELAY, store_of(MAX_DELAY, taps))

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        (x,) = xs
        bits = fold.pe * self.infer(x).element.width
        store = store_of(MAX_DELAY, self.patches.taps)
        kept = Cost(bits, bits) if store == 2 else Cost(memories=((store, bits),))
        return self._reading(fold, x).cost + Cost(2 * bits, 3 * bits) + kept

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        return [(cls(patches), (Tensor((patches.rows.size, patches.columns.size, channels), lo, hi),
                                )) for patches, channels, lo, hi in PATCHES]
