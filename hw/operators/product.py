"""Product of two variables in rows of adders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from amaranth import Cat, Const, Shape, Value, signed, unsigned

from bittern.hw.family import Family
from bittern.hw.operators.operator import Operator
from bittern.hw.pipeline import draft
from bittern.hw.rows import Row, add_rows, adder_lut4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["Product", "bounds_of", "check_factors", "fan_in_bound", "product_shape", "rows_of"]


def bounds_of(shape: Shape) -> tuple[int, int]:
    """Return the least and the greatest integer of `shape`."""
    if shape.signed:
        return -(1 << shape.width - 1), (1 << shape.width - 1) - 1
    return 0, (1 << shape.width) - 1


def product_shape(a: Shape, b: Shape) -> Shape:
    """Return the shape of ``a * b``: all bits of both, signed if one is."""
    width = a.width + b.width
    return signed(width) if a.signed or b.signed else unsigned(width)


def check_factors(**factors: Shape) -> None:
    """Raise :exc:`ValueError` unless each factor has 1 to 16 bits."""
    for name, shape in factors.items():
        if not 1 <= shape.width <= 16:
            raise ValueError(f"{name} must have 1 to 16 bits, not {shape.width}")


def fan_in_bound(a: Shape, b: Shape) -> tuple[float, str]:
    """Return how many LUT4s any product takes at the least."""
    return (max(a.width + b.width - 1, 0) / 3,
            "the upper bits depend on all inputs, and a LUT4 joins at most four signals into one")


def rows_of(a: Value, b: Value) -> list[Row]:
    """Return rows of single bit products, whose sum modulo ``2**(len(a) + len(b))`` is ``a * b``.

    There is a row for each bit of the narrower factor. Each of their bits is a function of one bit
    of each factor: those of negative weight are inverted, which adds one constant.

    Source: C. R. Baugh and B. A. Wooley, "A Two's Complement Parallel Array Multiplication
    Algorithm", 1973; its constants are put where the rows leave room, and so cost no row.
    """
    if len(a) < len(b):
        a, b = b, a
    n, m = len(a), len(b)
    a_signed, b_signed = a.shape().signed, b.shape().signed
    if m == 1:
        single = Cat(bit & b[0] for bit in a)
        if b_signed:
            return [_row(0, (-(single.as_signed() if a_signed else single))[:n + 1])]
        return [_row(0, Cat(single, single[-1] if a_signed else Const(0, 1)))]
    rows = []
    for j in range(m):
        bits: list[Value] = [a[i] & b[j] for i in range(n)]
        if a_signed:
            bits[-1] = ~bits[-1]
        last = j == m - 1
        if last and b_signed:
            bits = [~bit for bit in bits]
        if last and (a_signed or b_signed):
            bits.append(Const(1, 1))
        if j == 0 and a_signed:
            if b_signed and n == m: # twice 2**(n - 1)
                bits.append(Const(1, 1))
            else: # ~x + 1 == 2 * ~x + x
                bits[-1:] = [~bits[-1], bits[-1]]
        carry = int(last and b_signed and not (a_signed and n == m))
        rows.append(_row(j, Cat(bits), carry))
    return rows


def _row(shift: int, value: Value, carry: int = 0) -> Row:
    return Row(shift, value, (1 << len(value)) - 1, carry)


@dataclass(frozen=True)
class Product(Operator):
    """``a * b`` in rows: a tree of adders, whose first level adds rows of single bit products.

    Combinational, or with a register after each level of adders; a product a cycle. An adder of
    the ECP5 takes the ANDs in front of it, so ``n * m`` bits cost about ``(m - 1) * (n + 1)`` sites
    there; elsewhere a LUT for each of the bit products comes on top.

    Parameters
    ----------
    a, b : Shape
        Of 1 to 16 bits each.
    registers : bool
        Whether there is a register after each of the ``ceil(log2(min(a.width, b.width)))`` levels.
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

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        total, _ = self._add(stages, *operands)
        return (total.as_signed() if self.outputs[0].signed else total,)

    def _add(self, stages: Stages, a: Value, b: Value) -> tuple[Value, list[int]]:
        return add_rows(stages, rows_of(a, b), len(a) + len(b), "row", registers=self.registers)

    def lut4(self, family: Family) -> float:
        n, m = self.a.width, self.b.width
        if min(n, m) == 1:
            negate = self.b.signed if m <= n else self.a.signed
            if family is Family.ECP5:
                return adder_lut4(max(n, m) + 1, family) if negate else max(n, m)
            return max(n, m) * (1 + negate)
        adders: list[int] = []
        draft(lambda stages: adders.extend(
            self._add(stages, Value.cast(Const(0, self.a)), Value.cast(Const(0, self.b)))[1]))
        total = sum(adder_lut4(bits, family) for bits in adders)
        if family is Family.ECP5:
            # of short adders Yosys makes LUTs
            return total + 1 if max(n, m) > 3 else 1.6 * total
        return total + n * m

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
                cls(signed(8), unsigned(4)), cls(signed(16), signed(16)),
                cls(signed(16), signed(16), registers=True)]
