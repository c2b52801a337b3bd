"""Thresholds: requantization by comparing."""

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
    from bittern.hw.requant import Requantizer

__all__ = ["Thresholds"]


@dataclass(frozen=True, eq=False)
class Thresholds(Requant):
    """``y = lo + sum(values[channel] <= acc)``: any non-decreasing function of integers.

    The gates search: a result of n bits takes n comparisons, each with one of a table of
    thresholds. One threshold of zero for all channels is the sign, and costs nothing.

    Source: the thresholds of FINN (Umuroglu et al. 2017, arXiv:1612.07119); the pipelined binary
    search is that of its RTL library.

    Parameters
    ----------
    values : array ``(channels or 1, n)``
        Ascending (equal ones allowed) thresholds of each channel.
    lo : int
        The result below all thresholds.
    """

    values: Ints
    lo: int

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or (np.diff(self.values, axis=1) < 0).any():
            raise ValueError("thresholds must ascend along the last of two axes")

    @property
    def bounds(self) -> tuple[int, int]:
        return self.lo, self.lo + self.values.shape[1]

    @property
    def channels(self) -> int:
        return len(self.values)

    @property
    def bits(self) -> int:
        """Comparisons of one search."""
        return int(self.values.shape[1]).bit_length()

    @property
    def is_sign(self) -> bool:
        """Whether the result only says if the accumulator is negative."""
        return self.values.shape[1] == 1 and not self.values.any()

    def __call__(self, acc: Ints) -> Ints:
        n = self.values.shape[1]
        y = np.full(acc.shape, self.lo)
        if n < 8:
            for t in self.values.T:
                y += acc >= t
        elif self.channels == 1:
            y += np.searchsorted(self.values[0], acc, side="right")
        else:
            for c, t in enumerate(self.values):
                y[..., c] += np.searchsorted(t, acc[..., c], side="right")
        return y

    def latency(self, folds: int) -> int:
        if self.is_sign:
            return 0
        # a stage reads the threshold where it is no constant, the next one compares
        return sum(1 + (depth * (folds if self.channels > 1 else 1) > 1)
                   for depth in (1 << k for k in range(self.bits)))

    def gates(self, pipeline: Pipeline, acc: list[Value], unit: Requantizer) -> list[Value]:
        if self.is_sign:
            return [a >= 0 if self.lo == 0 else (a >= 0) + self.lo for a in acc]
        element = shape_of(min(unit.lo, 0), unit.hi + 1) # one more is never reached
        count = (1 << self.bits) - 1
        padded = np.full((self.channels, count), unit.hi + 1)
        padded[:, :self.values.shape[1]] = self.values.clip(min(unit.lo, 0), unit.hi + 1)
        found: list[Value] = [Const(0, 0) for _ in acc]
        folds = unit.folds if self.channels > 1 else 1
        for level in range(self.bits):
            # thresholds that halve what is left, for each outcome so far
            middle = padded[:, (count >> level + 1)::(count + 1 >> level)]
            reads = middle.shape[1] * folds > 1
            words = middle & ((1 << element.width) - 1)
            threshold: list[Value] = []
            fold = pipeline.count(folds, f"level_{level}") if reads else Const(0, 0)
            for k, outcome in enumerate(found):
                lane = unit.lane(words, k)
                table = np.zeros((len(lane), middle.shape[1]), dtype=np.int64)
                table[:] = lane
                threshold.append(pipeline.table(
                    table.ravel().tolist(), element.width,
                    Cat(outcome, fold) if folds > 1 else outcome, f"level_{level}_lane_{k}"))
            n = len(acc)
            if reads:
                held = pipeline.stage([*acc, *found], f"read_{level}")
                acc, found = held[:n], held[n:]
            # the lowest bit of what was found comes last, so that it addresses the table
            found = [Cat(a >= (t.as_signed() if element.signed else t), f)
                     for a, t, f in zip(acc, threshold, found, strict=True)]
            held = pipeline.stage([*acc, *found], f"compare_{level}")
            acc, found = held[:n], held[n:]
        return [f + self.lo for f in found]
