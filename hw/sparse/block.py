"""Blocks of non-zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Signal

from bittern.hw.sparse.code import Coded, Row, SparseCode, Stored, Symbol, check
from bittern.hw.sparse.zero_run import ZeroRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Module, Value

    from bittern.hw.ints import Ints
    from bittern.hw.sparse.code import Pattern

__all__ = ["Block"]

SIDES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Block(SparseCode):
    """Blocks of ``tall x wide`` weights are zero, or are stored, with where they are.

    Rows of a block share its indices: their lanes have one decoder and one copy of the inputs, and
    a symbol has the weight codes of all of them. Inputs of a block come one a cycle, and its place
    is a head. Where blocks are is said by zero-run tuples.

    Source: S. Narang et al., "Block-sparse recurrent neural networks" (2017, arXiv:1711.02782).

    Parameters
    ----------
    value : int
        Bits of the weight codes of `tall` rows.
    tall : int
        Rows of a block.
    wide : int
        Inputs of a block: 1, 2, 4 or 8.
    field : int
        Bits for the zero blocks before one.
    """

    tall: int
    wide: int
    field: int

    name = "block"

    def __post_init__(self) -> None:
        super().__post_init__()
        check("tall", self.tall, 1)
        if self.wide not in SIDES:
            raise ValueError(f"wide must be one of {SIDES}, not {self.wide}")
        if self.value % self.tall:
            raise ValueError(f"value must be a multiple of tall, {self.tall}, not {self.value}")
        check("field", self.field, 0, self._places.index_width)

    @property
    def _places(self) -> ZeroRun:
        """How it is stored where blocks are."""
        return ZeroRun(-(-self.inputs // self.wide), self.value if self.wide == 1 else 0,
                       self.field)

    @property
    def width(self) -> int:
        return self._places.width if self.wide == 1 else self.value

    @property
    def head_width(self) -> int:
        return 0 if self.wide == 1 else self._places.width

    @property
    def height(self) -> int:
        return self.tall

    @classmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self | None:
        inputs, found = nonzero.shape[1], []
        for tall in SIDES:
            for wide in SIDES:
                if tall * wide == 1 or lanes % tall or wide > inputs:
                    continue
                fields = range((-(-inputs // wide) - 1).bit_length() + 1)
                codes = [cls(inputs, tall * value, tall, wide, field) for field in fields]
                rows = codes[0].fold(nonzero)
                found += [(code.bits(rows), k, code) for k, code in enumerate(codes)]
        return min(found, default=(0, 0, None), key=lambda f: f[:2])[2]

    def symbols(self, row: Row, zero: int) -> Row:
        codes = dict(row)
        blocks = [(b, 0) for b in sorted({index // self.wide for index in codes})]
        return [(index, codes.get(index, zero)) for b, _ in self._places.symbols(blocks, 0)
                for index in range(b * self.wide, (b + 1) * self.wide)]

    def encode(self, rows: Sequence[Row]) -> Stored:
        if self.wide == 1:
            return self._places.encode(rows)
        for row in rows:
            if [i - row[0][0] for i, _ in row[:self.wide]] != [*range(self.wide)]:
                raise ValueError(f"blocks have {self.wide} inputs each")
        places = [[(index // self.wide, 0) for index, _ in row[::self.wide]] for row in rows]
        return Stored([code for row in rows for _, code in row], self._places.encode(places).words)

    def decode(self, stored: Stored) -> list[Row]:
        if self.wide == 1:
            return self._places.decode(stored)
        words = iter(stored.words)
        return [[(b * self.wide + k, next(words)) for b, _ in row for k in range(self.wide)]
                for row in self._places.decode(Stored(stored.heads, []))]

    def _blocks(self, nonzero: Pattern) -> Pattern:
        rows, inputs = nonzero.shape
        padded = np.zeros((rows, -(-inputs // self.wide) * self.wide), dtype=bool)
        padded[:, :inputs] = nonzero
        return np.asarray(padded.reshape(rows, -1, self.wide).any(axis=2))

    def lengths(self, nonzero: Pattern) -> Ints:
        return self.wide * self._places.lengths(self._blocks(nonzero))

    def heads(self, nonzero: Pattern) -> int:
        return int(self.lengths(nonzero).sum()) // self.wide if self.wide > 1 else 0

    def gates(self, m: Module, lanes: Sequence[Coded], step: Value) -> list[Symbol]:
        if self.wide == 1:
            return self._places.gates(m, lanes, step)
        at, full, reset = Signal(range(self.wide)), Signal(), Signal(init=1)
        m.d.comb += full.eq(at == self.wide - 1)
        m.d.sync += reset.eq(0)
        with m.If(step):
            m.d.sync += at.eq(at + 1)
        symbols = []
        for k, coded in enumerate(lanes):
            place = Signal(self.head_width, name=f"place_{k}", reset_less=True)
            with m.If(coded.load | coded.step & full):
                m.d.sync += place.eq(coded.head)
            block = self._places.lane(m, Coded(place, Const(0, 0), coded.step & full, reset),
                                      f"decoder_{k}")
            symbols.append(Symbol(Cat(at, block.index)[:self.index_width], coded.word,
                                  block.last & full, full))
        return symbols

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(13, 6, 2, 1, 2), cls(13, 3, 1, 4, 1), cls(32, 4, 2, 2, 3), cls(64, 4, 1, 8, 2)]
