"""Logarithm of an integer, rounded: the code of a logarithmic activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux, Shape, Signal, Value, unsigned

from bittern.hw.fan_in import fan_in_bound
from bittern.hw.logarithm import threshold
from bittern.hw.operators.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["LogQuantize", "wire"]


@dataclass(frozen=True)
class LogQuantize(Operator):
    """0 for 0, else ``1 + round(log2(x) * 2**fraction)``, exactly; combinational.

    The gates shift the leading one to the top, which gives the whole part, and compare what is
    below with ``2**fraction`` constants. For all of 8 bits, base 2, that takes 23 LUTs.

    Source: D. Miyashita et al., arXiv:1603.01025.

    Parameters
    ----------
    width : int
        Bits of `x`, 1 to 32.
    fraction : int
        0 for base 2, 1 for base ``sqrt(2)``, 2 for its root.
    """

    width: int
    fraction: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 32:
            raise ValueError(f"width must be 1 to 32 bits, not {self.width}")
        if not 0 <= self.fraction <= 2:
            raise ValueError(f"fraction must be 0 to 2, not {self.fraction}")

    @property
    def thresholds(self) -> tuple[int, ...]:
        """The least `x` of each code from 2 on."""
        return tuple(t for c in range(1, (self.width << self.fraction) + 1)
                     if (t := threshold(c, self.fraction)) < 1 << self.width)

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (unsigned(self.width),)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (unsigned((1 + len(self.thresholds)).bit_length()),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        x, = operands
        code = np.searchsorted(np.array(self.thresholds, dtype=np.int64), x, side="right")
        return (np.where(x == 0, 0, 1 + code).astype(np.int64),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        x, = operands
        return (sum((x >= t for t in (1, *self.thresholds)), Const(0)),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        x, = operands
        depth = (self.width - 1).bit_length()
        full = 1 << depth
        value: Value = Cat(x, Const(0, full - self.width))
        whole: list[Value] = []
        for k in reversed(range(depth)):
            apart = 1 << k
            high = wire(stages, value[full - apart:].any(), f"whole_{k}")
            value = wire(stages, Mux(high, value, Cat(Const(0, apart), value)[:full]),
                          f"shifted_{k}")
            whole.insert(0, high)
        above: Value = Const(1, self.fraction + 2)
        for j in range(1, (1 << self.fraction) + 1):
            reached = _at_least(value, threshold((full - 1 << self.fraction) + j, self.fraction))
            above = wire(stages, Mux(reached, j + 1, above)[:self.fraction + 2], f"above_{j}")
        code = _sum(Cat(Const(0, self.fraction), *whole), above, self.outputs[0].width)
        # of nothing but zeros, the top bit is zero too
        return (code & value[-1].replicate(self.outputs[0].width),)

    def lut4(self, family: Family) -> float:
        depth = (self.width - 1).bit_length()
        shifts = sum(self.width - (1 << k) for k in range(depth))
        compares = (self.width + 1) // 3 << self.fraction
        return shifts + depth + compares + self.outputs[0].width

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(width, fraction) for width in (1, 2, 3, 4, 5, 8, 11)
                for fraction in (0, 1, 2)] + [cls(17), cls(20, 1)]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(width, fraction) for width in (8, 16, 24) for fraction in (0, 1)]


def wire(stages: Stages, value: Value, name: str) -> Value:
    """Return `value`, which is read more than once, as a signal."""
    signal = Signal.like(value, name=name)
    stages.m.d.comb += signal.eq(value)
    return signal


def _at_least(value: Value, least: int) -> Value:
    """Return whether ``value >= least``, in LUTs of three bits each, not in a carry chain."""
    if least >> len(value):
        return Const(0, 1)
    result: Value = Const(1, 1)
    for k, bit in enumerate(value):
        result = bit & result if least >> k & 1 else bit | result
    return result


def _sum(a: Value, b: Value, width: int) -> Value:
    """Return ``a + b``, of few bits, in LUTs."""
    a, b = (Cat(v, Const(0, width))[:width] for v in (a, b))
    carry: Value = Const(0, 1)
    bits = []
    for x, y in zip(a, b, strict=True):
        bits.append(x ^ y ^ carry)
        carry = x & y | (x | y) & carry
    return Cat(bits)
