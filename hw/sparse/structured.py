"""N of M: the same number of non-zeros in every group of inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Mux, Signal

from bittern.hw.sparse.code import NO, Coded, Row, SparseCode, Stored, Symbol, check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Module, Value

    from bittern.hw.ints import Ints
    from bittern.hw.sparse.code import Pattern

__all__ = ["Structured"]

GROUPS = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Structured(SparseCode):
    """Of each group of `m` inputs `n` are not zero: each word has a value and an index in a group.

    Groups with fewer non-zeros are padded. All rows are alike, and so are all lanes: they count
    groups together, and a lane's decoder has no gates of its own.

    Source: fine-grained structured sparsity, 2:4 (Mishra et al. 2021, arXiv:2104.08378).

    Parameters
    ----------
    n : int
        Symbols of a group.
    m : int
        Inputs of a group, a power of two; more than `n`.
    """

    n: int
    m: int

    name = "n-of-m"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.m not in GROUPS:
            raise ValueError(f"m must be one of {GROUPS}, not {self.m}")
        check("n", self.n, 1, self.m - 1)

    @property
    def width(self) -> int:
        return self.value + self._field

    @property
    def _field(self) -> int:
        return self.m.bit_length() - 1

    @property
    def _groups(self) -> int:
        return -(-self.inputs // self.m)

    @classmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self | None: # noqa: ARG003
        inputs, codes = nonzero.shape[1], []
        for m in GROUPS:
            n = max(int(_counts(nonzero, m).max(initial=0)), 1)
            if n < m <= 1 << max((inputs - 1).bit_length(), 1):
                codes.append(cls(inputs, value, n, m))
        return min(codes, key=lambda code: code.bits(nonzero), default=None)

    def symbols(self, row: Row, zero: int) -> Row:
        groups: list[Row] = [[] for _ in range(self._groups)]
        for index, code in row:
            groups[index // self.m].append((index, code))
        padded: Row = []
        for g, group in enumerate(groups):
            padded += group + [(g * self.m, zero)] * (self.n - len(group))
        return padded

    def encode(self, rows: Sequence[Row]) -> Stored:
        words = []
        for row in rows:
            if len(row) != self._groups * self.n:
                raise ValueError(f"a row has {self._groups * self.n} symbols, not {len(row)}")
            for k, (index, code) in enumerate(row):
                if index // self.m != k // self.n:
                    raise ValueError(f"group {index // self.m} has more than {self.n} non-zeros")
                words.append(index % self.m << self.value | code)
        return Stored(words, [])

    def decode(self, stored: Stored) -> list[Row]:
        words = np.array(stored.words, dtype=object).reshape(-1, self._groups, self.n)
        starts = self.m * np.arange(self._groups, dtype=object)[:, None]
        indices, codes = (words >> self.value) + starts, words & (1 << self.value) - 1
        return [list(zip(i.ravel(), c.ravel(), strict=True))
                for i, c in zip(indices, codes, strict=True)]

    def lengths(self, nonzero: Pattern) -> Ints:
        if (_counts(nonzero, self.m) > self.n).any():
            raise ValueError(f"a group of {self.m} has more than {self.n} non-zeros")
        return np.full(len(nonzero), self._groups * self.n)

    def gates(self, m: Module, lanes: Sequence[Coded], step: Value) -> list[Symbol]:
        symbol, group = Signal(range(self.n)), Signal(range(self._groups))
        full, last = Signal(), Signal()
        m.d.comb += [full.eq(symbol == self.n - 1), last.eq(full & (group == self._groups - 1))]
        with m.If(step):
            m.d.sync += symbol.eq(Mux(full, 0, symbol + 1))
            with m.If(full):
                m.d.sync += group.eq(Mux(last, 0, group + 1))
        end = self.value + self._field
        return [Symbol(Cat(c.word[self.value:end], group)[:self.index_width], c.word[:self.value],
                       last, NO) for c in lanes]

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(4, 2, 2, 4), cls(13, 3, 1, 4), cls(16, 3, 2, 4), cls(30, 1, 3, 8),
                cls(12, 2, 1, 16), cls(3, 1, 1, 2)]


def _counts(nonzero: Pattern, m: int) -> Ints:
    """Return the non-zeros of each group of `m` columns."""
    rows, inputs = nonzero.shape
    padded = np.zeros((rows, -(-inputs // m) * m), dtype=bool)
    padded[:, :inputs] = nonzero
    counts: Ints = np.count_nonzero(padded.reshape(rows, -1, m), axis=2)
    return counts
