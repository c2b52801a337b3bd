"""Matrix-vector unit that multiplies once for all inputs that share a weight."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Module, Mux, Signal

from bittern.hw.formats.codebook import Codebook
from bittern.hw.formats.digits import Binary, Digits, Ternary
from bittern.hw.ints import shape_of
from bittern.hw.sparse.code import Coded, Row, SparseCode, Stored, Symbol
from bittern.hw.sparse.engine import Lane, Operand, SparseEngine, addresses
from bittern.hw.sparse.matrix_vector import Multiply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Shape, Value

    from bittern.hw.formats.format import Format
    from bittern.hw.ints import Ints
    from bittern.hw.sparse.code import Pattern

__all__ = ["FactorisedMatrixVectorUnit", "Grouped", "MultiplyGroups"]


@dataclass(frozen=True)
class Grouped(SparseCode):
    """Inputs that share a weight stand in a group.

    A word has an index, and a bit at the end of its group. A head for each group has the weight
    code, and a bit at the end of the row.

    Source: the indirection tables of UCNN (K. Hegde et al., arXiv:1804.06508).
    """

    name = "grouped"

    @property
    def width(self) -> int:
        return self.index_width + 1

    @property
    def head_width(self) -> int:
        return self.value + 1

    @classmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self: # noqa: ARG003
        return cls(nonzero.shape[1], value)

    def symbols(self, row: Row, zero: int) -> Row:
        return sorted(row, key=lambda symbol: (symbol[1], symbol[0])) or [(0, zero)]

    def encode(self, rows: Sequence[Row]) -> Stored:
        stored = Stored([], [])
        for row in rows:
            for code, group in groupby(row, key=lambda symbol: symbol[1]):
                stored.words.extend(index for index, _ in group)
                stored.words[-1] |= 1 << self.index_width
                stored.heads.append(code)
            stored.heads[-1] |= 1 << self.value
        return stored

    def decode(self, stored: Stored) -> list[Row]:
        rows: list[Row] = [[]]
        heads = iter(stored.heads)
        last, code = divmod(next(heads), 1 << self.value)
        for word in stored.words:
            end, index = divmod(word, 1 << self.index_width)
            rows[-1].append((index, code))
            if end:
                rows += [[]] * last
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
        return Symbol(coded.word[:self.index_width], Cat(head[:self.value], end),
                      end & head[-1], end)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(inputs, value) for inputs, value in ((1, 1), (9, 3), (16, 2))]


class MultiplyGroups(Lane):
    """A lane that adds up the inputs of a group, and multiplies the sum by the group's weight.

    Parameters
    ----------
    fmt : Format
    total : Shape
        Of the sum of a group.
    width : int
        Bits of a result.
    """

    def __init__(self, fmt: Format, total: Shape, width: int) -> None:
        self.total, self.multiply = total, Multiply(fmt, total, width)

    @property
    def width(self) -> int:
        return self.multiply.width

    @property
    def delay(self) -> int:
        return 1 + self.multiply.delay

    def gates(self, m: Module, operand: Operand, name: str) -> tuple[Value, Value]:
        end = operand.value[-1]
        partial, total = (Signal(self.total, name=f"{name}_{n}") for n in ("partial", "sum"))
        m.d.comb += total.eq(partial + operand.x)
        with m.If(operand.valid):
            m.d.sync += partial.eq(Mux(end, 0, total))
        group = Signal(self.total, name=f"{name}_group", reset_less=True)
        code = Signal(len(operand.value) - 1, name=f"{name}_code", reset_less=True)
        last = Signal(name=f"{name}_last", reset_less=True)
        valid = Signal(name=f"{name}_valid")
        m.d.sync += [group.eq(total), code.eq(operand.value[:-1]), last.eq(operand.last),
                     valid.eq(operand.valid & end)]
        return self.multiply.gates(m, Operand(group, code, last, valid), name)


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
        the one whose product is the smallest.
    block : bool
        Whether larger memories shall be in block RAM or in LUTs.

    Members
    -------
    i : ``In(lanes(x, simd))``
    o : ``Out(lanes(shape_of(lo, hi), lanes))``
    """

    def __init__(self, weights: Ints, bias: Ints, *, x: Shape, lo: int, hi: int, lanes: int,
                 simd: int, fmt: Format | None = None, block: bool = True) -> None:
        outputs, inputs = weights.shape
        if not (1 <= lanes <= outputs and 1 <= simd <= inputs):
            raise ValueError(f"lanes must be in 1..{outputs} and simd in 1..{inputs}, "
                             f"not {lanes} and {simd}")
        groups = [[(int(v), np.flatnonzero(row == v)) for v in np.unique(row[row != 0])]
                  or [(0, np.array([0]))] for row in weights]
        longest = max(len(at) for row in groups for _, at in row)
        least, most = (-1 << x.width - 1, (1 << x.width - 1) - 1) if x.signed else (
            0, (1 << x.width) - 1)
        total = shape_of(least * longest, most * longest)
        values = np.unique([v for row in groups for v, _ in row])
        self.fmt = fmt = fmt or _smallest(values, total.width)
        codes = dict(zip(values.tolist(), fmt.encode(values).tolist(), strict=True))
        lacks = fmt.correction(fmt.encode(values), total.width)
        if total.signed: # what the inverted sign bit adds
            lacks -= values << (total.width - 1)
        lack = dict(zip(values.tolist(), lacks.tolist(), strict=True))
        constant = bias + np.array([sum(lack[v] for v, _ in row) for row in groups])
        place = addresses(inputs, simd)
        rows = [[(int(place[k]), codes[v]) for v, at in row for k in at] for row in groups]
        result = shape_of(lo, hi)
        super().__init__(rows, codes[int(values[0])], Grouped(int(place[-1]) + 1, fmt.width),
                         MultiplyGroups(fmt, total, result.width), constant, x=x, result=result,
                         inputs=inputs, simd=simd, count=lanes, block=block)

    @property
    def bits(self) -> int:
        """Bits stored of the weights."""
        return sum(len(s.words) * self.code.width + len(s.heads) * self.code.head_width
                   for s in self.stored)


def _smallest(values: Ints, x_width: int) -> Format:
    """Return the format that holds `values` and whose product takes the fewest LUTs."""
    found = [f for kind in (Binary, Ternary, Codebook, Digits) if (f := kind.find(values))]
    if not found:
        raise ValueError(f"no format holds weights of {values.min()}..{values.max()}; "
                         "16-bit integers always have one")
    return min(found, key=lambda f: f.lut4(x_width))
