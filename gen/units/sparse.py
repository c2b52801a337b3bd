"""Unit that skips the zeros of the weights: a non-zero a cycle and lane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.cost import Cost, rom_lut
from bittern.gen.ir import Fold
from bittern.gen.timing import Steps
from bittern.gen.units.unit import Unit
from bittern.hw.formats import FORMATS, Format
from bittern.hw.matrix_vector import products_of, tree_of
from bittern.hw.sparse import SPARSE_CODES, SparseCode
from bittern.hw.sparse.engine import SMALL, Schedule
from bittern.hw.sparse.matrix_vector import SparseMatrixVectorUnit, sparse_delay_of
from bittern.hw.sparse.structured import Structured
from bittern.hw.stream import transfers

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.hw.ints import Ints

__all__ = ["SparseUnit"]

CODES = tuple(code for code in SPARSE_CODES if code is not Structured)
"""Groups of N in M are multiplied a group at a time, by a format of the unit for all weights."""
ZEROS = 0.25
"""Share of the weights that must be zero: a lane of this unit is larger than one that multiplies."""
DECODER = 40
"""LUTs that find the next non-zero, and its input."""
WIDTHS = 3
"""Numbers of inputs of a transfer that are offered for each number of lanes."""


@dataclass(frozen=True, eq=False)
class SparseUnit(Unit):
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
    def names(cls) -> list[str]:
        return [kind.name for kind in CODES]

    @classmethod
    def find(cls, weights: Ints) -> list[Self]:
        if not weights.any() or (weights == 0).mean() < ZEROS:
            return []
        formats = [fmt for kind in FORMATS if not kind.dsp
                   and (fmt := kind.find(np.append(weights[weights != 0], 0)))
                   and not fmt.masks]
        fmt = min(formats, key=lambda f: (f.width, f.lut4(4)))
        units = [cls(weights, fmt, kind) for kind in CODES]
        return [unit for unit in units if unit._code(unit._lanes[-1])]

    @cached_property
    def _lanes(self) -> list[int]:
        outputs = len(self.weights)
        return sorted({transfers(outputs, transfers(outputs, k)) for k in range(1, outputs + 1)})

    def _code(self, lanes: int) -> SparseCode | None:
        return _code_of(self, lanes)

    def _schedule(self, lanes: int) -> Schedule:
        return _schedule_of(self, lanes)

    def _found(self, lanes: int) -> SparseCode:
        code = self._code(lanes)
        assert code is not None
        return code

    @property
    def bits(self) -> int:
        code = self._found(self._lanes[-1])
        return code.bits(code.fold(self.weights != 0))

    @property
    def how(self) -> str:
        share = (self.weights != 0).mean()
        return f"{self.fmt.width} bit {self.fmt.name}, {share:.0%} not 0"

    def folds(self, x: Shape) -> list[Fold]:
        inputs = self.weights.shape[1]
        found = []
        for lanes in self._lanes:
            code = self._code(lanes)
            if code is None or lanes % code.height:
                continue
            steps, simd = self._schedule(lanes).steps, 1
            while transfers(inputs, simd) > steps:
                simd *= 2
            for _ in range(WIDTHS):
                if simd <= inputs:
                    found.append(Fold(lanes, simd, self.name))
                simd *= 2
        return found

    def cycles(self, fold: Fold) -> int:
        return self._schedule(fold.pe).steps

    def build(self, fold: Fold, bias: Ints, x: Shape, lo: int, hi: int) -> SparseMatrixVectorUnit:
        return SparseMatrixVectorUnit(self.weights, bias, self.fmt, self._found(fold.pe), x=x,
                                      lo=lo, hi=hi, lanes=fold.pe, simd=fold.simd)

    def timing(self, fold: Fold, x: Shape) -> Steps:
        schedule, delay = self._schedule(fold.pe), sparse_delay_of(self.fmt, x.width)
        return Steps((False,) * schedule.steps, schedule.gives, delay,
                     store=schedule.store(delay), whole=True,
                     replay=transfers(self.weights.shape[1], fold.simd))

    def cost(self, fold: Fold, x: Shape, acc_width: int) -> Cost:
        lanes, simd, code = fold.pe, fold.simd, self._found(fold.pe)
        schedule, decoders = self._schedule(lanes), lanes // code.height
        in_folds = transfers(self.weights.shape[1], simd)
        product, tree = products_of(self.fmt, x.width), tree_of(self.fmt, x.width, 1)
        kept = schedule.store(sparse_delay_of(self.fmt, x.width))
        held = sum(schedule.depths) * code.height * acc_width
        select = x.width * (simd - 1) * 2 // 3
        groups = len(schedule.lengths)
        lut = (lanes * (product.lut4 + tree.lut4 + 3 * acc_width) + held
               + decoders * (DECODER + select) + rom_lut(groups, lanes * acc_width) + 60)
        ff = (lanes * (product.ff + tree.ff + acc_width + 2 * self.fmt.width) + held
              + decoders * (2 * code.index_width + x.width) + 80)
        words = schedule.steps, decoders * code.width + 1
        buffer = 2 << (in_folds - 1).bit_length(), simd * x.width
        memories = [buffer] * decoders + [(kept, lanes * acc_width)] * (kept > 2)
        if words[0] * words[1] >= SMALL:
            memories.append(words)
        else:
            lut += rom_lut(*words)
        nonzero = code.fold(self.weights != 0)
        heads = -(-code.heads(nonzero) // decoders), code.head_width
        if heads[0] * heads[1] >= SMALL:
            memories += [heads] * decoders
        else:
            lut += decoders * rom_lut(*heads)
        return Cost(lut, ff, tuple(memories), words[1] + x.width * decoders)


@lru_cache(maxsize=4096)
def _code_of(unit: SparseUnit, lanes: int) -> SparseCode | None:
    return unit.kind.find(unit.weights != 0, unit.fmt.width, lanes)


@lru_cache(maxsize=4096)
def _schedule_of(unit: SparseUnit, lanes: int) -> Schedule:
    code = _code_of(unit, lanes)
    assert code is not None
    decoders, rows = lanes // code.height, code.fold(unit.weights != 0)
    padded = np.zeros((transfers(len(rows), decoders) * decoders, rows.shape[1]), dtype=bool)
    padded[:len(rows)] = rows
    return Schedule.of(code.lengths(padded).reshape(-1, decoders))
