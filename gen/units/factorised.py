"""Unit that adds up the inputs which share a weight, and multiplies once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Shape

from bittern.gen.cost import Cost
from bittern.gen.units.lanes import LaneUnit, by_decoder
from bittern.gen.units.unit import sentence
from bittern.hw.sharing.factorised import (
    FactorisedMatrixVectorUnit,
    Grouped,
    radix_4,
    total_shape,
)
from bittern.hw.sparse.engine import delay_of

if TYPE_CHECKING:
    from bittern.gen.ir import Fold
    from bittern.hw.ints import Ints
    from bittern.hw.sparse import SparseCode

__all__ = ["FactorisedUnit"]

SHARE = 4
"""Inputs of a row that share a weight, in the mean, from which on it can be worth while."""


@dataclass(frozen=True, eq=False)
class FactorisedUnit(LaneUnit):
    """One product for each value in a row; see :class:`FactorisedMatrixVectorUnit`."""

    weights: Ints

    name = "factorised"

    @classmethod
    def formats(cls) -> dict[str, str]:
        return {cls.name: sentence(Grouped)}

    @classmethod
    def find(cls, weights: Ints, *, absorbs: bool = False) -> list[Self]:
        unit = cls(weights)
        return [unit] if np.count_nonzero(weights) >= SHARE * sum(map(len, unit._groups)) else []

    @cached_property
    def _groups(self) -> list[Ints]:
        """Inputs of each value of a row but zero; a row of zeros has a group, too."""
        return [np.unique(row[row != 0], return_counts=True)[1] if row.any() else np.array([1])
                for row in self.weights]

    @cached_property
    def _digits(self) -> int:
        found: Ints = np.unique(self.weights)
        return radix_4(found).width // 2

    def code(self, lanes: int) -> SparseCode | None:
        return Grouped(self.weights.shape[1], 2 * self._digits, self._digits)

    def lengths(self, code: SparseCode, decoders: int) -> Ints:
        steps = np.array([np.maximum(group, self._digits).sum() for group in self._groups])
        return by_decoder(steps, decoders, self._digits)

    def heads(self, code: SparseCode) -> int:
        return sum(map(len, self._groups))

    @property
    def bits(self) -> int:
        code = self.found(1)
        return int(self.lengths(code, 1).sum()) * code.width + self.heads(code) * code.head_width

    @property
    def how(self) -> str:
        return f"{self.heads(self.found(1)) / len(self.weights):.1f} values a row"

    def build(self, fold: Fold, bias: Ints, x: Shape, lo: int, hi: int
              ) -> FactorisedMatrixVectorUnit:
        return FactorisedMatrixVectorUnit(self.weights, bias, x=x, lo=lo, hi=hi, lanes=fold.pe,
                                          simd=fold.simd, serial=True)

    def delay(self, x: Shape) -> int:
        return delay_of(self._digits)

    def lane_cost(self, x: Shape, acc_width: int) -> Cost:
        total = total_shape(max(int(g.max()) for g in self._groups), x).width
        return Cost(total + 3 * acc_width + 2 * self._digits,
                    total + 2 * acc_width + 3 * self._digits)
