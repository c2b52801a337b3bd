"""Codes that say of each non-zero where it is: with an index of its own, relative or absolute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from amaranth import Cat, Const, Signal

from bittern.hw.sparse.code import (
    NO,
    Coded,
    Row,
    SparseCode,
    Stored,
    Symbol,
    check,
    countdown,
    gaps,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Module, Value

    from bittern.hw.ints import Ints
    from bittern.hw.sparse.code import Pattern

__all__ = ["Listed"]


@dataclass(frozen=True)
class Listed(SparseCode):
    """A word has, from its lowest bit, the weight code, a field for the index, and the row's end.

    Either a flag in each word says that the row ends, or a head for each row says how many symbols
    it has. A relative index is the number of zeros since the last symbol; more zeros than the
    field can hold take padding symbols.

    Parameters
    ----------
    field : int
        Bits of the index in a word.
    count : int
        Bits of a head, the symbols of a row less one; 0 for a flag in each word.
    """

    field: int
    count: int = 0

    relative: ClassVar[bool]

    def __post_init__(self) -> None:
        super().__post_init__()
        least = 0 if self.relative else self.index_width
        check("field", self.field, least, self.index_width)
        check("count", self.count, 0)

    @property
    def width(self) -> int:
        return self.value + self.field + (not self.count)

    @property
    def head_width(self) -> int:
        return self.count

    def symbols(self, row: Row, zero: int) -> Row:
        padded: Row = []
        at, most = 0, (1 << self.field) - 1
        for index, code in row:
            while self.relative and index - at > most:
                padded.append((at + most, zero))
                at += most + 1
            padded.append((index, code))
            at = index + 1
        return padded or [(0, zero)]

    def encode(self, rows: Sequence[Row]) -> Stored:
        words: list[int] = []
        for row in rows:
            if self.count and len(row) > 1 << self.count:
                raise ValueError(f"a row has at most {1 << self.count} symbols, not {len(row)}")
            before = -1
            for k, (index, code) in enumerate(row):
                field = index - before - 1 if self.relative else index
                check("index field", field, 0, (1 << self.field) - 1)
                before = index
                word = code | field << self.value
                if not self.count:
                    word |= (k == len(row) - 1) << self.value + self.field
                words.append(word)
        return Stored(words, [len(row) - 1 for row in rows] if self.count else [])

    def decode(self, stored: Stored) -> list[Row]:
        words = np.array(stored.words, dtype=object)
        codes, fields = words & (1 << self.value) - 1, words >> self.value & (1 << self.field) - 1
        if self.count:
            ends = np.cumsum(np.array(stored.heads) + 1)
        else:
            ends = 1 + np.flatnonzero(words >> self.value + self.field)
        starts = [0, *ends[:-1]]
        return [list(zip((np.cumsum(fields[a:b] + 1) - 1 if self.relative else fields[a:b]),
                         codes[a:b], strict=True)) for a, b in zip(starts, ends, strict=True)]

    def lengths(self, nonzero: Pattern) -> Ints:
        rows, zeros = gaps(nonzero)
        padding = zeros >> self.field if self.relative else np.zeros_like(zeros)
        counts = np.bincount(rows, 1 + padding, minlength=len(nonzero))
        found: Ints = counts.astype(np.int64).clip(min=1)
        return found

    def heads(self, nonzero: Pattern) -> int:
        return len(nonzero) if self.count else 0

    def lane(self, m: Module, coded: Coded, name: str) -> Symbol:
        word = coded.word
        field = word[self.value:self.value + self.field]
        if self.count:
            last = advance = countdown(m, coded, self.count, name)
        else:
            last, advance = word[-1], NO
        index: Value = field
        if self.relative:
            # a row starts at 0, not at -1: registers can be cleared for nothing, but not all set
            before, index = (Signal(self.index_width, name=f"{name}_{n}", reset_less=True)
                             for n in ("before", "index"))
            begun = Signal(name=f"{name}_begun", reset_less=True)
            m.d.comb += index.eq((Cat(begun, before) + Cat(begun, field))[1:])
            with m.If(coded.load | coded.step & last):
                m.d.sync += Cat(begun, before).eq(0)
            with m.Elif(coded.step):
                m.d.sync += Cat(begun, before).eq(Cat(Const(1, 1), index))
        return Symbol(index, word[:self.value], last, advance)
