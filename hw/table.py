"""Table: requantization by looking the result up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const

from bittern.hw.ints import Ints, shape_of
from bittern.hw.requant import Requant

if TYPE_CHECKING:
    from amaranth import Value

    from bittern.hw.pipeline import Pipeline
    from bittern.hw.requant import Fold

__all__ = ["Table"]


@dataclass(frozen=True, eq=False)
class Table(Requant):
    """``y = values[channel, acc - lo]``: any function of the accumulator, monotone or not.

    A memory of ``channels * 2**width`` words for each lane, latency 1.

    Parameters
    ----------
    values : array ``(channels or 1, hi - lo + 1)``
        The result for each accumulator of ``lo..hi``.
    lo : int
        The least accumulator.
    """

    values: Ints
    lo: int

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError("values must be an array of two axes, with integers in it, "
                             f"not of shape {self.values.shape}")

    @property
    def hi(self) -> int:
        """The greatest accumulator."""
        return self.lo + int(self.values.shape[1]) - 1

    @property
    def bounds(self) -> tuple[int, int]:
        return int(self.values.min()), int(self.values.max())

    @property
    def channels(self) -> int:
        return len(self.values)

    def __call__(self, acc: Ints) -> Ints:
        channel = np.arange(acc.shape[-1]) if self.channels > 1 else 0
        y: Ints = self.values[channel, acc - self.lo]
        return y

    def latency(self, folds: int) -> int:
        return 1

    def gates(self, pipeline: Pipeline, acc: list[Value], unit: Fold) -> list[Value]:
        if unit.lo < self.lo or unit.hi > self.hi:
            raise ValueError(f"the table is for {self.lo}..{self.hi}, "
                             f"accumulators are in {unit.lo}..{unit.hi}")
        shape = shape_of(*self.bounds)
        width = shape_of(unit.lo, unit.hi).width
        # addressed by the bits of the accumulator: the negative ones come after the others
        code = np.arange(1 << width)
        at = np.where(code > unit.hi, code - (1 << width), code).clip(unit.lo, unit.hi)
        words = self.values[:, at - self.lo] & (1 << shape.width) - 1
        fold: Value = Const(0, 0)
        if self.channels > 1 and unit.folds > 1:
            fold = unit.count(pipeline.m, pipeline.goes)
        y = []
        for k, a in enumerate(acc):
            lane = unit.lane(words, k) if len(fold) else words[[k % self.channels]]
            y.append(pipeline.table(lane.ravel().tolist(), shape.width, Cat(a, fold), f"lane_{k}"))
        pipeline.stage([], "read")
        return [v.as_signed() if shape.signed else v for v in y]
