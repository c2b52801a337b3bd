"""Matrix-vector unit that multiplies once for all inputs that share a weight."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Module, Mux, Signal

from bittern.hw.formats.codebook import Codebook
from bittern.hw.formats.digits import UP, Binary, Digits, Plane, Ternary
from bittern.hw.ints import shape_of
from bittern.hw.sparse.code import Coded, Row, SparseCode, Stored, Symbol, check
from bittern.hw.sparse.engine import Lane, Operand, SparseEngine, addresses
from bittern.hw.sparse.matrix_vector import Multiply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Shape, Value

    from bittern.hw.formats.format import Format
    from bittern.hw.ints import Ints
    from bittern.hw.sparse.code import Pattern

__all__ = ["FactorisedMatrixVectorUnit", "Grouped", "MultiplyGroups", "radix_4", "total_shape"]


@dataclass(frozen=True)
class Grouped(SparseCode):
    """Inputs that share a weight stand in a group.

    A word has an index, and a bit at the end of its group. A head for each group has the weight
    code, and a bit at the end of the row. Groups may be made longer by symbols that add nothing,
    which takes a bit of each word; :meth:`lengths` is without these.

    Source: the indirection tables of UCNN (K. Hegde et al., arXiv:1804.06508).

    Parameters
    ----------
    least : int
        Symbols that a group has at least.
    """

    least: int = 1

    name = "grouped"

    def __post_init__(self) -> None:
        super().__post_init__()
        check("least", self.least, 1)

    @property
    def skips(self) -> bool:
        """Whether there are symbols that add nothing."""
        return self.least > 1

    @property
    def width(self) -> int:
        return self.index_width + 1 + self.skips

    @property
    def head_width(self) -> int:
        return self.value + 1

    @classmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self: # noqa: ARG003
        return cls(nonzero.shape[1], value)

    def symbols(self, row: Row, zero: int) -> Row:
        """Return `row` by weights; a weight code that has a bit more adds nothing."""
        symbols: Row = []
        for code in sorted({code for _, code in row}) or [zero]:
            group = sorted(i for i, c in row if c == code)
            symbols += [(0, code | self.skips << self.value)] * max(
                self.least - len(group), not group)
            symbols += [(index, code) for index in group]
        return symbols

    def encode(self, rows: Sequence[Row]) -> Stored:
        stored = Stored([], [])
        code_of = (1 << self.value) - 1
        for row in rows:
            for code, group in groupby(row, key=lambda symbol: symbol[1] & code_of):
                stored.words.extend(index | (c >> self.value) << self.index_width
                                    for index, c in group)
                stored.words[-1] |= 1 << self.width - 1
                stored.heads.append(code)
            stored.heads[-1] |= 1 << self.value
        return stored

    def decode(self, stored: Stored) -> list[Row]:
        rows: list[Row] = [[]]
        heads = iter(stored.heads)
        last, code = divmod(next(heads), 1 << self.value)
        for word in stored.words:
            end, rest = divmod(word, 1 << self.width - 1)
            skip, index = divmod(rest, 1 << self.index_width)
            rows[-1].append((index, code | skip << self.value))
            if end:
                rows += [[] for _ in range(last)]
                last, code = divmod(next(heads, 0), 1 << self.value)
        return rows[:-1]

    def lengths(self, nonzero: Pattern) -> Ints:
        found: Ints = nonzero.sum(axis=1).clip(min=1)
        return found

    def lane(self, m: Module, coded: Coded, name: str) -> Symbol:
        head = Signal(self.head_width, name=f"{name}_head", reset_less=True)
        end = coded.word[-1]
        with m.If(coded.load | coded.step & end):
            m.d.sync += head.eq(coded.head)
        skip = coded.word[self.index_width] if self.skips else Const(0)
        return Symbol(coded.word[:self.index_width], Cat(head[:self.value], skip, end),
                      end & head[-1], end)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(*sizes) for sizes in ((1, 1), (9, 3), (16, 2), (9, 2, 4))]


class AddGroups(Lane):
    """What lanes of groups have in common: they add up the inputs of a group.

    Parameters
    ----------
    total : Shape
        Of the sum of a group.
    """

    def __init__(self, total: Shape) -> None:
        self.total = total

    def sums(self, m: Module, operand: Operand, name: str) -> Value:
        """Return the sum of a group up to this operand."""
        skip, end = operand.value[-2:]
        partial, total = (Signal(self.total, name=f"{name}_{n}") for n in ("partial", "sum"))
        m.d.comb += total.eq(partial + Mux(skip, 0, operand.x))
        with m.If(operand.valid):
            m.d.sync += partial.eq(Mux(end, 0, total))
        return total


class MultiplyGroups(AddGroups):
    """A lane that multiplies the sum of a group by the group's weight, in one cycle.

    Parameters
    ----------
    fmt : Format
    total : Shape
        Of the sum of a group.
    width : int
        Bits of a result.
    """

    def __init__(self, fmt: Format, total: Shape, width: int) -> None:
        super().__init__(total)
        self.multiply = Multiply(fmt, total, width)

    @property
    def width(self) -> int:
        return self.multiply.width

    @property
    def delay(self) -> int:
        return 1 + self.multiply.delay

    def gates(self, m: Module, operand: Operand, name: str) -> tuple[Value, Value]:
        group = Signal(self.total, name=f"{name}_group", reset_less=True)
        code = Signal(len(operand.value) - 2, name=f"{name}_code", reset_less=True)
        last = Signal(name=f"{name}_last", reset_less=True)
        valid = Signal(name=f"{name}_valid")
        m.d.sync += [group.eq(self.sums(m, operand, name)), code.eq(operand.value[:-2]),
                     last.eq(operand.last), valid.eq(operand.valid & operand.value[-1])]
        return self.multiply.gates(m, Operand(group, code, last, valid), name)


class MultiplyDigits(AddGroups):
    """A lane that multiplies the sum of a group by a digit of the group's weight in each cycle.

    A weight code has radix-4 digits of 0, 1, 2 and -1 in two bits each, the lowest first. A group
    has at least as many symbols as there are digits.

    Parameters
    ----------
    digits : int
    total : Shape
        Of the sum of a group.
    width : int
        Bits of a result.
    """

    def __init__(self, digits: int, total: Shape, width: int) -> None:
        super().__init__(total)
        self.digits, self._width = digits, width

    @property
    def width(self) -> int:
        return self._width

    @property
    def delay(self) -> int:
        return self.digits

    def gates(self, m: Module, operand: Operand, name: str) -> tuple[Value, Value]:
        total, end = self.sums(m, operand, name), operand.valid & operand.value[-1]
        group = Signal(self._width, name=f"{name}_group", reset_less=True)
        digits = Signal(2 * self.digits, name=f"{name}_digits")
        m.d.sync += [group.eq(group << 2), digits.eq(digits >> 2)]
        with m.If(end):
            m.d.sync += [group.eq(total), digits.eq(operand.value[:-2])]
        done: Value = end & operand.last
        for level in range(self.delay):
            done_q = Signal(name=f"{name}_done_{level}")
            m.d.sync += done_q.eq(done)
            done = done_q
        minus = digits[:2].all()
        multiple = Mux(digits[0], Mux(digits[1], ~group, group), Mux(digits[1], group << 1, 0))
        term = Signal(self._width, name=f"{name}_term", attrs={"keep": True})
        acc, result = (Signal(self._width, name=f"{name}_{n}") for n in ("acc", "total"))
        m.d.comb += [term.eq(multiple),
                     result.eq((Cat(minus, acc) + Cat(minus, term))[1:])]
        m.d.sync += acc.eq(Mux(done, 0, result))
        return result, done


class FactorisedMatrixVectorUnit(SparseEngine):
    """Matrix-vector product of weights of few values: ``o = weights @ i + bias``, exactly.

    Each lane adds an input a cycle to those of the same row that share its weight, which is not
    zero, and multiplies the sum of each such group once. What is stored of a weight is the index of
    its input and a bit; the weight itself is stored once for each group. Cycles, latency and
    streams are those of :class:`~bittern.hw.sparse.engine.SparseEngine`.

    Source: UCNN (K. Hegde et al., arXiv:1804.06508), without the reuse of sums between rows.

    Parameters
    ----------
    weights : array ``(outputs, inputs)``
    bias : array ``(outputs,)``
    x : Shape
        Of an input.
    lo, hi : int
        Bounds of the results.
    lanes : int
        Rows at a time.
    simd : int
        Inputs of a transfer.
    fmt : Format or None
        Holds all of `weights` that are not zero; 0 too, where a row has nothing else. None takes
        the one whose product is the smallest; with `serial` it is in radix 4.
    serial : bool
        Whether to multiply by a digit of a weight in each cycle, in radix 4. Groups of fewer inputs
        than there are digits then take as many cycles as these.
    block : bool
        Whether larger memories shall be in block RAM or in LUTs.

    Members
    -------
    i : ``In(lanes(x, simd))``
    o : ``Out(lanes(shape_of(lo, hi), lanes))``
    """

    def __init__(self, weights: Ints, bias: Ints, *, x: Shape, lo: int, hi: int, lanes: int,
                 simd: int, fmt: Format | None = None, serial: bool = False,
                 block: bool = True) -> None:
        outputs, inputs = weights.shape
        if not (1 <= lanes <= outputs and 1 <= simd <= inputs):
            raise ValueError(f"lanes must be in 1..{outputs} and simd in 1..{inputs}, "
                             f"not {lanes} and {simd}")
        groups = [[(int(v), np.flatnonzero(row == v)) for v in np.unique(row[row != 0])]
                  or [(0, np.array([0]))] for row in weights]
        total = total_shape(max(len(at) for row in groups for _, at in row), x)
        values = np.unique([v for row in groups for v, _ in row])
        result = shape_of(lo, hi)
        constant, least = bias, 1
        if serial and fmt:
            raise ValueError(f"fmt must be None where serial is set, not {fmt.name!r}")
        lane: Lane
        if serial:
            fmt = radix_4(values)
            lane = MultiplyDigits(fmt.width // 2, total, result.width)
            if outputs % lanes or any(len(at) < lane.digits for row in groups for _, at in row):
                least = lane.digits
        else:
            fmt = fmt or _smallest(values, total.width)
            lane = MultiplyGroups(fmt, total, result.width)
            lacks = fmt.correction(fmt.encode(values), total.width)
            if total.signed: # what the inverted sign bit adds
                lacks -= values << (total.width - 1)
            lack = dict(zip(values.tolist(), lacks.tolist(), strict=True))
            constant = bias + np.array([sum(lack[v] for v, _ in row) for row in groups])
        self.fmt = fmt
        codes = dict(zip(values.tolist(), fmt.encode(values).tolist(), strict=True))
        place = addresses(inputs, simd)
        rows = [[(int(place[k]), codes[v]) for v, at in row for k in at] for row in groups]
        super().__init__(rows, codes[int(values[0])],
                         Grouped(int(place[-1]) + 1, fmt.width, least), lane, constant, x=x,
                         result=result, inputs=inputs, simd=simd, count=lanes, block=block)

    @property
    def bits(self) -> int:
        """Bits stored of the weights."""
        return sum(len(s.words) * self.code.width + len(s.heads) * self.code.head_width
                   for s in self.stored)


def radix_4(values: Ints) -> Digits:
    """Return the digits of 0, 1, 2 and -1 that hold `values`."""
    lo, hi = int(values.min()), int(values.max())
    count = next(n for n in range(1, 33) if -lo <= 4 ** n // 3 and hi <= 4 ** n // 3 * 2)
    return Digits(tuple(Plane(2 * k, UP) for k in range(count)))


def total_shape(longest: int, x: Shape) -> Shape:
    """Return the shape of the sum of up to `longest` inputs of shape `x`."""
    least, most = (-1 << x.width - 1, (1 << x.width - 1) - 1) if x.signed else (
        0, (1 << x.width) - 1)
    return shape_of(least * longest, most * longest)


def _smallest(values: Ints, x_width: int) -> Format:
    """Return the format that holds `values` and whose product takes the fewest LUTs."""
    found = [f for kind in (Binary, Ternary, Codebook, Digits) if (f := kind.find(values))]
    if not found:
        raise ValueError(f"no format holds weights of {values.min()}..{values.max()}; "
                         "16-bit integers always have one")
    return min(found, key=lambda f: f.lut4(x_width))
