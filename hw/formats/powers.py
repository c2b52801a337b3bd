"""Weights as sums of few signed powers of two, by which a shift multiplies.

Source: one power, with zero, as in INQ (A. Zhou et al., arXiv:1702.03044) and in D. Miyashita et
al., arXiv:1603.01025; sums of two and three as in ShiftCNN (D. Gudovskiy and L. Rigazio,
arXiv:1706.02393). Here every summand has exponents of its own: those that its weights need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement, pairwise, product
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux, Value

from bittern.hw.formats.digits import Digits
from bittern.hw.formats.format import Format, Term

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bittern.hw.ints import Ints

__all__ = ["Power", "Powers"]


@dataclass(frozen=True)
class Power:
    """Zero, or plus or minus a power of two, for each of ``2**width`` codes.

    A code is an index, and above it the sign where there is one: 1 is minus. Bit `j` of the index
    shifts by ``steps[j]``, so that multiplexers, a level for each step other than 0, multiply: an
    index `i` stands for ``1 << low + sum(i[j] * steps[j])``, or for zero where all bits of the mask
    `zero`, if that is not 0, are set in it. Zero and sign cost next to nothing where there are two
    levels: multiplexers have three inputs, so that the first can mask and the last invert.

    Parameters
    ----------
    low : int
        The lowest exponent.
    steps : tuple[int, ...]
    zero : int
        Mask of the bits of the index.
    minus : bool
        Whether there is a sign.
    table : tuple[int, ...]
        The index of each stored one where these are fewer and so narrower, a power of two of them.
    """

    low: int
    steps: tuple[int, ...]
    zero: int = 0
    minus: bool = True
    table: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.low < 0 or any(s < 0 for s in self.steps):
            raise ValueError(f"low and steps must be at least 0, not {self.low} and {self.steps}")
        if not 0 <= self.zero < 1 << len(self.steps):
            raise ValueError(f"zero must be in 0..{(1 << len(self.steps)) - 1}, not {self.zero}")
        count = len(self.table)
        if count & (count - 1) or not all(0 <= i < 1 << len(self.steps) for i in self.table):
            raise ValueError(f"table must have 2**n entries in 0..{(1 << len(self.steps)) - 1}, "
                             f"not {self.table}")

    @property
    def index_width(self) -> int:
        """Bits of a stored index."""
        return len(self.table).bit_length() - 1 if self.table else len(self.steps)

    @property
    def width(self) -> int:
        """Bits of a stored code."""
        return self.index_width + self.minus

    @property
    def operand_width(self) -> int:
        """Bits of an index and a sign."""
        return len(self.steps) + self.minus

    @cached_property
    def shifts(self) -> list[int | None]:
        """By how much each stored index shifts; zero is None."""
        shifts = _shifts(self.steps, self.zero)
        return [shifts[i] for i in self.table] if self.table else shifts

    @property
    def most(self) -> int:
        """By how much the highest exponent is higher than `low`."""
        return max((s for s in self.shifts if s is not None), default=0)

    @property
    def has_zero(self) -> bool:
        """Whether there is a code for zero."""
        return None in self.shifts

    @property
    def pad(self) -> int:
        """A code of zero, or where there is none any code without a sign."""
        return self.shifts.index(None) if self.has_zero else 0

    @property
    def values(self) -> Ints:
        """The integer of every code."""
        magnitudes = np.array([0 if s is None else 1 << self.low + s for s in self.shifts])
        return np.concatenate([magnitudes, -magnitudes]) if self.minus else magnitudes

    def field(self, x_width: int) -> int:
        """Bits of the product with an activation of `x_width` bits."""
        return x_width + self.most

    def expand(self, code: Value) -> Value:
        """Return index and sign of a stored code."""
        if not self.table:
            return code
        index = code[:self.index_width]
        bits = [Const(sum((i >> j & 1) << k for k, i in enumerate(self.table)), len(self.table))
                for j in range(len(self.steps))]
        return Cat(*(bit.bit_select(index, 1) for bit in bits), code[self.index_width:])

    def shift(self, index: Value, x: Value, invert: Value | None = None) -> Value:
        """Return `x` shifted by an index, of its shape but `most` bits wider.

        Where `invert` is 1 all bits are inverted.
        """
        signed, width = x.shape().signed, len(x) + self.most
        steps = [(s, index[j]) for j, s in enumerate(self.steps) if s]
        masks = [index[j] for j in range(len(self.steps)) if self.zero >> j & 1]
        value: Value = Cat(x)
        if masks and not steps:
            value = value & ~Cat(masks).all().replicate(len(x))
        for k, (step, bit) in enumerate(steps):
            grown = min(len(value) + step, width)
            top = value[-1] if signed else Const(0, 1)
            ways = [Cat(value, top.replicate(grown - len(value))),
                    Cat(Const(0, step), value)[:grown]]
            if masks and not k:
                ways = [w & ~Cat(masks).all().replicate(grown) for w in ways]
            if invert is not None and k == len(steps) - 1: # not behind: Yosys then finds less
                ways = [w ^ invert.replicate(grown) for w in ways]
            value = Mux(bit, ways[1], ways[0])
        if invert is not None and not steps:
            value = value ^ invert.replicate(len(x))
        return value.as_signed() if signed else value

    def times(self, operand: Value, x: Value) -> Value:
        """Return the product with unsigned `x`: if it is negative, its absolute value's complement.

        In places of ``1 << low``.
        """
        n = len(self.steps)
        return self.shift(operand[:n], x, operand[n] if self.minus else None)

    def lut4(self, x_width: int) -> int:
        """Estimate the 4-input LUTs of :meth:`expand` and :meth:`times`."""
        steps = [s for s in self.steps if s]
        field = self.field(x_width)
        total = sum(min(x_width + sum(steps[:k + 1]), field) for k in range(len(steps)))
        total += self.zero.bit_count() > 1
        if not steps:
            total += x_width * (bool(self.zero) or self.minus)
        elif len(steps) == 1 and self.zero and self.minus:
            total += x_width # a multiplexer, a mask and a sign are five inputs
        return total + (len(self.steps) if self.table else 0)


@dataclass(frozen=True)
class Powers(Format):
    """Weights that are sums of one signed power of two, or zero, of each of up to three `planes`.

    The code is that of each plane, the first one lowest. A product with an activation of `n` bits
    takes a barrel shift, about ``n + most`` LUTs for each bit of an index, and is one term of
    ``n + most`` bits for each plane.
    """

    planes: tuple[Power, ...]

    name = "powers"

    def __post_init__(self) -> None:
        if not 1 <= len(self.planes) <= 3:
            raise ValueError(f"planes must be 1 to 3, not {len(self.planes)}")

    @property
    def width(self) -> int:  # type: ignore[override]
        return sum(p.width for p in self.planes)

    @property
    def operand_width(self) -> int:
        return sum(p.operand_width for p in self.planes)

    @property
    def masks(self) -> bool:  # type: ignore[override]
        return not all(p.has_zero for p in self.planes)

    @classmethod
    def find(cls, weights: Ints) -> Self | None:
        """Return the narrowest such format, of the fewest planes, that holds `weights`.

        There is none for weights beyond ``2**16``, or that are all zero or plus or minus the same
        power, as binary and ternary ones are. Sums are taken only where they are narrower than
        digits; their planes have all exponents of a range, and three planes equally many.
        """
        values = np.unique(weights)
        magnitudes = np.unique(np.abs(values[values != 0]))
        terms = max((_terms(int(v)) for v in magnitudes), default=0)
        if terms > 3 or len(magnitudes) < 2 or magnitudes[-1] > 1 << 16:
            return None
        if terms == 1:
            exponents = [int(v).bit_length() - 1 for v in magnitudes]
            return cls((_power(exponents, zero=bool(0 in values), minus=bool(values[0] < 0)),))
        digits = Digits.find(values)
        most = digits.width - 1 if digits else 16
        for width in range((len(values) - 1).bit_length(), most + 1):
            for count in range(max(terms, 2), 4):
                if planes := _planes(values, count, width):
                    return cls(planes)
        return None

    @cached_property
    def _values(self) -> Ints:
        """The integer of every code."""
        return self.decode(np.arange(1 << self.width))

    def _parts(self, codes: Ints) -> Iterator[tuple[Power, Ints]]:
        at = 0
        for plane in self.planes:
            yield plane, (codes >> at) & ((1 << plane.width) - 1)
            at += plane.width

    def decode(self, codes: Ints) -> Ints:
        total = np.zeros(np.shape(codes), dtype=np.int64)
        for plane, part in self._parts(codes):
            total += plane.values[part]
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
        for plane, part in self._parts(codes):
            if plane.minus:
                negative = part >> plane.index_width
                total -= negative * (((1 << plane.field(x_width)) - 1) << plane.low)
        return total

    def expand(self, code: Value) -> Value:
        if not any(p.table for p in self.planes):
            return code
        parts, at = [], 0
        for plane in self.planes:
            parts.append(plane.expand(code[at:at + plane.width]))
            at += plane.width
        return Cat(parts)

    def times(self, operand: Value, x: Value) -> list[Term]:
        terms, at = [], 0
        for plane in self.planes:
            value = plane.times(operand[at:at + plane.operand_width], x)
            high = (1 << len(value)) - 1 if plane.minus else ((1 << len(x)) - 1) << plane.most
            terms.append(Term(plane.low, value, high))
            at += plane.operand_width
        return terms

    def lut4(self, x_width: int) -> int:
        return sum(p.lut4(x_width) for p in self.planes)

    @property
    def pad(self) -> int:
        code, at = 0, 0
        for plane in self.planes:
            code |= plane.pad << at
            at += plane.width
        return code


def _terms(value: int) -> int:
    """Return the fewest signed powers of two whose sum is `value`: digits of its NAF.

    The non-adjacent form (G. W. Reitwiesner, 1960) has the bits of ``3 * v`` less those of `v`.
    """
    return ((3 * value) ^ value).bit_count()


def _shifts(steps: Sequence[int], zero: int) -> list[int | None]:
    """Return by how much each index shifts; zero is None."""
    return [None if zero and i & zero == zero else sum(s for j, s in enumerate(steps) if i >> j & 1)
            for i in range(1 << len(steps))]


def _power(exponents: Sequence[int], *, zero: bool, minus: bool) -> Power:
    """Return the smallest power of the narrowest codes that has the ascending `exponents`."""
    low = exponents[0]
    return replace(_lowest(tuple(e - low for e in exponents), zero, minus), low=low)


@lru_cache(maxsize=1024)
def _lowest(shifts: tuple[int, ...], zero: bool, minus: bool) -> Power:
    stored = (len(shifts) + zero - 1).bit_length()
    bits = stored
    while not (found := list(_powers(shifts, bits, zero=zero, minus=minus))):
        bits += 1
    power = min(found, key=lambda p: (p.lut4(8), p.zero))
    if bits == stored:
        return power
    at = _shifts(power.steps, power.zero)
    chosen = [at.index(s) for s in (*shifts, *[None] * zero)]
    chosen += chosen[:1] * ((1 << stored) - len(chosen))
    return replace(power, table=tuple(chosen))


def _powers(shifts: tuple[int, ...], bits: int, *, zero: bool, minus: bool) -> Iterator[Power]:
    """Yield the powers of an index of `bits` bits that reach all of `shifts` and none beyond."""
    most = shifts[-1]
    for steps in combinations_with_replacement(range(most + 1), bits):
        if not set(shifts).issubset(_shifts(steps, 0)):
            continue
        ordered = (*(s for s in steps if s), *(s for s in steps if not s))
        for mask in range(zero, 1 << bits):
            reached = {s for s in _shifts(ordered, mask) if s is not None}
            if max(reached, default=0) == most and reached.issuperset(shifts):
                yield Power(0, ordered, mask, minus)


Kind = tuple[int, bool, bool]
"""Bits of an index, whether there is zero, and whether there is a sign."""


def _planes(values: Ints, count: int, width: int) -> tuple[Power, ...] | None:
    """Return the cheapest of `count` planes of `width` bits together whose sums hold `values`."""
    low = min((int(v) & -int(v)).bit_length() - 1 for v in values if v)
    top = int(np.abs(values).max()).bit_length()
    bound = count << top + 2
    wanted = sum(1 << int(v) + bound for v in values)
    best, least = None, 0
    for kinds in _kinds(count, width):
        sizes = [(1 << bits) - zero for bits, zero, _ in kinds]
        for lows in product(*(range(low, max(top + 2 - size, low) + 1) for size in sizes)):
            if any(a == b and m > n for (a, b), (m, n) in zip(pairwise(kinds), pairwise(lows),
                                                              strict=True)):
                continue # the same planes in another order
            ranges = [(n, n + size - 1) for n, size in zip(lows, sizes, strict=True)]
            if _holds(kinds, ranges, values, wanted, bound):
                planes = _narrowed(kinds, ranges, values, wanted, bound)
                cost = sum(p.lut4(8) + p.field(8) for p in planes)
                if best is None or cost < least:
                    best, least = planes, cost
    return best


def _kinds(count: int, width: int) -> Iterator[tuple[Kind, ...]]:
    """Yield what planes of `width` bits together can be: of three, only equal ones."""
    each = [(bits, zero, minus) for bits in range(5) for zero in (False, True)
            for minus in (False, True) if bits or not zero]
    if count == 3:
        yield from ((kind,) * 3 for kind in each if 3 * (kind[0] + kind[2]) == width)
    else:
        yield from (pair for pair in combinations_with_replacement(each, count)
                    if sum(bits + minus for bits, _, minus in pair) == width)


def _holds(kinds: Sequence[Kind], ranges: Sequence[tuple[int, int]], values: Ints, wanted: int,
           bound: int) -> bool:
    """Return whether sums of a power of each range of exponents make up all of `values`."""
    tops = [1 << high for _, high in ranges]
    least = [-top if minus else 0 if zero else 1 << low for (_, zero, minus), (low, _), top
             in zip(kinds, ranges, tops, strict=True)]
    if sum(tops) < values[-1] or sum(least) > values[0]:
        return False
    sums = 1 << bound # bit n stands for n - bound
    for (_, zero, minus), (low, high) in zip(kinds, ranges, strict=True):
        reached = sums if zero else 0
        for e in range(low, high + 1):
            reached |= sums << (1 << e)
            if minus:
                reached |= sums >> (1 << e)
        sums = reached
    return wanted & ~sums == 0


def _narrowed(kinds: Sequence[Kind], ranges: list[tuple[int, int]], values: Ints, wanted: int,
              bound: int) -> tuple[Power, ...]:
    """Return planes without exponents at the ends of their ranges that `values` do not need."""
    changed = True
    while changed:
        changed = False
        for k, (low, high) in enumerate(ranges):
            for shorter in ((low, high - 1), (low + 1, high)):
                tried = [*ranges[:k], shorter, *ranges[k + 1:]]
                if low < high and _holds(kinds, tried, values, wanted, bound):
                    ranges, changed = tried, True
                    break
    return tuple(_power(range(low, high + 1), zero=zero, minus=minus)
                 for (_, zero, minus), (low, high) in zip(kinds, ranges, strict=True))
