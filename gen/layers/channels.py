"""Some channels of a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.ir import Fold, Layer, Tensor

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
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
