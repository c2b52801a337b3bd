"""Weights as sums of digits, each of which costs one 4-input LUT per bit of the activation.

A digit is 0, 1, -1, 2 or -2 times a power of two, one of at most four. Then a bit of its product
depends on two bits of code and two neighbouring bits of the activation. Digits -1 to 2 (or -2 to
1) in radix 4 need half the terms that the bits of two's complement need. Binary and ternary weights
are the formats of one digit.

Source: redundant radix-4 digits as in A. D. Booth, "A signed binary multiplication technique"
(1951) and O. L. MacSorley, "High-speed arithmetic in binary computers" (1961), here encoded when
the hardware is made; XNOR products as in M. Courbariaux et al., arXiv:1602.02830.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux

from bittern.hw.adder_tree import Gate
from bittern.hw.formats.format import Format, Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["Binary", "Digits", "Plane", "Ternary"]


@dataclass(frozen=True)
class Plane:
    """One digit of every weight: code ``c`` stands for ``digits[c] << shift``."""

    shift: int
    digits: tuple[int, ...]

    @property
    def width(self) -> int:
        """Bits of a code."""
        return (len(self.digits) - 1).bit_length()

    def field(self, x_width: int) -> int:
        """Bits of the product with an activation of `x_width` bits."""
        return x_width + (max(map(abs, self.digits)) == 2)

    def times(self, code: Value, x: Value) -> Value:
        """Return the product: for a negative digit, the complement of its absolute value's."""
        field = self.field(len(x))
        zero = Const(0, field)

        def product(digit: int) -> Value:
            wide = Cat(Const(0, abs(digit) // 2), x, zero)[:field] if digit else zero
            return ~wide if digit < 0 else wide

        if len(self.digits) == 2:
            return Mux(code, product(self.digits[1]), product(self.digits[0]))
        low, high = (Mux(code[0], product(self.digits[c + 1]), product(self.digits[c]))
                     for c in (0, 2))
        return Mux(code[1], high, low)


UP, DOWN, SIGN = (0, 1, 2, -1), (0, 1, -2, -1), (0, 1, 0, -1)
BIT, MINUS = (0, 1), (0, -1)


@dataclass(frozen=True)
class Digits(Format):
    """Any integers, in radix 4: sums of one digit of each of `planes`."""

    planes: tuple[Plane, ...]

    name = "digits"

    @property
    def width(self) -> int:  # type: ignore[override]
        return sum(p.width for p in self.planes)

    @property
    def masks(self) -> bool:  # type: ignore[override]
        return any(0 not in p.digits for p in self.planes)

    @classmethod
    def find(cls, weights: Ints) -> Self | None:
        """Return the format with the fewest planes, then bits, whose range holds `weights`."""
        shift = _common_shift(weights)
        lo, hi = int(weights.min()) >> shift, int(weights.max()) >> shift
        for count in range(1, 10):
            found = []
            for radix in (UP, DOWN):
                for top in (BIT, MINUS, UP, DOWN):
                    digits = [radix] * (count - 1) + [top]
                    if (sum(min(d) << 2 * k for k, d in enumerate(digits)) <= lo
                            and hi <= sum(max(d) << 2 * k for k, d in enumerate(digits))):
                        found.append(cls(tuple(Plane(shift + 2 * k, d)
                                               for k, d in enumerate(digits))))
            if found:
                return min(found, key=lambda f: f.width)
        return None

    @cached_property
    def _values(self) -> Ints:
        """The integer of every code."""
        return self.decode(np.arange(1 << self.width))

    def _digits(self, codes: Ints) -> list[tuple[Plane, Ints]]:
        parts, at = [], 0
        for plane in self.planes:
            part = (codes >> at) & ((1 << plane.width) - 1)
            parts.append((plane, np.array(plane.digits, dtype=np.int64)[part]))
            at += plane.width
        return parts

    def decode(self, codes: Ints) -> Ints:
        total = np.zeros(np.shape(codes), dtype=np.int64)
        for plane, digits in self._digits(codes):
            total += digits << plane.shift
        return total

    def encode(self, weights: Ints) -> Ints:
        values, codes = np.unique(self._values, return_index=True)
        at = np.searchsorted(values, weights).clip(max=len(values) - 1)
        wrong = values[at] != weights
        if wrong.any():
            raise ValueError(f"format {self.name!r} cannot hold the weight {weights[wrong][0]}")
        found: Ints = codes[at]
        return found

    def correction(self, codes: Ints, x_width: int) -> Ints:
        total = np.zeros(np.shape(codes), dtype=np.int64)
        for plane, digits in self._digits(codes):
            total -= (digits < 0) * (((1 << plane.field(x_width)) - 1) << plane.shift)
        return total

    def times(self, operand: Value, x: Value) -> list[Term]:
        terms, at = [], 0
        for plane in self.planes:
            value = plane.times(operand[at:at + plane.width], x)
            # Complements and doubled values make every field reach its end, but for 0 and 1.
            high = (1 << len(x)) - 1 if plane.digits == BIT else (1 << len(value)) - 1
            terms.append(Term(plane.shift, value, high))
            at += plane.width
        return terms

    def products(self, stages: Stages, codes: Sequence[Value], x: Value, name: str
                 ) -> list[list[Term]]:
        if any(p.width > 1 for p in self.planes):
            return super().products(stages, codes, x, name)
        # functions of two operands, without registers: the adders of some devices take them in
        if len(x) > 1 or any(p.shift for p in self.planes):
            return [self.times(code, x) for code in codes]
        return [[Gate.of(p.times, code[k], x) for k, p in enumerate(self.planes)]
                for code in codes]

    def lut4(self, x_width: int) -> int:
        if x_width == 1 and all(p.width == 1 and not p.shift for p in self.planes):
            return 0 # the tree has them
        return super().lut4(x_width)

    @property
    def pad(self) -> int:
        return 0


@dataclass(frozen=True)
class Binary(Digits):
    """Weights that are plus or minus the same power of two: code 1 is minus."""

    name = "binary"

    @classmethod
    def find(cls, weights: Ints) -> Self | None:
        magnitude = int(np.abs(weights).max())
        if magnitude & (magnitude - 1) or not (np.abs(weights) == magnitude).all() or not magnitude:
            return None
        return cls((Plane(magnitude.bit_length() - 1, (1, -1)),))


@dataclass(frozen=True)
class Ternary(Digits):
    """Weights that are zero, or plus or minus the same power of two."""

    name = "ternary"

    @classmethod
    def find(cls, weights: Ints) -> Self | None:
        shift = _common_shift(weights)
        if not np.isin(weights >> shift, (-1, 0, 1)).all() or weights.min() >= 0:
            return None # without a -1, digits of 0 and 1 are narrower
        return cls((Plane(shift, SIGN),))


def _common_shift(weights: Ints) -> int:
    """Return the zeros that all of `weights` end in, if not all are zero."""
    bits = int(np.bitwise_or.reduce(weights, axis=None))
    return (bits & -bits).bit_length() - 1 if bits else 0
