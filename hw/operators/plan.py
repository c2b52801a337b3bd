"""Sigmoid and tanh by PLAN: lines whose slopes are powers of two."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux, Shape, signed, unsigned

from bittern.hw.fan_in import fan_in_bound
from bittern.hw.operators.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["PlanSigmoid", "PlanTanh"]

SLOPES = (2, 3, 5)
"""``y = offset + x / 2**slope`` on the three lines for x >= 0, and 1 behind them."""
OFFSETS = (16, 20, 27)
"""In 32nds."""
ENDS = (8, 19, 40)
"""Where each line ends, in eighths; the first line and the second meet."""


@dataclass(frozen=True)
class _Plan(Operator):
    shape: Shape
    fraction: int
    result: int

    doubled = 0
    """1 for the tanh: ``tanh(x) = 2 sigmoid(2 x) - 1``."""

    def __post_init__(self) -> None:
        if not self.shape.signed or not 4 <= self.shape.width <= 24:
            raise ValueError(f"shape must be signed, of 4 to 24 bits, not {self.shape!r}")
        # the ends of the lines are multiples of an eighth
        if not 3 + self.doubled <= self.fraction <= 24:
            raise ValueError(f"fraction must be in {3 + self.doubled}..24, not {self.fraction}")
        if not 1 <= self.result <= 24:
            raise ValueError(f"result must be in 1..24, not {self.result}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    @property
    @abstractmethod
    def _bits(self) -> int:
        """Bits of the sigmoid's fraction."""

    @property
    def _point(self) -> int:
        """Bits of the fraction of the sigmoid's operand."""
        return self.fraction - self.doubled

    def _sigmoid(self, x: Ints) -> Ints:
        """Return the sigmoid with as many bits of fraction as `_bits`, rounded down."""
        magnitude = np.abs(x)
        f = self._point
        y = np.full(x.shape, 1 << f + 5)
        for slope, offset, end in reversed([*zip(SLOPES, OFFSETS, ENDS, strict=True)]):
            line = (offset << f) + (magnitude << 5 - slope)
            y = np.where(magnitude < end << f - 3, line, y)
        y = np.where(x < 0, (1 << f + 5) - y, y)
        return (y << self._bits) >> f + 5

    def _gates(self, stages: Stages, x: Value) -> list[Value]:
        """Return the bits of the sigmoid from one half down, and last whether it is 1.

        The constant of each line ends where the bits of ``x / 2**slope`` begin, below zero too,
        where the fraction counts up from the next lower integer: there is nothing to add.
        """
        f = self._point
        sign = x[-1]
        wide = Cat(x, sign.replicate(max(f + 4 - len(x), 0)))
        n = wide[f:] # the next lower integer
        away = Cat(bit ^ sign for bit in n) # 0, 1, 2 for 0, 1, 2 and for -1, -2, -3
        eighths, rest = wide[f - 3:f], wide[:f - 3].any()
        before = Mux(sign, (eighths > 5) | (eighths == 5) & rest, eighths < 3)
        few = ~away[2:].any()
        second = few & (~away[1] & away[0] | away[1] & ~away[0] & before)
        beyond = stages.fence(away[3:].any() | away[2] & (away[0] | away[1]), "beyond")
        # the number of the line: 0, 1, 2, or 3 beyond them
        low = stages.fence(second | beyond, "low")
        high = stages.fence(away[2:].any() | away[1] & ~second, "high")
        heads = ([~sign, sign], [~sign, ~sign, ~n[0]],
                 [~sign, ~sign, ~sign, n[1] ^ n[0] ^ ~sign, ~n[0]])
        bits = []
        for k in range(self._bits):
            a, b, c = (head[k] if k < len(head) else wide[f - 1 - (k - len(head))]
                       if k - len(head) < f else Const(0, 1) for head in heads)
            bits.append(Mux(high, Mux(low, 0, c), Mux(low, b, a)))
        return [*bits, beyond & ~sign]

    def naive(self, *operands: Value) -> Sequence[Value]:
        x, f = operands[0], self._point
        magnitude = Mux(x < 0, -x, x)
        y: Value = Const(1 << f + 5)
        for slope, offset, end in reversed([*zip(SLOPES, OFFSETS, ENDS, strict=True)]):
            line = (magnitude << 5 - slope) + (offset << f)
            y = Mux(magnitude < (end << f - 3), line, y)
        y = Mux(x < 0, (1 << f + 5) - y, y)
        scaled = (y << self._bits) >> f + 5
        return (scaled - (1 << self.result) if self.doubled else scaled,)

    def lut4(self, family: Family) -> float:
        return (self.shape.width - self._point) + 6 + self._point / 3 + 2 * self._bits

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)


@dataclass(frozen=True)
class PlanSigmoid(_Plan):
    """``y = floor(PLAN(x / 2**fraction) * 2**result)``, the sigmoid in three lines, latency 0.

    PLAN is ``x / 4 + 1 / 2`` up to 1, ``x / 8 + 5 / 8`` up to 2.375, ``x / 32 + 27 / 32`` up to 5,
    then 1; for negative ``x`` it is ``1 - PLAN(-x)``. It is at most 0.019 from the sigmoid.

    Source: H. Amin, K. M. Curtis, B. R. Hayes-Gill, "Piecewise linear approximation applied to
    nonlinear function of a neural network", IEE Proc. Circuits Devices Syst. 144(6), 1997.

    Parameters
    ----------
    shape : Shape
        Of ``x``, signed, of 4 to 24 bits.
    fraction : int
        Bits of the fraction of ``x``, of 3..24.
    result : int
        Bits of the fraction of ``y``, of 1..24: 1 is ``2**result``.
    """

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (unsigned(self.result + 1),)

    @property
    def _bits(self) -> int:
        return self.result

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        return (self._sigmoid(operands[0]),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        *bits, one = self._gates(stages, operands[0])
        return (Cat(*reversed(bits), one),)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(signed(w), f, g) for w, f, g in (
            (8, 4, 7), (8, 5, 8), (10, 6, 8), (12, 8, 12), (9, 3, 5), (4, 3, 4), (6, 8, 9),
            (8, 4, 1), (8, 4, 2), (12, 4, 3), (16, 12, 15))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(8), 4, 8), cls(signed(12), 8, 8), cls(signed(16), 12, 15)]


@dataclass(frozen=True)
class PlanTanh(_Plan):
    """``y = floor((2 PLAN(2 x / 2**fraction) - 1) * 2**result)``: tanh in lines, latency 0.

    PLAN as in :class:`PlanSigmoid`.

    Parameters
    ----------
    shape : Shape
        Of ``x``, signed, of 4 to 24 bits.
    fraction : int
        Bits of the fraction of ``x``, of 4..24.
    result : int
        Bits of the fraction of ``y``, of 1..24: 1 is ``2**result``.
    """

    doubled = 1

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (signed(self.result + 2),)

    @property
    def _bits(self) -> int:
        return self.result + 1

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        return (self._sigmoid(operands[0]) - (1 << self.result),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        half, *bits, one = self._gates(stages, operands[0])
        return (Cat(*reversed(bits), ~half, ~half & ~one).as_signed(),)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(signed(w), f, g) for w, f, g in (
            (8, 5, 7), (8, 6, 8), (10, 6, 8), (12, 8, 12), (9, 4, 5), (4, 4, 4), (6, 8, 9),
            (8, 5, 1), (8, 5, 2), (16, 12, 15))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(8), 5, 7), cls(signed(12), 8, 8), cls(signed(16), 12, 15)]
