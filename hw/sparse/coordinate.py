"""Coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Mux, Signal

from bittern.hw.sparse.code import NO, Coded, Row, SparseCode, Stored, Symbol, check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Module

    from bittern.hw.ints import Ints
    from bittern.hw.sparse.code import Pattern

__all__ = ["Coordinate"]


@dataclass(frozen=True)
class Coordinate(SparseCode):
    """Value, column and row of each non-zero, ordered by rows.

    The row in a word is that of the symbol after it (`rows` after the last), so that it is known
    at once where a row ends. Columns need not ascend.

    Source: the coordinate format, e.g. Y. Saad, "SPARSKIT" (1994); for networks hls4ml's compressed
    layers.

    Parameters
    ----------
    rows : int
        Of a lane.
    """

    rows: int

    name = "coordinate"

    def __post_init__(self) -> None:
        super().__post_init__()
        check("rows", self.rows, 1)

    @property
    def width(self) -> int:
        return self.value + self.index_width + self.rows.bit_length()

    @classmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self | None:
        outputs, inputs = nonzero.shape
        return cls(inputs, value, -(-outputs // lanes))

    def symbols(self, row: Row, zero: int) -> Row:
        return row or [(0, zero)]

    def encode(self, rows: Sequence[Row]) -> Stored:
        if len(rows) != self.rows:
            raise ValueError(f"rows must be {self.rows}, not {len(rows)}")
        words = []
        for r, row in enumerate(rows):
            for k, (index, code) in enumerate(row):
                after = r + (k == len(row) - 1)
                words.append((after << self.index_width | index) << self.value | code)
        return Stored(words, [])

    def decode(self, stored: Stored) -> list[Row]:
        rows: list[Row] = [[] for _ in range(self.rows)]
        r = 0
        for word in stored.words:
            after, rest = divmod(word, 1 << self.value + self.index_width)
            index, code = divmod(rest, 1 << self.value)
            rows[r].append((index, code))
            r = after % self.rows
        return rows

    def lengths(self, nonzero: Pattern) -> Ints:
        found: Ints = np.count_nonzero(nonzero, axis=1).astype(np.int64).clip(min=1)
        return found

    def lane(self, m: Module, coded: Coded, name: str) -> Symbol:
        n = self.value + self.index_width
        after = coded.word[n:]
        row = Signal(self.rows.bit_length(), name=f"{name}_row")
        with m.If(coded.step):
            m.d.sync += row.eq(Mux(after == self.rows, 0, after))
        return Symbol(coded.word[self.value:n], coded.word[:self.value], after != row, NO)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(1, 1, 1), cls(13, 3, 5), cls(100, 4, 4)]
