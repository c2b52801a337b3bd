"""The same elements in another shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Self

from amaranth.lib import data

from bittern.gen.cost import Cost
from bittern.gen.folds import any_lanes, dividing_lanes
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw.passage import Passage
from bittern.hw.stream import transfers

if TYPE_CHECKING:
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

    def folds(self, *xs: Tensor) -> list[Fold]:
        before, after = xs[0].channels, self.shape[-1]
        return any_lanes(before) if before == after else dividing_lanes(before, after)

    def build(self, fold: Fold, *xs: Tensor) -> Passage:
        return Passage(data.ArrayLayout(xs[0].element, fold.pe))

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return xs[0].vectors * transfers(xs[0].channels, fold.pe)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        every = (True,) * transfers(xs[0].channels, fold.pe)
        return Steps(every, every, Passage.latency)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        return Cost()

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        return [(cls((18,)), (Tensor((3, 6), -8, 7),)), (cls((2, 3, 4)), (Tensor((3, 8), 0, 1),)),
                (cls((5,)), (Tensor((1, 1, 5), -3, 3),)), (cls((1,)), (Tensor((1, 1), 0, 3),))]
