"""Product of a variable and a constant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from amaranth import Cat, Const, Shape, Value, signed, unsigned

from bittern.hw.family import Family
from bittern.hw.ints import shape_of
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import bounds_of, check_factors
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["ConstantProduct"]

LIMIT = 1 << 16


@dataclass(frozen=True)
class ConstantProduct(Operator):
    """``x * c`` by shifts and few adders: the signed digits of `c`, shared where it factors.

    Combinational, or with registers after every n-th adder. Powers of two are wires. The result has
    exactly the bits that its range needs.

    Source: R. Bernstein, "Multiplication by Integer Constants", 1986; the cost of a step is the
    bits that its adder adds.

    Parameters
    ----------
    x : Shape
        Of 1 to 16 bits.
    c : int
        Of up to 16 bits and a sign.
    registers : int
        The most adders in a row between registers; 0: there are no registers.
    """

    x: Shape
    c: int
    registers: int = 0

    def __post_init__(self) -> None:
        check_factors(x=self.x)
        if not -LIMIT < self.c < LIMIT:
            raise ValueError(f"c must be in -{LIMIT - 1}..{LIMIT - 1}, not {self.c}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.x,)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (_times(self.x, self.c),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        return (operands[0] * self.c,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        return (operands[0] * self.c,)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        x, = operands
        value, chain = x if self.c else Const(0, 1), _chain(self.x, self.c)
        adders = 0
        for c, step in chain:
            value = _build(stages, x, value, c, step)
            adders += _bits(self.x, c, step) > 0
            if adders and adders == self.registers:
                adders = 0
                # after the last adder nothing is done with `x`
                more = [x] if c != chain[-1][0] else []
                value, *more = stages.stage([value, *more], "product")
                x = more[0] if more else x
        product = Cat(Const(0, _zeros(self.c)), value)
        return (product.as_signed() if value.shape().signed else product,)

    def lut4(self, family: Family) -> float:
        total = 0
        for c, step in _chain(self.x, self.c):
            total += adder_lut4(_bits(self.x, c, step), family)
            if family is Family.ICE40 and min(step.low_sign, step.high_sign) < 0:
                # its carries cannot invert what is subtracted
                total += _times(self.x, step.low if step.low_sign < 0 else step.high).width
        return total

    def bound(self, family: Family) -> tuple[float, str]:
        c = self.c >> _zeros(self.c)
        return (0 if c in {0, 1} else max(self.x.width - 1, 0) / 3,
                "the highest bit depends on all inputs, and a LUT4 joins at most four signals")

    @classmethod
    def examples(cls) -> list[Self]:
        small = [cls(shape, c) for shape in (unsigned(5), signed(4))
                 for c in (0, 1, 2, -1, -3, 45, 119, -1000)]
        return [*small, cls(unsigned(1), 7), cls(signed(1), 5), cls(signed(1), -1),
                cls(unsigned(4), 46341), cls(unsigned(8), 173), cls(signed(8), -107),
                *(cls(signed(5), c, registers=1) for c in (4, -1, 17, 119, -1000)),
                *(cls(unsigned(4), 46341, registers=n) for n in (1, 2))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(8), c) for c in (3, 45, 85, -107, 173, 641)] + [
            cls(signed(16), 46341), cls(unsigned(16), 46341)]


@dataclass(frozen=True, order=True)
class _Step:
    """``c == low_sign * low + high_sign * (high << shift)``, where those are 1 or `u`."""

    u: int
    low: int
    low_sign: int
    high: int
    high_sign: int
    shift: int


NEGATE = _Step(1, 1, 1, 1, -1, 1)


def _times(x: Shape, c: int) -> Shape:
    return shape_of(*sorted(c * end for end in bounds_of(x)))


def _zeros(c: int) -> int:
    return max((c & -c).bit_length() - 1, 0)


def _digits(c: int) -> int:
    """Return how many of the canonical signed digits of `c` are not zero."""
    return (abs(c) ^ 3 * abs(c)).bit_count()


def _steps(c: int) -> Iterator[_Step]:
    """Yield the last adders that may make the odd `c` of something with fewer digits."""
    for sign in (1, -1):
        rest = c - sign
        k = _zeros(rest)
        yield _Step(rest >> k, 1, sign, rest >> k, 1, k)
        if sign > 0:
            yield _Step(-rest >> k, 1, 1, -rest >> k, -1, k)
        for k in range(1, c.bit_length() + 1):
            u = c - (sign << k)
            yield _Step(u, u, 1, 1, sign, k)
            if sign > 0:
                yield _Step(-u, -u, -1, 1, 1, k)
            for low in (1, -1):
                if low + sign > -2 and c % (factor := low + (sign << k)) == 0:
                    u = c // factor
                    yield _Step(u, u, low, u, sign, k)


def _bits(x: Shape, c: int, step: _Step) -> int:
    """Return the bits of the adder of `step`."""
    width, low = _times(x, c).width, _times(x, step.low)
    if step.low_sign > 0 and step.high_sign > 0 and not low.signed and low.width <= step.shift:
        return 0 # words that do not overlap
    # below what is added, or subtracted, bits pass
    return width - step.shift if step.low_sign > 0 and step.shift < width else width


@lru_cache(maxsize=1 << 16)
def _best(x: Shape, c: int) -> tuple[int, _Step]:
    """Return the least bits of adders that make the odd `c`, and the last step to it."""
    if c == -1:
        return _times(x, c).width, NEGATE
    return min(((_best(x, step.u)[0] if step.u != 1 else 0) + _bits(x, c, step), step)
               for step in _steps(c) if _digits(step.u) < _digits(c))


def _chain(x: Shape, c: int) -> list[tuple[int, _Step]]:
    """Return the odd factors on the way to `c`, but for 1, each with the step that makes it."""
    c >>= _zeros(c)
    chain = []
    while c not in {0, 1}:
        _, step = _best(x, c)
        chain.append((c, step))
        c = step.u
    return chain[::-1]


def _build(stages: Stages, x: Value, u: Value, c: int, step: _Step) -> Value:
    """Return ``x * c`` for an odd `c`, given ``u == x * step.u``."""
    shape = _times(x.shape(), c)
    name = f"times_{c}".replace("-", "minus_")
    if c == -1:
        product = stages.fence((-x)[:shape.width], name)
        return product.as_signed() if shape.signed else product
    low, high = (u if factor == step.u else x for factor in (step.low, step.high))
    bits = _bits(x.shape(), c, step)
    if not bits:
        product = Cat(low, Const(0, step.shift - len(low)), high)
    else:
        passes = shape.width - bits
        above, high = low >> passes, high << step.shift - passes
        total = (high - above if step.low_sign < 0 else
                 above - high if step.high_sign < 0 else above + high)
        wide = Cat(low, (low[-1] if low.shape().signed else Const(0, 1)).replicate(passes))
        product = Cat(wide[:passes], stages.fence(total[:bits], name))
    return product.as_signed() if shape.signed else product
