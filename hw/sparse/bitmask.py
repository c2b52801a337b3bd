"""Bit masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux, Signal

from bittern.hw.sparse.code import Coded, Row, SparseCode, Stored, Symbol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Module, Value

    from bittern.hw.ints import Ints
    from bittern.hw.sparse.code import Pattern

__all__ = ["Bitmask"]

MASKS = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Bitmask(SparseCode):
    """A mask bit for each weight, and the weights that are not zero.

    A head is a mask of some inputs, from the lowest, and above it whether it is the last of its
    row. Masks of zeros are padded, but those at the end of a row are left out.

    Source: the masks of NullHop (Aimar et al. 2017, arXiv:1706.01406), there for activations.

    Parameters
    ----------
    mask : int
        Inputs of a mask, 4, 8, 16, 32 or 64.
    """

    mask: int

    name = "bitmask"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask not in MASKS:
            raise ValueError(f"mask must be one of {MASKS}, not {self.mask}")

    @property
    def width(self) -> int:
        return self.value

    @property
    def head_width(self) -> int:
        return self.mask + 1

    @classmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self | None: # noqa: ARG003
        return min((cls(nonzero.shape[1], value, mask) for mask in MASKS),
                   key=lambda code: code.bits(nonzero))

    def symbols(self, row: Row, zero: int) -> Row:
        masks: dict[int, Row] = {}
        for index, code in row:
            masks.setdefault(index // self.mask, []).append((index, code))
        return [symbol for k in range(max(masks, default=0) + 1)
                for symbol in masks.get(k, [(k * self.mask, zero)])]

    def encode(self, rows: Sequence[Row]) -> Stored:
        stored = Stored([], [])
        for row in rows:
            masks = [0] * (max(index for index, _ in row) // self.mask + 1)
            for index, code in row:
                masks[index // self.mask] |= 1 << index % self.mask
                stored.words.append(code)
            if 0 in masks:
                raise ValueError(f"mask {masks.index(0)} of a row has no symbol")
            stored.heads.extend([*masks[:-1], masks[-1] | 1 << self.mask])
        return stored

    def decode(self, stored: Stored) -> list[Row]:
        rows: list[Row] = []
        row: Row = []
        words, base = iter(stored.words), 0
        for head in stored.heads:
            row += [(base + k, next(words)) for k in range(self.mask) if head >> k & 1]
            base += self.mask
            if head >> self.mask:
                rows.append(row)
                row, base = [], 0
        return rows

    def _masks(self, nonzero: Pattern) -> Pattern:
        """Return which masks of each row are not zero."""
        count = -(-nonzero.shape[1] // self.mask)
        padded = np.zeros((len(nonzero), count * self.mask), dtype=bool)
        padded[:, :nonzero.shape[1]] = nonzero
        return np.asarray(padded.reshape(len(nonzero), count, self.mask).any(axis=2))

    def _used(self, nonzero: Pattern) -> Ints:
        """Return the masks stored for each row."""
        masks = self._masks(nonzero)
        used: Ints = np.where(masks, 1 + np.arange(masks.shape[1]), 1).max(axis=1)
        return used

    def lengths(self, nonzero: Pattern) -> Ints:
        found: Ints = (np.count_nonzero(nonzero, axis=1) + self._used(nonzero)
                       - np.count_nonzero(self._masks(nonzero), axis=1))
        return found

    def heads(self, nonzero: Pattern) -> int:
        return int(self._used(nonzero).sum())

    def lane(self, m: Module, coded: Coded, name: str) -> Symbol:
        left = Signal(self.mask, name=f"{name}_left", reset_less=True)
        end = Signal(name=f"{name}_end", reset_less=True)
        lower = Cat(Const(0, 1), *(left[:k].any() for k in range(1, self.mask)))
        rest = Signal(self.mask, name=f"{name}_rest")
        done, last = Signal(name=f"{name}_done"), Signal(name=f"{name}_last")
        m.d.comb += [rest.eq(left & lower), done.eq(rest == 0), last.eq(done & end)]
        with m.If(coded.load | coded.step):
            m.d.sync += [left.eq(Mux(coded.load | done, coded.head[:-1], rest)),
                         end.eq(Mux(coded.load | done, coded.head[-1], end))]
        low: Value = _first(left)
        high = Signal(max(self.index_width - len(low), 0), name=f"{name}_base")
        with m.If(coded.step & done):
            m.d.sync += high.eq(Mux(end, 0, high + 1))
        index = Cat(low, high)[:self.index_width]
        return Symbol(index, coded.word[:self.value], last, done)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(1, 1, 4), cls(13, 3, 4), cls(37, 3, 16), cls(100, 4, 32), cls(100, 2, 64)]


def _first(mask: Value) -> Value:
    """Return the index of the lowest one of `mask`, which has a power of two of bits."""
    if len(mask) == 2:
        return ~mask[0]
    half = len(mask) // 2
    low, high = mask[:half], mask[half:]
    none = ~low.any()
    return Cat(Mux(none, _first(high), _first(low)), none)
