"""Products of a constant matrix and a vector: weights as wiring."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Shape, Value, signed, unsigned

from bittern.hw.family import Family
from bittern.hw.hardened.graph import ZERO, Graph
from bittern.hw.hardened.rows import Style
from bittern.hw.hardened.schedule import Schedule, schedule
from bittern.hw.hardened.search import build
from bittern.hw.hardened.space import Affine
from bittern.hw.ints import shape_of
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import bounds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["ConstantMatrix", "lay"]


@dataclass(frozen=True)
class ConstantMatrix(Operator):
    """``matrix @ x + bias`` as a graph of shared adders, each of the bits that its range needs.

    Latency: that of `schedule`, interval 1.

    Source: see :mod:`bittern.hw.hardened.search`.

    Parameters
    ----------
    graph : Graph
        Of inputs that have all the values of their shapes.
    family : Family
        Whose adders' delays registers are placed by.
    mhz : float
        Clock for which there are registers between adders; 0: there are none.
    tail : float
        Nanoseconds that what follows takes before the next register.
    head : float
        Nanoseconds that operands take from their registers.
    """

    graph: Graph
    family: Family = Family.ECP5
    mhz: float = 0
    tail: float = 0
    head: float = 0

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return self.graph.shapes[:self.graph.operands]

    @property
    def outputs(self) -> tuple[Shape, ...]:
        graph = self.graph
        ends = [(0, 0) if node == ZERO else tuple(end << shift for end in graph.ranges[node])
                for node, shift in graph.outputs]
        return tuple(shape_of(~hi, ~lo) if k in graph.inverted else shape_of(lo, hi)
                     for k, (lo, hi) in enumerate(ends))

    @cached_property
    def schedule(self) -> Schedule:
        """In which stage each adder works."""
        return schedule(self.graph, self.family, self.mhz, self.tail, self.head)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        matrix, bias = self.graph.affine
        return tuple(sum((int(c) * x for c, x in zip(row, operands, strict=True) if c),
                         np.full_like(operands[0], b))
                     for row, b in zip(matrix, bias, strict=True))

    def naive(self, *operands: Value) -> Sequence[Value]:
        matrix, bias = self.graph.affine
        return tuple(sum((int(c) * x for c, x in zip(row, operands, strict=True) if c),
                         Const(int(b)))
                     for row, b in zip(matrix, bias, strict=True))

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        return lay(self.schedule, stages, operands)

    def lut4(self, family: Family) -> float:
        return self.graph.lut4(family)

    def bound(self, family: Family) -> tuple[float, str]:
        rows = {tuple(abs(row // np.gcd.reduce(row))) for row in self.graph.matrix
                if np.count_nonzero(row) > 1}
        widths = [bounds.width for bounds in self.outputs]
        return (float(len(rows) * min(widths, default=0) / 2),
                "each different row of several weights ends in an adder of its own")

    @classmethod
    def examples(cls) -> list[Self]:
        rng = np.random.default_rng(0)

        def graph(values: Sequence[int], shape: tuple[int, int], x: Shape,
                  style: Style | None = None, *, inverted: frozenset[int] = frozenset()) -> Graph:
            bias = rng.integers(-9, 10, shape[0]) * (shape[1] != 1)
            wanted = Affine.of(rng.choice(values, shape), bias, [bounds_of(x)] * shape[1], inverted)
            return build(wanted, Family.ECP5, style or Style())

        return [cls(graph([0], (2, 2), signed(3))), cls(graph([-4], (1, 1), signed(3))),
                cls(graph([-1, 1], (6, 9), unsigned(1), Style(trees=True))),
                cls(graph([-1, 0, 1], (5, 6), signed(3))),
                cls(graph([-1, 0, 1], (4, 4), unsigned(3), inverted=frozenset({0, 2}))),
                cls(graph(range(-8, 8), (4, 5), signed(4), Style(depth=4)), mhz=150),
                cls(graph(range(-128, 128), (3, 4), unsigned(4)), mhz=300)]


def lay(plan: Schedule, stages: Stages, operands: Sequence[Value]) -> list[Value]:
    """Return the results of a graph of adders, each fenced, in the stages of a schedule."""
    graph = plan.graph
    count = len(graph.inputs)
    constants = {k: Const(graph.inputs[k][0], graph.shapes[k])
                 for k in range(graph.operands, count)}
    values: dict[int, Value] = dict(enumerate(operands))
    at = 0
    order = sorted(range(len(graph.adds)), key=lambda k: (plan.stages[k], k))
    for k in order:
        while at < plan.stages[k]:
            values, at = _wait(values, plan, stages, at)
        add = graph.adds[k]
        a, b = (Const(0, 1) if n == ZERO else constants[n] if n in constants else values[n]
                for n in (add.a, add.b))
        lo, hi = graph.ranges[count + k]
        if lo == hi:
            constants[count + k] = Const(lo, graph.shapes[count + k])
        else:
            values[count + k] = _adder(stages, a, b, graph, k)
    while at < plan.last:
        values, at = _wait(values, plan, stages, at)
    values |= constants
    results = [Const(0, 1) if node == ZERO else _shift(values[node], shift)
               for node, shift in graph.outputs]
    return [~_wide(v) if k in graph.inverted else v for k, v in enumerate(results)]


def _wide(value: Value) -> Value:
    """Return `value` in two's complement: its inverse is its negative less one then."""
    return value if value.shape().signed else Cat(value, Const(0, 1)).as_signed()


def _wait(values: dict[int, Value], plan: Schedule, stages: Stages, at: int
          ) -> tuple[dict[int, Value], int]:
    """Return what is needed after stage `at`, a register later: of that, bits that may change."""
    graph = plan.graph
    left = [node for node in values if plan.until[node] > at]
    changing = [slice(*graph.changing[node]) for node in left]
    held = stages.stage([values[node][bits] for node, bits in zip(left, changing, strict=True)],
                        f"sums_{at}")
    later = {}
    for node, bits, value in zip(left, changing, held, strict=True):
        lo, shape = graph.ranges[node][0], graph.shapes[node]
        wide = Cat(Const(lo, unsigned(bits.start)), value,
                   Const(lo >> bits.stop, unsigned(shape.width - bits.stop)))
        later[node] = wide.as_signed() if shape.signed else wide
    return later, at + 1


def _shift(value: Value, shift: int) -> Value:
    wide = Cat(Const(0, shift), value)
    return wide.as_signed() if value.shape().signed else wide


def _adder(stages: Stages, a: Value, b: Value, graph: Graph, k: int) -> Value:
    """Return the result of adder `k`: low bits pass where only one operand has any."""
    add = graph.adds[k]
    shape = graph.shapes[len(graph.inputs) + k]
    bits, passes = graph.chain(k), add.passes
    lower, upper = (b, a) if add.shift < 0 else (a, b)
    if not bits:
        total: Value = Cat(lower, Const(0, passes - len(lower)), upper)[:shape.width]
    else:
        above = lower >> passes
        upper = _shift(upper, abs(add.shift) - passes)
        if add.shift < 0:
            high = upper - above if add.minus else above + upper
        else:
            high = above - upper if add.minus else above + upper
        sign = lower[-1] if lower.shape().signed else Const(0, 1)
        low = Cat(lower, sign.replicate(max(passes - len(lower), 0)))[:passes]
        total = Cat(low, stages.fence(high[:bits], f"sum_{k}"))
    return total.as_signed() if shape.signed else total
