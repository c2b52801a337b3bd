"""Thresholds: requantization by comparing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Mux, signed

from bittern.hw.ints import Ints, shape_of
from bittern.hw.requant import Requant
from bittern.hw.saturation import limits

if TYPE_CHECKING:
    from amaranth import Value

    from bittern.hw.pipeline import Pipeline
    from bittern.hw.requant import Fold

__all__ = ["Thresholds", "reaches", "search_words"]

DEEP = 128
"""Words from which a table may be a block of memory, which is too slow for more than to be read."""


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
        depths = [(folds if self.channels > 1 else 1) << k for k in range(self.bits)]
        return sum(1 + (depth > 1) + (depth >= DEEP) for depth in depths)

    def gates(self, pipeline: Pipeline, acc: list[Value], unit: Fold) -> list[Value]:
        if self.is_sign:
            return [a >= 0 if self.lo == 0 else (a >= 0) + self.lo for a in acc]
        words, width = search_words(self, unit.lo, unit.hi)
        lanes = range(n := len(acc))
        fold: Value = Const(0, 0)
        if self.channels > 1 and unit.folds > 1:
            fold = unit.count(pipeline.m, pipeline.goes)
        found: list[Value] = [Const(0, 0) for _ in acc]
        for level, middle in enumerate(words):
            threshold: list[Value] = []
            for k in lanes:
                lane = unit.lane(middle, k) if len(fold) else middle[[k % self.channels]]
                threshold.append(pipeline.table(lane.ravel().tolist(), width, Cat(found[k], fold),
                                                f"level_{level}_lane_{k}"))
            if middle.shape[1] > 1 or len(fold):
                held = pipeline.stage([*acc, *found, fold], f"read_{level}")
                acc, found, fold = held[:n], held[n:2 * n], held[-1]
            if (unit.folds if self.channels > 1 else 1) << level >= DEEP:
                held = pipeline.stage([*acc, *found, fold, *threshold], f"threshold_{level}")
                acc, found, fold, threshold = held[:n], held[n:2 * n], held[2 * n], held[-n:]
            # the lowest bit of what was found comes last, so that it addresses the table
            found = [Cat(reaches(acc[k], threshold[k], width), found[k]) for k in lanes]
            held = pipeline.stage([*acc, *found, fold], f"compare_{level}")
            acc, found, fold = held[:n], held[n:2 * n], held[-1]
        return [f + self.lo for f in found]


def search_words(spec: Thresholds, lo: int, hi: int) -> tuple[list[Ints], int]:
    """Return what the levels of a search compare with, and its width: the low bits of ``-t``.

    Of each level, ``(channels, 2**level)``: thresholds that halve what is left, for each outcome so
    far.
    """
    count = (1 << spec.bits) - 1
    padded = np.full((spec.channels, count), hi + 1) # one more is never reached
    padded[:, :spec.values.shape[1]] = spec.values.clip(lo, hi + 1)
    # The negative fits where an accumulator does, but for a threshold that is always reached.
    shape = shape_of(lo, hi)
    width = shape.width + bool(padded.min() == limits(shape)[0])
    words = -padded & ((1 << width) - 1)
    return [words[:, (count >> level + 1)::(count + 1 >> level)]
            for level in range(spec.bits)], width


def reaches(acc: Value, negative: Value, width: int) -> Value:
    """Return whether ``acc >= t``, from the `width` low bits of ``-t``.

    The sum has no bit more than these: where it leaves them, the signs tell.
    """
    wide = (acc + Const(0, signed(width)))[:width]
    total = (wide + negative)[:width]
    # less half the range, an unsigned accumulator and its threshold are in two's complement
    flip = not acc.shape().signed and width == len(acc)
    a, n = wide[-1] ^ flip, negative[-1] ^ flip
    return ~Mux(a == n, a, total[-1])
