"""Requantization of every element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bittern.gen.ir import Fold, Layer, Tensor

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints
    from bittern.hw.requant import Requant

__all__ = ["Requantize"]


@dataclass(frozen=True)
class Requantize(Layer):
    """``y[..., c] = spec(x[..., c])``."""

    spec: Requant

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        if self.spec.channels not in (1, x.shape[-1]):
            raise ValueError(f"requantization of {self.spec.channels} channels cannot take "
                             f"{x.shape[-1]}")
        return Tensor(x.shape, *self.spec.bounds)

    def golden(self, *xs: Ints) -> Ints:
        return self.spec(xs[0])

    def folds(self, *xs: Tensor) -> list[Fold]:
        raise NotImplementedError

    def build(self, fold: Fold, *xs: Tensor) -> wiring.Component:
        raise NotImplementedError

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        raise NotImplementedError

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        raise NotImplementedError
