"""Product of two variables by digits of -2 to 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from amaranth import Cat, Const, Shape, Value, signed, unsigned

from bittern.hw.family import Family
from bittern.hw.ints import width_of
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import bounds_of, check_factors, fan_in_bound, product_shape
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["BoothProduct"]


@dataclass(frozen=True)
class BoothProduct(Operator):
    """``a * b`` in radix 4: each two bits of one factor add 0, 1 or 2 times the other, or subtract.

    Combinational, or with a register after each digit; a product a cycle. A digit takes a LUT and
    an adder for each bit of the other factor. To subtract, what is added to is inverted before and
    after, ``acc - row == ~(~acc + row)``: no digit needs a carry of its own, and a LUT of the iCE40
    that adds has an input left to invert its result.

    Source: O. L. MacSorley, "High-Speed Arithmetic in Binary Computers", 1961 (modified Booth).

    Parameters
    ----------
    a, b : Shape
        Of 1 to 16 bits each.
    registers : bool
        Whether there is a register after each digit but the last, and after the product.
    """

    a: Shape
    b: Shape
    registers: bool = False

    def __post_init__(self) -> None:
        check_factors(a=self.a, b=self.b)

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return self.a, self.b

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (product_shape(self.a, self.b),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        a, b = operands
        return (a * b,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        a, b = operands
        return (a * b,)

    @property
    def _swaps(self) -> bool:
        """Whether `a` becomes the digits: what is smaller on the iCE40."""
        return _lut4(self.b, self.a, Family.ICE40) < _lut4(self.a, self.b, Family.ICE40)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        a, b = reversed(operands) if self._swaps else operands
        first, adders = _plan(a.shape(), b.shape())
        sign = a[-1] if a.shape().signed else Const(0, 1)
        # the bits of digits, the one below each of them, and one that extends b
        bits: Value = Cat(Const(0, 1), b[first:], b[-1] if b.shape().signed else Const(0, 1))
        low: Value = a[:first] & b[:first]
        acc: Value = Cat(*(x & b[0] for x in (*a[1:], sign) if first), Const(0, 1 - first))
        acc = (acc ^ bits[2].replicate(len(acc))).as_signed()
        for k, width in enumerate(adders):
            below, bit, minus = bits[0], bits[1], bits[2]
            one = stages.fence(bit ^ below, f"one_{k}")
            two = stages.fence((bit != minus) & (bit == below), f"two_{k}")
            row = Cat(x & one | y & two
                      for x, y in zip(Cat(a, sign), Cat(Const(0, 1), a), strict=True))
            total = (acc + (row.as_signed() if a.shape().signed else row))[:width]
            low = Cat(low, total[:2] ^ minus.replicate(2))
            upper = total[2:]
            if k == len(adders) - 1:
                low = Cat(low, upper ^ minus.replicate(len(upper)))
                if self.registers:
                    (low,) = stages.stage([low], "product")
            else:
                bits = bits[2:]
                flip = stages.fence(minus ^ bits[2], f"flip_{k}")
                upper = upper if width > 2 else total[-1:] # at the least its sign
                acc = (upper ^ flip.replicate(len(upper))).as_signed()
                if self.registers:
                    a, bits, low, acc = stages.stage([a, bits, low, acc], f"digit_{k}")
                    sign = a[-1] if a.shape().signed else Const(0, 1)
        return (low.as_signed() if self.outputs[0].signed else low,)

    def lut4(self, family: Family) -> float:
        return _lut4(*((self.b, self.a) if self._swaps else (self.a, self.b)), family)

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self.a, self.b)

    @classmethod
    def examples(cls) -> list[Self]:
        kinds = ((unsigned, unsigned), (signed, signed), (signed, unsigned), (unsigned, signed))
        combinational = [cls(kind(n), other(m)) for n, m in ((1, 1), (1, 3), (2, 2), (4, 4), (5, 3),
                                                             (3, 7)) for kind, other in kinds]
        return [*combinational, *(cls(kind(8), other(8)) for kind, other in kinds[:2]),
                *(cls(kind(5), other(3), registers=True) for kind, other in kinds),
                cls(signed(8), signed(8), registers=True)]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(unsigned(4), unsigned(4)), cls(unsigned(8), unsigned(8)),
                cls(signed(8), signed(8)), cls(signed(8), signed(8), registers=True),
                cls(signed(8), unsigned(4)), cls(signed(16), signed(16))]


def _plan(a: Shape, b: Shape) -> tuple[int, list[int]]:
    """Return how many bits of `b`, none or one, precede the digits, and the bits of each adder."""
    width = b.width if b.signed else b.width + 1
    first = width % 2 if width > 1 else 0
    adders = []
    for done in range(first, width, 2):
        last = done + 2 >= width
        low = 0 if last and not b.signed else -(1 << min(done + 2, width) - 1)
        high = (1 << b.width) - 1 if last and not b.signed else ~low
        products = [x * y for x in bounds_of(a) for y in (low, high)]
        adders.append(a.width + b.width - done if last
                      else width_of(min(products), max(products)) - done)
    return first, adders


def _lut4(a: Shape, b: Shape, family: Family) -> float:
    """Return the sites of rows, codes of digits and adders; the first digit has short codes."""
    if family is Family.ICE40 and min(a.width, b.width) == 1:
        return max(a.width, b.width) + 1
    first, adders = _plan(a, b)
    total = first * a.width + sum(
        a.width + 4.7 + adder_lut4(bits, family) for bits in adders) - 3
    if family is not Family.ICE40: # nothing inverts behind the adders
        total += 2 * (len(adders) - 1) + b.signed * adders[-1]
    if family is Family.ECP5: # the adders take the first row, and what inverts before them
        total -= first * a.width + 1.7 * len(adders)
    if family is Family.GOWIN:
        total += sum(adders[:-1]) - 2.2 * len(adders) + 3
    return total
