"""Loops: layers that a frame passes several times, each time with other parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.cost import Cost
from bittern.gen.folds import dividing_lanes
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps, Switch
from bittern.hw.concatenation import Concatenation
from bittern.hw.distribution import Distribution

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["LoopEntry", "LoopExit"]


class _End(Layer):
    """What passes all that comes."""

    def golden(self, *xs: Ints) -> Ints:
        return xs[0]

    def folds(self, *xs: Tensor) -> list[Fold]:
        return dividing_lanes(xs[0].channels)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return xs[0].size // fold.pe

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        return [] # a loop is more than one layer


@dataclass(frozen=True)
class LoopEntry(_End):
    """``y = x``, and then what comes back from the end of the loop, `turns - 1` times.

    Parameters
    ----------
    lo, hi : int
        Range of what comes back.
    turns : int
        How often a frame passes the loop, at least 2.
    """

    lo: int
    hi: int
    turns: int = 2

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        return Tensor(x.shape, min(x.lo, self.lo), max(x.hi, self.hi))

    def build(self, fold: Fold, *xs: Tensor) -> Concatenation:
        (x,) = xs
        return Concatenation([(x.lo, x.hi), (self.lo, self.hi)],
                             channels=[x.size, (self.turns - 1) * x.size], pe=fold.pe)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        first = self.cycles(fold, *xs)
        every = (True,) * (self.turns * first)
        return Steps(every, every, Concatenation.latency,
                     reads=(0,) * first + (1,) * (len(every) - first))

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        bits = fold.pe * self.infer(*xs).element.width
        at = ((self.turns - 1) * self.cycles(fold, *xs) - 1).bit_length()
        return Cost(bits + 3 * at // 2 + 4, bits + at + 3)


@dataclass(frozen=True)
class LoopExit(_End):
    """End of the loop that begins at node `entry`: what leaves it after `turns` passages."""

    entry: str = ""
    turns: int = 2

    def infer(self, *xs: Tensor) -> Tensor:
        return xs[0]

    def stores(self, fold: Fold, *xs: Tensor) -> tuple[int, int] | None:
        """As of any layer: the queue of what goes back, whose words are of two transfers."""
        (x,) = xs
        pair = 2 * fold.pe
        return None if x.channels % pair else (x.size // pair, pair * x.element.width)

    def build(self, fold: Fold, *xs: Tensor) -> Distribution:
        (x,) = xs
        return Distribution(x.element, self._counts(fold, x), pe=fold.pe)

    def timing(self, fold: Fold, *xs: Tensor) -> Switch:
        return Switch(self._counts(fold, xs[0]))

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        at = (max(self._counts(fold, xs[0])) - 1).bit_length()
        return Cost(2 * at + 4, at + 2)

    def _counts(self, fold: Fold, x: Tensor) -> tuple[int, int]:
        """Return the transfers that go back, and the others."""
        frame = self.cycles(fold, x)
        return (self.turns - 1) * frame, frame
