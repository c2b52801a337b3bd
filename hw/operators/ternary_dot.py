"""Dot product with weights of -1, 0 and 1: subtract, skip, add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux, Shape, Signal, Value, signed, unsigned

from bittern.hw.adder_tree import Gate, Tree
from bittern.hw.family import Family
from bittern.hw.fan_in import fan_in_bound
from bittern.hw.formats.format import Term
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import check_factors
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["TernaryDot", "check_lanes", "without", "word_of"]


def check_lanes(**lanes: int) -> None:
    """Raise :exc:`ValueError` unless each number of lanes is 1 to 62."""
    for name, n in lanes.items():
        if not 1 <= n <= 62:
            raise ValueError(f"{name} must be 1 to 62 lanes, not {n}")


def word_of(value: Value, x: Shape) -> Term:
    """Return `value` of the shape of `x`, where that is signed plus ``1 << x.width - 1``."""
    word = Cat(value[:-1], ~value[-1]) if x.signed else value
    return Term(0, word, (1 << x.width) - 1)


def without(total: Value, offset: int, shape: Shape) -> Value:
    """Return ``total - offset`` in `shape`: an adder of the places from its lowest one on."""
    if not offset:
        wide = Cat(total, Const(0, 1).replicate(max(shape.width - len(total), 0)))[:shape.width]
        return wide.as_signed() if shape.signed else wide
    low = (offset & -offset).bit_length() - 1
    high = (total[low:] + Const((-offset >> low) & (1 << shape.width - low) - 1))
    rest = Cat(total[:low], high[:shape.width - low])
    return rest.as_signed() if shape.signed else rest


@dataclass(frozen=True)
class TernaryDot(Operator):
    """``sum(x[k] * (plus[k] - minus[k]))`` over `lanes` operands `x`, and two planes of weights.

    Each weight takes a LUT per bit of `x` that passes, masks or inverts; the one that an inverted
    word lacks is the carry-in of an adder. Unsigned `x` of one bit are counted instead, masked by
    either plane, those of the second one inverted.

    Latency: that of the registers of `tree`; interval 1.

    Source: ternary weights, F. Li et al., arXiv:1605.04711.

    Parameters
    ----------
    lanes : int
        1 to 62.
    x : Shape
        Of 1 to 16 bits.
    tree : Tree
    """

    lanes: int
    x: Shape
    tree: Tree = field(default_factory=Tree)

    def __post_init__(self) -> None:
        check_lanes(lanes=self.lanes)
        check_factors(x=self.x)

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return *(self.x for _ in range(self.lanes)), unsigned(self.lanes), unsigned(self.lanes)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        most = self.lanes << self.x.width - 1 if self.x.signed else (
            self.lanes * ((1 << self.x.width) - 1))
        return (signed(most.bit_length() + 1),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        *xs, plus, minus = operands
        total = np.zeros_like(plus)
        for k, x in enumerate(xs):
            total += x * ((plus >> k & 1) - (minus >> k & 1))
        return (total,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        *xs, plus, minus = operands
        return (sum((Mux(p, x, 0) - Mux(m, x, 0)
                     for x, p, m in zip(xs, plus, minus, strict=True)), Const(0)),)

    @property
    def _counts(self) -> bool:
        return self.x == unsigned(1)

    def terms(self, *operands: Value) -> tuple[list[Term], int]:
        """Return unsigned terms, and by how much their sum is more than the result."""
        *xs, plus, minus = operands
        bits: list[Term] = []
        words: list[Term] = []
        if self._counts:
            for x, p, m in zip(xs, plus, minus, strict=True):
                bits += [Gate.of(lambda a, b: a & b, x, p), Gate.of(lambda a, b: ~(a & b), x, m)]
            return bits, self.lanes
        for x, p, m in zip(xs, plus, minus, strict=True):
            n = len(x)
            value = (Cat(x) & (p ^ m).replicate(n)) ^ m.replicate(n)
            words.append(word_of(value, self.x) if self.x.signed else
                         Term(0, Cat(value, ~m), (2 << n) - 1))
            bits.append(Term(0, m, 1))
        return words + bits, self.lanes << self.x.width - self.x.signed

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        terms, offset = self.terms(*operands)
        total = self.tree.count(stages, terms, "dot")
        return (without(total, offset, self.outputs[0]),)

    def lut4(self, family: Family) -> float:
        terms, offset = self.terms(*(Signal(shape) for shape in self.inputs))
        gates = 0
        if not self._counts:
            gates = self.lanes * (self.x.width + (not self.x.signed))
            if family is Family.ECP5: # an adder absorbs those of one operand, and inverters
                gates = -(-self.lanes // 2) * self.x.width
        low = (offset & -offset).bit_length() - 1
        return (gates + self.tree.cost(terms).lut4(family)
                + adder_lut4(self.outputs[0].width - low, family))

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(1, unsigned(1)), cls(1, unsigned(8)), cls(1, signed(8)), cls(2, signed(1)),
                cls(6, unsigned(1)), cls(5, unsigned(2)), cls(3, unsigned(4)), cls(3, signed(4)),
                cls(4, unsigned(3)), cls(4, signed(3)), cls(6, unsigned(1), Tree("halves")),
                cls(3, signed(4), Tree(every=1)), cls(5, unsigned(2), Tree("chain", every=1)),
                cls(12, unsigned(8))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(32, unsigned(1)), cls(32, unsigned(1), Tree("chain")), cls(32, unsigned(2)),
                cls(16, unsigned(4)), cls(16, unsigned(8)), cls(16, signed(8)),
                cls(16, signed(8), Tree(every=1))]
