"""Sum over a map, of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.cost import Cost
from bittern.gen.folds import any_lanes
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw.frame_sum import CHAIN, FrameSum
from bittern.hw.stream import transfers

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["SpatialSum"]


@dataclass(frozen=True)
class SpatialSum(Layer):
    """``y[c] = sum(x[…, c])``: a global average, but for the division."""

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        return Tensor(x.shape[-1:], x.lo * x.vectors, x.hi * x.vectors)

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        y: Ints = x.reshape(len(x), -1, x.shape[-1]).sum(axis=1)
        return y

    def folds(self, *xs: Tensor) -> list[Fold]:
        return any_lanes(xs[0].channels)

    def build(self, fold: Fold, *xs: Tensor) -> FrameSum:
        (x,) = xs
        return FrameSum((x.lo, x.hi), vectors=x.vectors, channels=x.channels, pe=fold.pe)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return xs[0].vectors * transfers(xs[0].channels, fold.pe)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        count = transfers(xs[0].channels, fold.pe)
        before = self.cycles(fold, *xs) - count
        return Steps((True,) * (before + count), (False,) * before + (True,) * count,
                     FrameSum.latency)

    def at_once(self, fold: Fold, *xs: Tensor) -> int:
        return transfers(xs[0].channels, fold.pe)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        (x,) = xs
        count, bits = transfers(x.channels, fold.pe), fold.pe * self.infer(x).element.width
        at, vector = (count - 1).bit_length(), (x.vectors - 1).bit_length()
        lut, ff = bits + 4 + 2 * (at + vector), bits + at + vector + 2
        if count == 1:
            return Cost(lut + bits, ff) # zeros, where a frame begins
        if count <= CHAIN:
            return Cost(lut, ff + (count - 1) * bits, bare=(count - 1) * bits)
        return Cost(lut, ff + bits + 3 * at, ((count, bits),), bits + 3 * at)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        return [(cls(), (Tensor((2, 3, 7), -128, 127),)), (cls(), (Tensor((3, 2, 13), 0, 3),)),
                (cls(), (Tensor((5, 1), -8, 7),)), (cls(), (Tensor((4,), 0, 3),)),
                (cls(), (Tensor((1, 2, 6), -9, -2),))]
