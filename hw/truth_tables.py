"""Neurons of few input bits: each is a truth table.

As in LogicNets (Y. Umuroglu et al., FPL 2020, arXiv:2004.03021): a sum of few narrow inputs, and
what its requantization makes of it, is a function of so few bits that a handful of LUTs computes
it, whatever the weights are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Array, Cat, Const, Module, Shape, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import Ints, shape_of
from bittern.hw.pipeline import Pipeline
from bittern.hw.stream import lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth.lib import stream

__all__ = ["TruthTable", "TruthTables", "codes_of", "fill"]

LUT = 4
"""Inputs of a LUT."""


@dataclass(frozen=True, eq=False)
class TruthTable:
    """An integer function of some inputs of `width` bits each.

    Parameters
    ----------
    sources : which inputs it reads; the first one has the lowest bits of a code
    width : bits of each
    values : array ``(2 ** (width * len(sources)),)``
        Its value for each code.
    """

    sources: tuple[int, ...]
    width: int
    values: Ints

    def __call__(self, x: Ints) -> Ints:
        """Return its value for inputs ``(…, inputs)``."""
        return self.values[codes_of(x[..., list(self.sources)], self.width)]

    @cached_property
    def parts(self) -> int:
        """How many different functions of 4 bits it is made of, and selections between two."""
        parts = 0
        for k in range(shape_of(int(self.values.min()), int(self.values.max())).width):
            table = _without_idle_bits(self.values >> k & 1)
            functions = table.reshape(-1, min(1 << LUT, len(table)))
            parts += len({row.tobytes() for row in functions if row.min() < row.max()})
            for level in range(LUT + 1, len(table).bit_length()):
                halves = table.reshape(-1, 2, 1 << level - 1)
                parts += len({pair.tobytes() for pair in halves if (pair[0] != pair[1]).any()})
        return parts


def codes_of(x: Ints, width: int) -> Ints:
    """Return the codes of integers ``(…, sources)`` of `width` bits, in two's complement."""
    codes: Ints = ((x & ((1 << width) - 1)) << width * np.arange(x.shape[-1])).sum(axis=-1)
    return codes


def fill(values: Ints, known: np.ndarray, y: Shape) -> Ints:
    """Return `values` where they are `known`; elsewhere what makes each of their bits simple.

    A bit of the code that makes no difference where both values are known makes none anywhere.
    What is still free is as at a code that is known, of as few other bits as may be.
    """
    filled = np.zeros_like(values)
    bits = len(values).bit_length() - 1
    codes = np.arange(len(values))
    for k in range(y.width):
        bit, have = values >> k & 1, known
        for axis in range(bits):
            other = codes ^ 1 << axis
            if not (have & have[other] & (bit != bit[other])).any():
                bit, have = np.where(have, bit, bit[other]), have | have[other]
        while not have.all():
            near, had = bit, have
            for axis in range(bits):
                other = codes ^ 1 << axis
                free = had[other] & ~have
                bit, have = np.where(free, near[other], bit), have | free
        filled |= bit << k
    return filled - (filled >> (y.width - 1) << y.width) if y.signed else filled


def _without_idle_bits(table: Ints) -> Ints:
    """Return a table of those bits of its codes that make a difference, at least 4."""
    level = 0
    while 1 << level < len(table) and len(table) > 1 << LUT:
        pairs = table.reshape(-1, 2, 1 << level)
        if (pairs[:, 0] == pairs[:, 1]).all():
            table = pairs[:, 0].ravel()
        else:
            level += 1
    return table


class TruthTables(wiring.Component):
    """A truth table for each output: a vector a cycle, latency 1.

    ``ready`` passes combinationally from ``o`` to ``i``.

    Parameters
    ----------
    tables : sequence of TruthTable
        One for each output.
    inputs : int
    x : Shape
        Of an input, of the tables' width.
    lo, hi : int
        Bounds of the values.

    Members
    -------
    i : ``In(lanes(x, inputs))``
    o : ``Out(lanes(shape_of(lo, hi), outputs))``
    """

    i: stream.Interface
    o: stream.Interface
    latency = 1

    def __init__(self, tables: Sequence[TruthTable], *, inputs: int, x: Shape, lo: int, hi: int
                 ) -> None:
        self.tables = tables
        self.y = shape_of(lo, hi)
        super().__init__({"i": In(lanes(x, inputs)), "o": Out(lanes(self.y, len(tables)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.i, self.o)
        pipeline.finish(pipeline.stage([self._value(table) for table in self.tables], "y"))
        return m

    def _value(self, table: TruthTable) -> Value:
        values = [Const(int(v), self.y) for v in table.values]
        code = Cat(self.i.payload[k] for k in table.sources)
        return Value.cast(Array(values)[code]) if len(values) > 1 else values[0]
