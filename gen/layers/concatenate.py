"""Channels of several tensors, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.ir import Fold, Layer, Tensor

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["Concatenate"]


@dataclass(frozen=True)
class Concatenate(Layer):
    """``y[…, :] = x0[…, :], x1[…, :], …``."""

    def infer(self, *xs: Tensor) -> Tensor:
        if len({x.shape[:-1] for x in xs}) > 1:
            shapes = " and ".join(str(x.shape) for x in xs)
            raise ValueError(f"cannot join tensors of shapes {shapes}")
        return Tensor((*xs[0].shape[:-1], sum(x.shape[-1] for x in xs)),
                      min(x.lo for x in xs), max(x.hi for x in xs))

    def golden(self, *xs: Ints) -> Ints:
        return np.concatenate(xs, axis=-1)
