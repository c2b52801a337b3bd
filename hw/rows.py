"""Sum of rows: words at columns, as they make up a product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amaranth import Cat, Const, Value

from bittern.hw.family import Family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.pipeline import Stages

__all__ = ["Row", "add_rows", "adder_lut4"]


@dataclass(frozen=True)
class Row:
    """The summand ``(value + carry) * 2**shift``, `value` unsigned and at most `high`."""

    shift: int
    value: Value
    high: int
    carry: Value | int = 0
    """A bit that the adder takes as its carry-in; not of the lowest row."""


def add_rows(stages: Stages, rows: Sequence[Row], width: int, name: str, *,
             registers: bool = False) -> tuple[Value, list[int]]:
    """Add up `rows`, modulo ``2**width``, in a tree of fenced adders.

    Returns the sum, `width` bits from column 0, and the bits of each adder. Neighbours are added,
    so `rows` should ascend. With `registers` each level of adders ends in registers.
    """
    adders: list[int] = []
    level = 0
    rest = list(rows)
    while len(rest) > 1:
        sums = []
        for k, (low, *high) in enumerate(rest[j:j + 2] for j in range(0, len(rest), 2)):
            if high:
                row = _add(stages, low, high[0], width, f"{name}_{level}_{k}")
                adders.append(_bits(row.high) - high[0].shift + low.shift)
            else:
                row = low
            sums.append(row)
        if registers:
            carries = [row.carry for row in sums if isinstance(row.carry, Value)]
            held = stages.stage([*(row.value for row in sums), *carries], f"{name}_{level}")
            late = iter(held[len(sums):])
            sums = [Row(row.shift, value, row.high,
                        next(late) if isinstance(row.carry, Value) else row.carry)
                    for row, value in zip(sums, held, strict=False)]
        rest = sums
        level += 1
    row = rest[0]
    total = Cat(Const(0, row.shift), row.value)[:width]
    return Cat(total, Const(0, width - len(total))), adders


def _add(stages: Stages, low: Row, high: Row, width: int, name: str) -> Row:
    apart = high.shift - low.shift
    carry = high.carry if isinstance(high.carry, int) else 1
    most = low.high + (high.high + carry << apart)
    most = min(most, (1 << width - low.shift) - 1)
    total = low.value[apart:] + high.value + high.carry
    top = stages.fence(total[:_bits(most) - apart], name)
    below = Cat(low.value[:apart], Const(0, max(apart - len(low.value), 0)))
    return Row(low.shift, Cat(below, top), most, low.carry)


def _bits(high: int) -> int:
    return max(high.bit_length(), 1)


def adder_lut4(bits: int, family: Family) -> int:
    """Return the 4-input LUT sites of an adder: a carry cell of the ECP5 takes two."""
    return bits + bits % 2 if family is Family.ECP5 else bits
