"""Unit whose weights are its wiring: a vector a cycle."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.cost import Cost
from bittern.gen.ir import Fold
from bittern.gen.timing import Steps
from bittern.gen.units.unit import Unit, sentence
from bittern.hw.credit import store_of
from bittern.hw.family import Family
from bittern.hw.hardened.matrix_vector import HardenedMatrixVectorUnit, delay_of
from bittern.hw.hardened.schedule import Schedule, schedule
from bittern.hw.hardened.search import Progress, search, silent
from bittern.hw.hardened.space import digits_of
from bittern.hw.operators.product import bounds_of

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.hw.hardened.graph import Graph
    from bittern.hw.ints import Ints

__all__ = ["EFFORT", "HardenedUnit"]

EFFORT = 100
"""Steps of the search, if no others are asked for."""
SECONDS = 300
"""Limit for the search of a layer."""
MHZ = {Family.ICE40: 70, Family.ECP5: 150, Family.GOWIN: 100}
"""Clock that registers are placed for."""
KNOWN = 1500
"""Digits of weights up to which a graph is made to know its price; of more, one for so many."""


@dataclass(frozen=True, eq=False)
class HardenedUnit(Unit):
    """Weights as wiring: constants in a graph of adders; see :class:`HardenedMatrixVectorUnit`.

    Parameters
    ----------
    weights : array ``(outputs, inputs)``
    absorbs : bool
        Whether it is for the ECP5; else for the iCE40 or Gowin.
    effort : int
        Steps in which the graph is made smaller.
    """

    weights: Ints
    absorbs: bool = False
    effort: int = EFFORT

    plans: dict[tuple[int, bool], Schedule] = field(init=False, repr=False,
                                                          default_factory=dict)
    """What was found, by width and sign of the inputs."""
    prices: dict[tuple[int, bool], tuple[int, int, int]] = field(init=False, repr=False,
                                                          default_factory=dict)

    name = "hardened"

    @classmethod
    def formats(cls) -> dict[str, str]:
        return {cls.name: sentence(cls)}

    @classmethod
    def find(cls, weights: Ints, *, absorbs: bool = False) -> list[Self]:
        return [cls(weights, absorbs)] if weights.any() else []

    @property
    def family(self) -> Family:
        """Whose adders are counted."""
        return Family.ECP5 if self.absorbs else Family.ICE40

    @cached_property
    def digits(self) -> int:
        """How many signed digits of the weights are not 0."""
        return int(digits_of(self.weights).sum())

    @property
    def bits(self) -> int:
        return 0

    @property
    def how(self) -> str:
        return f"{self.digits} digits as wiring"

    def folds(self, x: Shape) -> list[Fold]:
        outputs, inputs = self.weights.shape
        return [Fold(outputs, inputs, self.name)]

    def cycles(self, fold: Fold) -> int:
        return 1

    def multipliers(self, fold: Fold) -> int:
        return int(np.count_nonzero(self.weights))

    def plan(self, x: Shape, *, progress: Progress = silent) -> Schedule:
        """Return the adders, and the registers between them.

        They are searched for once; an interruption from the keyboard ends that with the best so
        far.
        """
        key = x.width, x.signed
        if key not in self.plans:
            graph = self._search(x, self.effort, progress)
            self.plans[key] = schedule(graph, self.family, MHZ[self.family])
        return self.plans[key]

    def _search(self, x: Shape, effort: int, progress: Progress = silent) -> Graph:
        outputs, inputs = self.weights.shape
        return search(self.weights, np.zeros(outputs, np.int64), [bounds_of(x)] * inputs,
                      self.family, mhz=MHZ[self.family], steps=effort, seconds=SECONDS,
                      progress=progress)

    def build(self, fold: Fold, bias: Ints, x: Shape, lo: int, hi: int
              ) -> HardenedMatrixVectorUnit:
        return HardenedMatrixVectorUnit(self.plan(x), bias, x=x, lo=lo, hi=hi)

    def timing(self, fold: Fold, x: Shape) -> Steps:
        delay = delay_of(self.plan(x))
        return Steps((True,), (True,), delay, store=store_of(delay))

    def _rough(self, x: Shape) -> tuple[int, int, int]:
        """Return LUTs, flip-flops and delay of a graph that is not improved."""
        key = x.width, x.signed
        if key not in self.prices:
            plan = schedule(self._search(x, 0), self.family, MHZ[self.family])
            self.prices[key] = plan.graph.lut4(self.family), plan.ff, delay_of(plan)
        return self.prices[key]

    @cached_property
    def _sample(self) -> HardenedUnit:
        """The first columns of the matrix, with about so many digits as are known to be quick."""
        digits = digits_of(self.weights).sum(axis=0).cumsum()
        return replace(self, weights=self.weights[:, :int(np.searchsorted(digits, KNOWN)) + 1])

    def _scaled(self, x: Shape) -> tuple[int, int, int]:
        """Return LUTs, flip-flops and delay as if all columns were as the first ones."""
        part = self._sample
        lut4, inside, delay = part._rough(x)
        parts = self.digits / part.digits
        # the sums of what they give: most of those adders are near the leaves of a tree
        width = x.width + int(abs(part.weights).sum(axis=1).max()).bit_length() + 2
        sums = round(len(self.weights) * (parts - 1) * width)
        return (round(parts * lut4) + sums, round(parts * inside) + sums // 2,
                delay + (round(parts) - 1).bit_length())

    def cost(self, fold: Fold, x: Shape, acc_width: int) -> Cost:
        outputs, inputs = self.weights.shape
        lut4, inside, delay = self._rough(x) if self.digits <= KNOWN else self._scaled(x)
        results = outputs * acc_width
        ends = inputs * x.width + 2 * results
        return Cost(lut4 + results + 20, inside + ends + 40, ((store_of(delay), results),),
                    bare=inputs * x.width)

