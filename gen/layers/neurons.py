"""Neurons that are truth tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.cost import Cost
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw.truth_tables import TruthTable, TruthTables

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["Neurons"]

MAPPED = 0.8
"""LUTs for each part of a truth table: Yosys finds more that parts have in common."""


@dataclass(frozen=True, eq=False)
class Neurons(Layer):
    """``y[…, k] = tables[k](x[…, :])``.

    Parameters
    ----------
    tables : TruthTable
        One for each output.
    inputs, width : int
        How many inputs there are, and the bits of each.
    lo, hi : int
        Bounds of the values.
    """

    tables: tuple[TruthTable, ...]
    inputs: int
    width: int
    lo: int
    hi: int

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        if (x.channels, x.element.width) != (self.inputs, self.width):
            raise ValueError(f"takes {self.inputs} inputs of {self.width} bits, not a tensor of "
                             f"shape {x.shape} of {x.element.width} bits")
        return Tensor((*x.shape[:-1], len(self.tables)), self.lo, self.hi)

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        return np.stack([table(x) for table in self.tables], axis=-1)

    def folds(self, *xs: Tensor) -> list[Fold]:
        return [Fold(len(self.tables), self.inputs)]

    def build(self, fold: Fold, *xs: Tensor) -> TruthTables:
        return TruthTables(self.tables, inputs=self.inputs, x=xs[0].element, lo=self.lo, hi=self.hi)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return xs[0].vectors

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        return Steps((True,), (True,), TruthTables.latency)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        results = len(self.tables) * self.infer(*xs).element.width
        return Cost(round(MAPPED * sum(table.parts for table in self.tables)) + 2, results + 1)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        rng = np.random.default_rng(0)

        def example(x: Tensor, outputs: int, fan_in: int, lo: int, hi: int
                    ) -> tuple[Self, tuple[Tensor, ...]]:
            width = x.element.width
            tables = tuple(TruthTable(
                tuple(rng.choice(x.channels, fan_in, replace=False).tolist()), width,
                rng.integers(lo, hi + 1, 1 << width * fan_in)) for _ in range(outputs))
            return cls(tables, x.channels, width, lo, hi), (x,)

        return [example(Tensor((7,), 0, 1), 5, 6, 0, 1), example(Tensor((4,), -2, 1), 6, 3, -2, 1),
                example(Tensor((2, 3), 0, 7), 1, 1, 0, 5),
                example(Tensor((5,), -8, 7), 3, 2, -8, 7), example(Tensor((2,), 0, 3), 2, 0, 0, 1)]
