"""Fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.ir import Fold, Layer, Tensor
from bittern.hw.ints import Ints

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps

__all__ = ["Dense"]


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """``y = weights @ x + bias``, exactly; `weights` is ``(outputs, inputs)``."""

    weights: Ints
    bias: Ints

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        outputs, inputs = self.weights.shape
        if x.shape != (inputs,):
            raise ValueError(f"takes {inputs} inputs, not a tensor of shape {x.shape}")
        low, high = self.weights.clip(max=0), self.weights.clip(min=0)
        lo = (high * x.lo + low * x.hi).sum(axis=1) + self.bias
        hi = (high * x.hi + low * x.lo).sum(axis=1) + self.bias
        return Tensor((outputs,), int(lo.min()), int(hi.max()))

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        bound = int(np.abs(self.weights).sum(axis=1).max()) * int(np.abs(x).max(initial=0))
        if bound < 2**53: # doubles hold every partial sum, and their product is far faster
            y: Ints = (x.astype(np.float64) @ self.weights.T.astype(np.float64)).astype(np.int64)
            return y + self.bias
        return x @ self.weights.T + self.bias

    def folds(self, *xs: Tensor) -> list[Fold]:
        raise NotImplementedError

    def build(self, fold: Fold, *xs: Tensor) -> wiring.Component:
        raise NotImplementedError

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        raise NotImplementedError

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        raise NotImplementedError
