"""Some channels of a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.cost import Cost
from bittern.gen.folds import dividing_lanes
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw.channel_selection import ChannelSelection

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["Channels"]


@dataclass(frozen=True)
class Channels(Layer):
    """``y = x[…, first:last]``: a part of a split."""

    first: int
    last: int

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        if not 0 <= self.first < self.last <= x.shape[-1]:
            raise ValueError(f"there are no channels {self.first}..{self.last - 1} in a tensor of "
                             f"shape {x.shape}")
        return Tensor((*x.shape[:-1], self.last - self.first), x.lo, x.hi)

    def golden(self, *xs: Ints) -> Ints:
        return xs[0][..., self.first:self.last]

    def folds(self, *xs: Tensor) -> list[Fold]:
        return dividing_lanes(xs[0].channels, self.first, self.last)

    def build(self, fold: Fold, *xs: Tensor) -> ChannelSelection:
        (x,) = xs
        return ChannelSelection(x.element, channels=x.channels, first=self.first, last=self.last,
                                pe=fold.pe)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return xs[0].size // fold.pe

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        count = xs[0].channels // fold.pe
        gives = tuple(self.first <= k * fold.pe < self.last for k in range(count))
        return Steps((True,) * count, gives, ChannelSelection.latency)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        bits = fold.pe * xs[0].element.width
        at = (xs[0].channels // fold.pe - 1).bit_length()
        return Cost(2 * at + 2, bits + at + 2, bare=bits)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        return [(cls(0, 4), (Tensor((2, 3, 12), -8, 7),)), (cls(8, 12), (Tensor((3, 12), 0, 1),)),
                (cls(2, 5), (Tensor((7,), -3, 3),)), (cls(0, 6), (Tensor((2, 6), 0, 3),)),
                (cls(0, 1), (Tensor((1,), 0, 3),))]
