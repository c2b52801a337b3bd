"""Unit that skips the zeros of the weights: a non-zero a cycle and lane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.cost import Cost
from bittern.gen.units.lanes import LaneUnit, by_decoder
from bittern.gen.units.unit import sentence
from bittern.hw.folded_sums import products_of, tree_of
from bittern.hw.formats import FORMATS, Format
from bittern.hw.sparse import SPARSE_CODES, SparseCode
from bittern.hw.sparse.block import SIDES
from bittern.hw.sparse.coordinate import Coordinate
from bittern.hw.sparse.matrix_vector import SparseMatrixVectorUnit, sparse_delay_of
from bittern.hw.sparse.structured import Structured

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.gen.ir import Fold
    from bittern.hw.ints import Ints

__all__ = ["SparseUnit"]

CODES = tuple(code for code in SPARSE_CODES if code is not Structured)
"""Groups of N in M are multiplied a group at a time, by a format of the unit for all weights."""
TALLEST = max(SIDES)
"""Rows that a code may store together, as far as they divide the lanes. Of the codes, only one that
has the numbers of rows depends on more of the lanes."""
ZEROS = 0.4
"""Share of the weights that must be zero: a lane of this unit is larger than others."""


@dataclass(frozen=True, eq=False)
class SparseUnit(LaneUnit):
    """Products with the weights that are not zero; see :class:`SparseMatrixVectorUnit`.

    Parameters
    ----------
    weights : array ``(outputs, inputs)``
    fmt : Format
        Of the non-zeros, and of zero, which pads.
    kind : type[SparseCode]
    """

    weights: Ints
    fmt: Format
    kind: type[SparseCode]

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.kind.name

    @classmethod
    def formats(cls) -> dict[str, str]:
        return {kind.name: sentence(kind) for kind in CODES}

    @classmethod
    def find(cls, weights: Ints, *, absorbs: bool = False) -> list[Self]:
        if not weights.any() or (weights == 0).mean() < ZEROS:
            return []
        formats = [fmt for kind in FORMATS if not kind.dsp
                   and (fmt := kind.find(np.append(weights[weights != 0], 0)))
                   and not fmt.masks]
        fmt = min(formats, key=lambda f: (f.width, f.lut4(4)))
        units = [cls(weights, fmt, kind) for kind in CODES]
        return [unit for unit in units if unit.code(unit.lanes[-1])]

    def code(self, lanes: int) -> SparseCode | None:
        return _code(self, lanes if self.kind is Coordinate else gcd(lanes, TALLEST))

    def lengths(self, code: SparseCode, decoders: int) -> Ints:
        steps = _steps(self, code)
        return by_decoder(steps[:-1], decoders, int(steps[-1]))

    def heads(self, code: SparseCode) -> int:
        return _heads(self, code)

    @property
    def bits(self) -> int:
        code = self.found(self.lanes[-1])
        return code.bits(code.fold(self.weights != 0))

    @property
    def how(self) -> str:
        share = (self.weights != 0).mean()
        return f"{self.fmt.width} bit {self.fmt.name}, {share:.0%} not 0"

    def build(self, fold: Fold, bias: Ints, x: Shape, lo: int, hi: int) -> SparseMatrixVectorUnit:
        return SparseMatrixVectorUnit(self.weights, bias, self.fmt, self.found(fold.pe), x=x,
                                      lo=lo, hi=hi, lanes=fold.pe, simd=fold.simd)

    def delay(self, x: Shape) -> int:
        return sparse_delay_of(self.fmt, x.width)

    def lane_cost(self, x: Shape, acc_width: int) -> Cost:
        product, tree = products_of(self.fmt, x.width), tree_of(self.fmt, x.width, 1)
        return Cost(product.lut4 + tree.lut4 + 2 * acc_width, product.ff + tree.ff + acc_width)


@lru_cache(maxsize=4096)
def _code(unit: SparseUnit, lanes: int) -> SparseCode | None:
    return unit.kind.find(unit.weights != 0, unit.fmt.width, lanes)


@lru_cache(maxsize=4096)
def _steps(unit: SparseUnit, code: SparseCode) -> Ints:
    """Return the steps of each row, and of one that is all zero."""
    rows = code.fold(unit.weights != 0)
    return code.lengths(np.append(rows, np.zeros_like(rows[:1]), axis=0))


@lru_cache(maxsize=4096)
def _heads(unit: SparseUnit, code: SparseCode) -> int:
    return code.heads(code.fold(unit.weights != 0))
