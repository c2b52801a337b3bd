"""Product of a variable and a sum of signed powers of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from amaranth import Cat, Const, Mux, Shape, Value, signed, unsigned

from bittern.hw.fan_in import fan_in_bound
from bittern.hw.formats.powers import Power, Powers
from bittern.hw.ints import shape_of
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import check_factors
from bittern.hw.operators.shift_product import negated, negation_lut4, shifted
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["PowerSum"]


@dataclass(frozen=True)
class PowerSum(Operator):
    """``x * weights.decode(code)``: a barrel shift for each power, and adders; combinational.

    `x` is negated by the first sign. What is left of the other signs is whether to add or to
    subtract, which takes no adder of its own.

    Source: ShiftCNN (D. Gudovskiy and L. Rigazio, arXiv:1706.02393).

    Parameters
    ----------
    x : Shape
        Of 1 to 16 bits.
    weights : Powers
        Of at least one bit. Exponents are at most 16.
    """

    x: Shape
    weights: Powers

    def __post_init__(self) -> None:
        check_factors(x=self.x)
        if self.weights.width < 1 or any(p.low + p.most > 16 for p in self.weights.planes):
            raise ValueError("weights must have at least one bit and exponents of at most 16, "
                             f"not {self.weights}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return self.x, unsigned(self.weights.width)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (self._of(self.weights.planes),)

    def _of(self, planes: Sequence[Power]) -> Shape:
        """Return the shape of the product with the sum of `planes`."""
        most = sum(1 << p.low + p.most for p in planes)
        least = -most if any(p.minus for p in planes) else 0
        ends = (-(1 << self.x.width - 1), 0) if self.x.signed else (0, (1 << self.x.width) - 1)
        return shape_of(min(a * b for a in ends for b in (least, most)),
                        max(a * b for a in ends for b in (least, most)))

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        x, code = operands
        return (x * self.weights.decode(code),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        x, code = operands
        total: Value = Const(0, 1)
        for plane in self.weights.planes:
            product = shifted(x, plane, code)
            minus = code[plane.index_width] if plane.minus else Const(0, 1)
            total = total + Mux(minus, -product, product)
            code = code[plane.width:]
        return (total,)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        x, code = operands
        operand = self.weights.expand(code)
        parts: list[tuple[Power, Value, Value | None]] = []
        for plane in self.weights.planes:
            n = len(plane.steps)
            parts.append((plane, operand[:n], operand[n] if plane.minus else None))
            operand = operand[plane.operand_width:]
        (first, index, sign), *others = sorted(parts, key=lambda part: _order(part[0]))
        if sign is not None:
            x = negated(stages, x, sign, "operand", shared=len(parts) > 1)
        total: Value = Cat(Const(0, 1).replicate(first.low), first.shift(index, x))
        if x.shape().signed:
            total = total.as_signed()
        planes = [first]
        for plane, at, minus in others:
            planes.append(plane)
            invert = sign if minus is None or sign is None else minus ^ sign
            total = _add(stages, total, plane.shift(at, x, invert), low=plane.low, carry=invert,
                         shape=self._of(planes))
        return (total,)

    def lut4(self, family: Family) -> float:
        first, *others = sorted(self.weights.planes, key=_order)
        width = self.x.width + first.minus
        barrels = sum(replace(p, minus=first.minus and p is not first).lut4(width)
                      for p in self.weights.planes)
        adders = sum(adder_lut4(self._of([first, *others[:k + 1]]).width - p.low + first.minus,
                                family) for k, p in enumerate(others))
        negation = negation_lut4(self.x, family, shared=bool(others)) if first.minus else 0
        return barrels + adders + negation

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        zeros, twos = Power(0, (1, 2), 3), Power(2, (1, 2), 3)
        weights = [Powers((Power(0, (1,)),)), Powers((Power(0, ()), Power(1, ()))),
                   Powers((zeros, twos)), Powers((zeros, zeros)),
                   Powers((Power(1, (1, 2), 0, minus=False), Power(3, (2,)))),
                   Powers((Power(0, (1, 2), 0, minus=False), Power(3, (1, 0), 2, minus=False))),
                   Powers((Power(0, ()), Power(1, ()), Power(2, ()))),
                   Powers((Power(0, (1,)), Power(1, (1,)), Power(4, (1,), 1))),
                   Powers((Power(0, (1, 1, 3), 0, table=(0, 1, 3, 7)), Power(2, (1,))))]
        return [cls(x, w) for w in weights for x in (unsigned(1), unsigned(5), signed(4))]

    @classmethod
    def points(cls) -> list[Self]:
        def shift_cnn(count: int, index: int) -> Powers:
            steps = tuple(1 << j for j in range(index))
            return Powers(tuple(Power(k, steps, (1 << index) - 1) for k in range(count)))
        return [cls(unsigned(8), shift_cnn(1, 3)), cls(unsigned(8), shift_cnn(2, 2)),
                cls(unsigned(8), shift_cnn(2, 3)), cls(signed(8), shift_cnn(2, 3)),
                cls(unsigned(8), shift_cnn(3, 2)), cls(unsigned(4), shift_cnn(2, 3))]


def _order(plane: Power) -> tuple[bool, int]:
    """Return what sorts planes: first one with a sign, if any has."""
    return not plane.minus, plane.low


def _add(stages: Stages, total: Value, word: Value, *, low: int, carry: Value | None,
         shape: Shape) -> Value:
    """Return ``total + (word + carry << low)`` in `shape`."""
    sign = total[-1] if total.shape().signed else Const(0, 1)
    total = Cat(total, sign.replicate(max(low + 1 - len(total), 0)))
    # a place below, where both operands are the carry, makes the carry into the others
    below = Const(0, 0) if carry is None else carry
    words: list[Value] = [Cat(below, total[low:]), Cat(below, word)]
    if word.shape().signed:
        words = [w.as_signed() for w in words]
    added = (words[0] + words[1])[len(below):][:shape.width - low]
    result = Cat(total[:low], stages.fence(added, f"sum_{low}"))
    return result.as_signed() if shape.signed else result
