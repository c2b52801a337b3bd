"""Convolution of each channel by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.ir import Fold, Layer, Tensor
from bittern.hw.ints import Ints
from bittern.hw.patches import Axis, Patches

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps

__all__ = ["Depthwise"]


@dataclass(frozen=True, eq=False)
class Depthwise(Layer):
    """``y[…, o] = sum(weights[o, t] * seen[…, t, o // m]) + bias[o]`` with m outputs a channel.

    Parameters
    ----------
    patches : Patches
    weights : array ``(outputs, taps)``
        Outputs are a multiple of the channels.
    bias : array ``(outputs,)``
    """

    patches: Patches
    weights: Ints
    bias: Ints

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        self.patches.check(x.shape)
        outputs, taps = self.weights.shape
        if taps != self.patches.taps or outputs % x.shape[-1]:
            raise ValueError(f"{outputs} outputs of {taps} taps do not suit {x.shape[-1]} channels "
                             f"and windows of {self.patches.taps}")
        ends = [self.weights * end for end in self.patches.range(x.lo, x.hi)]
        lo, hi = (end.sum(axis=1) + self.bias for end in (np.minimum(*ends), np.maximum(*ends)))
        return Tensor((*self.patches.shape, outputs), int(lo.min()), int(hi.max()))

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        per_channel = self.weights.shape[0] // x.shape[-1]
        y = np.zeros((len(x), *self.patches.shape, len(self.bias)), dtype=np.int64) + self.bias
        for weights, seen in zip(self.weights.T, self.patches.each_tap(x), strict=True):
            y += np.repeat(seen, per_channel, axis=-1) * weights
        return y
