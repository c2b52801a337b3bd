"""The greatest of several integers, and where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux, Shape, signed, unsigned

from bittern.hw.comparison import below
from bittern.hw.fan_in import fan_in_bound
from bittern.hw.operators.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["ArgMax", "Maximum"]


@dataclass(frozen=True)
class Maximum(Operator):
    """``y = max(x0, x1, …)``, or the least: pooling; a tree of comparisons, latency 0.

    Parameters
    ----------
    shape : Shape
        Of the operands and of the result.
    count : int
        Operands, at least 1.
    least : bool
        Whether to return the least.
    """

    shape: Shape
    count: int
    least: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, not {self.count}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,) * self.count

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        return ((np.min if self.least else np.max)(np.stack(operands), axis=0),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        values = [*operands]
        while len(values) > 1:
            values = [_choose(pair[0], pair[1], self.least) if len(pair) > 1 else pair[0]
                      for pair in (values[k:k + 2] for k in range(0, len(values), 2))]
        return values

    def naive(self, *operands: Value) -> Sequence[Value]:
        y, *others = operands
        for x in others:
            y = Mux(x < y if self.least else x > y, x, y)
        return (y,)

    def lut4(self, family: Family) -> float:
        return (self.count - 1) * (2 * self.shape.width + 1)

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(shape, count, least) for least in (False, True) for shape, count in (
            (signed(8), 2), (unsigned(4), 4), (signed(5), 3), (unsigned(1), 7), (signed(1), 2),
            (signed(9), 1))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(8), 2), cls(signed(8), 4), cls(unsigned(4), 4), cls(signed(8), 9),
                cls(signed(16), 2)]


@dataclass(frozen=True)
class ArgMax(Operator):
    """The number of the first greatest operand; a tree of comparisons, latency 0.

    Parameters
    ----------
    shape : Shape
        Of the operands.
    count : int
        Operands, at least 2.
    """

    shape: Shape
    count: int

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"count must be at least 2, not {self.count}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,) * self.count

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (unsigned((self.count - 1).bit_length()),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        return (np.argmax(np.stack(operands), axis=0),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        return (first_greatest(stages, operands)[1],)

    def naive(self, *operands: Value) -> Sequence[Value]:
        best, *others = operands
        at: Value = Const(0, self.outputs[0])
        for k, x in enumerate(others, start=1):
            above = x > best
            best, at = Mux(above, x, best), Mux(above, k, at)
        return (at,)

    def lut4(self, family: Family) -> float:
        return (self.count - 1) * (2 * self.shape.width + 2) - self.shape.width

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(signed(8), 2), cls(unsigned(4), 4), cls(signed(5), 3), cls(unsigned(1), 7),
                cls(unsigned(2), 10), cls(signed(1), 5)]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(8), 2), cls(signed(8), 4), cls(signed(8), 10), cls(signed(16), 10)]


def first_greatest(stages: Stages, values: Sequence[Value]) -> tuple[Value, Value]:
    """Return the greatest of `values`, and the number of the first that is it."""
    level: list[tuple[Value, Value]] = [(value, Const(0, 0)) for value in values]
    bits = 0
    while len(level) > 1:
        pairs = [level[k:k + 2] for k in range(0, len(level), 2)]
        level = []
        for pair in pairs:
            (a, i), (b, j) = pair[0], pair[-1]
            if len(pair) > 1:
                above = stages.fence(below(a, b), "above") # the first one of equals stays
                value = Mux(above, b, a)
                level.append((value.as_signed() if a.shape().signed else value,
                              Cat(Mux(above, j, i)[:bits], above)))
            else:
                level.append((a, Cat(i, Const(0, 1))))
        bits += 1
    return level[0]


def _choose(a: Value, b: Value, least: bool) -> Value:
    value = Mux(below(a, b), a, b) if least else Mux(below(a, b), b, a)
    return value.as_signed() if a.shape().signed else value
