"""Any function of one integer, from a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Array, Const, Shape, Value, signed, unsigned

from bittern.hw.fan_in import fan_in_bound
from bittern.hw.ints import Ints, shape_of
from bittern.hw.lookup import lookup, lookup_lut4, words_of
from bittern.hw.operators.operator import Operator
from bittern.hw.saturation import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bittern.hw.family import Family
    from bittern.hw.pipeline import Stages

__all__ = ["TableFunction"]


@dataclass(frozen=True)
class TableFunction(Operator):
    """``y = values[x - lo]``, where ``lo`` is the least integer of `shape`.

    Sigmoid, tanh, GELU or SiLU between quantized tensors are such functions. In logic the latency
    is 0, in a block of memory 1.

    Parameters
    ----------
    shape : Shape
        Of ``x``.
    values : tuple[int, ...]
        The result for each integer of `shape`, in ascending order.
    memory : bool
        Whether it is a memory rather than logic.
    """

    shape: Shape
    values: tuple[int, ...]
    memory: bool = False

    def __post_init__(self) -> None:
        if len(self.values) != 1 << self.shape.width:
            raise ValueError(f"values must be {1 << self.shape.width} integers, "
                             f"not {len(self.values)}")

    @classmethod
    def of(cls, function: Callable[[float], float], shape: Shape, scale: float, *,
           result: Shape, result_scale: float, zero_point: int = 0, memory: bool = False) -> Self:
        """Return ``y = clip(round(function(x * scale) / result_scale) + zero_point)``.

        Halves are rounded to even. The sum that decides is one of 64-bit floating point.
        """
        least, greatest = limits(shape)
        lo, hi = limits(result)
        y = [round(function(x * scale) / result_scale) + zero_point
             for x in range(least, greatest + 1)]
        return cls(shape, tuple(min(max(v, lo), hi) for v in y), memory)

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (shape_of(min(self.values), max(self.values)),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        return (np.array(self.values)[operands[0] - limits(self.shape)[0]],)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        shape = self.outputs[0]
        if self.memory:
            y = stages.table(words_of(self), shape.width, operands[0].as_unsigned(), "table")
            stages.stage([], "read")
        else:
            y = lookup(stages, words_of(self), shape.width, operands[0])
        return (y.as_signed() if shape.signed else y,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        shape = self.outputs[0]
        words = Array(Const(w, shape.width) for w in words_of(self))
        y = Value.cast(words[operands[0].as_unsigned()])
        return (y.as_signed() if shape.signed else y,)

    def lut4(self, family: Family) -> float:
        if self.memory:
            return 0
        return 1.1 * lookup_lut4(words_of(self), self.outputs[0].width, self.shape.width)

    def bound(self, family: Family) -> tuple[float, str]:
        return (0, "a memory") if self.memory else fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        rng = np.random.default_rng(0)
        return [cls(shape, tuple(rng.integers(lo, hi + 1, 1 << shape.width).tolist()), memory)
                for memory in (False, True)
                for shape, lo, hi in ((signed(7), -8, 7), (unsigned(6), 0, 31), (signed(3), 0, 1),
                                      (unsigned(1), -3, 3), (unsigned(4), 5, 5),
                                      (signed(10), 0, 7))]

    @classmethod
    def points(cls) -> list[Self]:
        functions = (lambda x: 1 / (1 + math.exp(-x)), math.tanh,
                     lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)
        scales = (1 / 256, 1 / 128, 1 / 32)
        random = tuple(np.random.default_rng(0).integers(0, 256, 256).tolist())
        return [*(cls.of(f, signed(8), 1 / 32, result=signed(8), result_scale=scale,
                         zero_point=zero)
                  for f, scale, zero in zip(functions, scales, (-128, 0, 0), strict=True)),
                cls(unsigned(8), random), cls(unsigned(8), random, memory=True)]
