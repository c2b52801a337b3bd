"""Product of a variable and a signed power of two, or zero: a barrel shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from amaranth import Cat, Const, Mux, Shape, Value, signed, unsigned

from bittern.hw.family import Family
from bittern.hw.fan_in import fan_in_bound
from bittern.hw.formats.powers import Power
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import check_factors
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["ShiftProduct", "negated", "negation_lut4", "shifted"]


def negated(stages: Stages, x: Value, minus: Value, name: str, *, shared: bool) -> Value:
    """Return ``-x`` where `minus` is 1, else `x`; `shared` if several barrels read it."""
    n = len(x) + 1
    ones = minus.replicate(n)
    if not shared: # the multiplexers behind can invert the sum
        return (stages.fence((x + ones)[:n], name) ^ ones).as_signed()
    wide = Cat(x, x[-1] if x.shape().signed else Const(0, 1))
    return stages.fence(((wide ^ ones) + minus)[:n], name).as_signed()


def negation_lut4(x: Shape, family: Family, *, shared: bool) -> int:
    """Return the LUTs of :func:`negated`; in front of an adder of the ECP5 XORs are free."""
    inverters = x.width if shared and family is not Family.ECP5 else 0
    return adder_lut4(x.width + 1, family) + inverters


def shifted(x: Value, weight: Power, code: Value) -> Value:
    """Return the absolute value of a power of two times `x`, as one would write it."""
    shifts = weight.shifts
    index = code[:weight.index_width]
    places: Value = Const(0, 5)
    for i, s in enumerate(shifts):
        places = Mux(index == i, s or 0, places)
    product = (x << places[:5]) << weight.low
    zero: Value = Const(0, 1)
    for i, s in enumerate(shifts):
        if s is None:
            zero |= index == i
    return Mux(zero, 0, product)


@dataclass(frozen=True)
class ShiftProduct(Operator):
    """``x * weight.values[code]``, combinational.

    With `split` it is left as two results whose sum it is: the complement of a negative product,
    and the sign, for the carry-in of the adder behind; it takes no adder then. 8 bits by 8 powers
    and a sign take 33 LUTs.

    Parameters
    ----------
    x : Shape
        Of 1 to 16 bits.
    weight : Power
        Of at least one bit. Exponents are at most 16.
    split : bool
    """

    x: Shape
    weight: Power
    split: bool = False

    def __post_init__(self) -> None:
        check_factors(x=self.x)
        if self.weight.width < 1 or self.weight.low + self.weight.most > 16:
            raise ValueError("weight must have at least one bit and exponents of at most 16, "
                             f"not {self.weight}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return self.x, unsigned(self.weight.width)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        width = self.weight.low + self.weight.field(self.x.width)
        if not self.weight.minus:
            product = Shape(width, self.x.signed)
        else:
            product = signed(width + (not self.split or not self.x.signed))
        return (product, unsigned(1)) if self.split else (product,)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        x, code = operands
        product = x * self.weight.values[code]
        if not self.split:
            return (product,)
        minus = code >> self.weight.index_width
        return product - minus, minus

    def naive(self, *operands: Value) -> Sequence[Value]:
        x, code = operands
        minus = code[self.weight.index_width] if self.weight.minus else Const(0, 1)
        product = shifted(x, self.weight, code)
        if self.split:
            return Mux(minus, ~product, product), minus
        return (Mux(minus, -product, product),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        x, code = operands
        operand = self.weight.expand(code)
        n = len(self.weight.steps)
        minus = operand[n] if self.weight.minus else Const(0, 1)
        below = Const(0, 1).replicate(self.weight.low)
        if self.weight.minus and not self.split:
            x = negated(stages, x, minus, "operand", shared=False)
        value = self.weight.shift(operand[:n], x, minus if self.split else None)
        if not self.split:
            product = Cat(below, value)
            return (product.as_signed() if value.shape().signed else product,)
        top = Const(0, 0) if self.x.signed else minus
        product = Cat(minus.replicate(self.weight.low), value, top)
        return product.as_signed(), minus

    def lut4(self, family: Family) -> float:
        if self.split or not self.weight.minus:
            return self.weight.lut4(self.x.width)
        barrel = Power(0, self.weight.steps, self.weight.zero, minus=False,
                       table=self.weight.table)
        return negation_lut4(self.x, family, shared=False) + barrel.lut4(self.x.width + 1)

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        weights = [Power(0, ()), Power(2, (1,), 0, minus=False), Power(1, (3, 0), 2),
                   Power(0, (1, 2), 3), Power(0, (1, 2, 4)),
                   Power(0, (1, 1, 3), 0, table=(0, 1, 3, 7))]
        return [cls(x, w, split) for w in weights for x in (unsigned(1), unsigned(5), signed(4))
                for split in (False, True)] + [cls(signed(1), weights[3], split=True)]

    @classmethod
    def points(cls) -> list[Self]:
        eight = Power(0, (1, 2, 4))
        return [cls(unsigned(8), Power(0, (1, 2)), split=True),
                cls(unsigned(8), eight, split=True), cls(signed(8), eight, split=True),
                cls(unsigned(8), Power(0, (1, 2, 4, 8)), split=True),
                cls(unsigned(4), Power(0, (1, 2)), split=True),
                cls(unsigned(16), eight, split=True), cls(signed(8), eight)]
