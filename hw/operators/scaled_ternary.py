"""Dot product with ternary weights of several scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux, Shape, Signal, Value, signed, unsigned

from bittern.hw.adder_tree import Gate, Tree
from bittern.hw.family import Family
from bittern.hw.fan_in import fan_in_bound
from bittern.hw.formats.format import Term
from bittern.hw.ints import shape_of
from bittern.hw.operators.constant_product import ConstantProduct
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import check_factors
from bittern.hw.operators.ternary_dot import TernaryDot, check_lanes, without, word_of
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["ScaledTernary"]


@dataclass(frozen=True)
class ScaledTernary(Operator):
    """``sum(positive[g] * sum(x[k] * plus[k]) - negative[g] * sum(x[k] * minus[k]))`` over groups.

    A group is of `lanes` operands `x`. Its sums are multiplied once, by constants: the sum of those
    to be added and that of those to be subtracted, or where both scales are equal only their
    difference. Combinational.

    Source: two scales as in trained ternary quantization (C. Zhu et al., arXiv:1612.01064); groups
    as in fine-grained quantization (N. Mellempudi et al., arXiv:1705.01462).

    Parameters
    ----------
    lanes : int
        Of a group; 1 to 62 in all groups.
    x : Shape
        Of 1 to 8 bits.
    scales : tuple[tuple[int, int], ...]
        Positive and negative scale of each group, 0 to 65535.
    """

    lanes: int
    x: Shape
    scales: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        check_lanes(lanes=self.lanes, total=self._total)
        check_factors(x=self.x)
        if self.x.width > 8:
            raise ValueError(f"x must have 1 to 8 bits, not {self.x.width}")
        for pair in self.scales:
            if len(pair) != 2 or not all(0 <= s < 1 << 16 for s in pair):
                raise ValueError(f"scales must be pairs of 0..65535, not {pair}")

    @property
    def _total(self) -> int:
        return self.lanes * len(self.scales)

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return *(self.x for _ in range(self._total)), unsigned(self._total), unsigned(self._total)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (self._of(self.scales),)

    def _of(self, scales: Sequence[tuple[int, int]]) -> Shape:
        """Return the shape of what groups of `scales` make together."""
        least, most = _ends(self.x)
        high = self.lanes * sum(p * most - n * least for p, n in scales)
        low = self.lanes * sum(p * least - n * most for p, n in scales)
        return shape_of(low, high)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        *xs, plus, minus = operands
        total = np.zeros_like(plus)
        for k, x in enumerate(xs):
            positive, negative = self.scales[k // self.lanes]
            total += x * (positive * (plus >> k & 1) - negative * (minus >> k & 1))
        return (total,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        *xs, plus, minus = operands
        total: Value = Const(0)
        for k, (x, p, m) in enumerate(zip(xs, plus, minus, strict=True)):
            positive, negative = self.scales[k // self.lanes]
            total = total + Mux(p, x * positive, 0) - Mux(m, x * negative, 0)
        return (total,)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        *xs, plus, minus = operands
        total: Value = Const(0, 0)
        for g, (positive, negative) in enumerate(self.scales):
            lanes = slice(g * self.lanes, (g + 1) * self.lanes)
            parts = (xs[lanes], plus[lanes], minus[lanes])
            for k, value in enumerate(self._group(stages, *parts, scales=self.scales[g])):
                shape = self._of([*self.scales[:g], (positive, negative if k or
                                                     positive == negative else 0)])
                total = _add(stages, total, value, shape, f"scaled_{g}_{k}")
        return (total,)

    def _group(self, stages: Stages, xs: Sequence[Value], plus: Value, minus: Value,
               *, scales: tuple[int, int]) -> list[Value]:
        """Return the summands of a group."""
        positive, negative = scales
        if positive == negative:
            dot = TernaryDot(self.lanes, self.x)
            value, = dot.gates(stages, *xs, plus, minus)
            return [*ConstantProduct(dot.outputs[0], positive).gates(stages, value)]
        return [product for mask, scale in ((plus, positive), (minus, -negative))
                for product in ConstantProduct(self._sum, scale).gates(
                    stages, self._masked(stages, xs, mask))]

    @property
    def _sum(self) -> Shape:
        """The shape of the sum of a group's operands."""
        least, most = _ends(self.x)
        return shape_of(self.lanes * least, self.lanes * most)

    def _masked(self, stages: Stages, xs: Sequence[Value], mask: Value) -> Value:
        """Return the sum of those operands whose bit in `mask` is set."""
        terms, offset = self._terms(xs, mask)
        return without(Tree().count(stages, terms, "masked"), offset, self._sum)

    def _terms(self, xs: Sequence[Value], mask: Value) -> tuple[list[Term], int]:
        if self.x == unsigned(1):
            return [Gate.of(lambda a, b: a & b, x, b) for x, b in zip(xs, mask, strict=True)], 0
        return ([word_of(Cat(x) & b.replicate(len(x)), self.x)
                 for x, b in zip(xs, mask, strict=True)],
                self.lanes << self.x.width - 1 if self.x.signed else 0)

    def lut4(self, family: Family) -> float:
        total: float = 0
        for g, (positive, negative) in enumerate(self.scales):
            if positive == negative:
                dot = TernaryDot(self.lanes, self.x)
                total += dot.lut4(family) + ConstantProduct(dot.outputs[0], positive).lut4(family)
            else:
                total += sum(self._sum_lut4(family) + ConstantProduct(self._sum, c).lut4(family)
                             for c in (positive, -negative) if c)
                total += adder_lut4(self._of([(positive, negative)]).width, family)
            if g:
                total += adder_lut4(self._of(self.scales[:g + 1]).width, family)
        return total

    def _sum_lut4(self, family: Family) -> float:
        terms, offset = self._terms([Signal(self.x) for _ in range(self.lanes)],
                                    Signal(self.lanes))
        # the ECP5 absorbs masks
        masks = 0 if family is Family.ECP5 or self.x == unsigned(1) else self.lanes * self.x.width
        rest = adder_lut4(self.lanes.bit_length() + 1, family) if offset else 0
        return Tree().cost(terms).lut4(family) + masks + rest

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(1, unsigned(1), ((1, 1),)), cls(3, unsigned(4), ((5, 3),)),
                cls(3, signed(4), ((5, 3),)), cls(6, unsigned(1), ((11, 7),)),
                cls(3, unsigned(2), ((3, 3), (5, 5))), cls(2, signed(2), ((1, 2), (6, 6))),
                cls(2, signed(1), ((1, 0), (7, 9), (0, 0))), cls(2, unsigned(8), ((0, 13),)),
                cls(4, signed(8), ((113, 113), (40, 71)))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(16, unsigned(1), ((91, 113),)), cls(16, unsigned(4), ((91, 113),)),
                cls(4, unsigned(4), ((91, 91), (113, 113), (75, 75), (101, 101))),
                cls(8, signed(8), ((91, 91),))]


def _ends(x: Shape) -> tuple[int, int]:
    if x.signed:
        return -(1 << x.width - 1), (1 << x.width - 1) - 1
    return 0, (1 << x.width) - 1


def _add(stages: Stages, total: Value, value: Value, shape: Shape, name: str) -> Value:
    """Return ``total + value`` in `shape`."""
    if not len(total):
        return value
    added = stages.fence((total + value)[:shape.width], name)
    return added.as_signed() if shape.signed else added
