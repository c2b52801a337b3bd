"""What a sparse code is: how the non-zeros of rows are stored, and found one a cycle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import numpy as np
from amaranth import Const, Mux, Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Module, Value
    from numpy.typing import NDArray

    from bittern.hw.ints import Ints

    Pattern = NDArray[np.bool_]

__all__ = ["Coded", "Row", "SparseCode", "Stored", "Symbol", "check", "countdown", "end_bits",
           "gaps"]

Row = list[tuple[int, int]]
"""Index and weight code of each non-zero, in the order in which they are stored."""


class Stored(NamedTuple):
    """Rows as they are stored."""

    words: list[int]
    """One for each symbol, and so for each cycle."""
    heads: list[int]
    """What several symbols share (a mask, the length of a row), in the order it is needed."""


@dataclass(frozen=True)
class Coded:
    """What a decoder reads: `head` is the one after that which it holds."""

    word: Value
    head: Value
    step: Value
    """Whether the symbol of `word` is taken in this cycle."""
    load: Value
    """Whether a head comes in where none is held: at the latest in the cycle before the first step,
    which it makes ready for, and again where heads come late. No step is taken then."""


@dataclass(frozen=True)
class Symbol:
    """What a decoder says of a word."""

    index: Value
    value: Value
    last: Value
    """Whether it is the last of its row."""
    advance: Value
    """Whether it is the last of the head that is held: with its step, the next comes in."""


@dataclass(frozen=True)
class SparseCode(ABC):
    """A way to store the rows of one lane without their zeros.

    A row is a sequence of symbols (index of an input, weight code), each of which takes a word and
    a cycle. Where a code has no way to say something it inserts a *padding* symbol, whose weight
    is zero; a row without non-zeros is one. Some codes also have *heads*, a second sequence of
    words, each for several symbols. All is known when the hardware is made, so that the cycles of
    any rows are known too.

    :meth:`encode`, :meth:`decode`, :meth:`lengths` and the gates are written independently.
    Implementations are listed in ``hw.sparse.SPARSE_CODES``.

    Parameters
    ----------
    inputs : int
        Indices are below it.
    value : int
        Bits of a weight code.
    """

    inputs: int
    value: int

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check("inputs", self.inputs, 1)
        check("value", self.value, 0)

    @property
    def index_width(self) -> int:
        """Bits of an index."""
        return max((self.inputs - 1).bit_length(), 1)

    @property
    @abstractmethod
    def width(self) -> int:
        """Bits of a word."""

    @property
    def head_width(self) -> int:
        """Bits of a head; 0 where there are none."""
        return 0

    @property
    def height(self) -> int:
        """Rows that share their indices: a row of this code stands for so many of the matrix."""
        return 1

    @classmethod
    @abstractmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self | None:
        """Return the code that takes the fewest bits to store the weights that are not zero.

        None where such a code says nothing that another does not.

        Parameters
        ----------
        nonzero : array ``(outputs, inputs)`` of bool
        value : int
            Bits of a weight code, of one row.
        lanes : int
            Lane k does the rows ``k, k + lanes, …``
        """

    @abstractmethod
    def symbols(self, row: Row, zero: int) -> Row:
        """Return `row`, in order of indices, with padding symbols of weight code `zero`."""

    @abstractmethod
    def encode(self, rows: Sequence[Row]) -> Stored:
        """Return how `rows` of symbols are stored; :exc:`ValueError` where they cannot be."""

    @abstractmethod
    def decode(self, stored: Stored) -> list[Row]:
        """Return the rows of symbols."""

    @abstractmethod
    def lengths(self, nonzero: Pattern) -> Ints:
        """Return the symbols of each row, and so its cycles; `nonzero` is ``(rows, inputs)``."""

    def heads(self, nonzero: Pattern) -> int:
        """Return the number of heads of all rows."""
        return 0

    def bits(self, nonzero: Pattern) -> int:
        """Return the bits stored for all rows."""
        return (int(self.lengths(nonzero).sum()) * self.width
                + self.heads(nonzero) * self.head_width)

    def gates(self, m: Module, lanes: Sequence[Coded], step: Value) -> list[Symbol]:
        """Return what the words of `lanes` say; what is alike in all of them is made once.

        Symbols are combinational in words, heads and the state of the decoder. In a cycle of
        `step` a lane takes a step or is done with its frame.
        """
        return [self.lane(m, coded, f"decoder_{k}") for k, coded in enumerate(lanes)]

    def lane(self, m: Module, coded: Coded, name: str) -> Symbol:
        """Return what one lane's word says."""
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def examples(cls) -> list[Self]:
        """Return codes to be tested."""

    def fold(self, nonzero: Pattern) -> Pattern:
        """Return the pattern of the rows of this code, for rows of a matrix."""
        if self.height == 1:
            return nonzero
        rows = -(-len(nonzero) // self.height)
        padded = np.zeros((rows * self.height, nonzero.shape[1]), dtype=bool)
        padded[:len(nonzero)] = nonzero
        return np.asarray(padded.reshape(rows, self.height, -1).any(axis=1))


def check(name: str, value: int, least: int, most: int | None = None) -> None:
    """Raise :exc:`ValueError` where a parameter is out of range."""
    if value < least or (most is not None and value > most):
        allowed = f"at least {least}" if most is None else f"in {least}..{most}"
        raise ValueError(f"{name} must be {allowed}, not {value}")


def gaps(nonzero: Pattern) -> tuple[Ints, Ints]:
    """Return for each non-zero its row, and the zeros before it in that row."""
    rows, columns = np.nonzero(nonzero)
    first = np.ones(len(rows), dtype=bool)
    first[1:] = rows[1:] != rows[:-1]
    before = np.concatenate([[-1], columns[:-1]])
    before[first] = -1
    return rows, columns - before - 1


def end_bits(lengths: Ints) -> int:
    """Return the bits of a count of the symbols of a row, 0 where a flag in each word is less.

    A count is stored for each row, a flag for each symbol.
    """
    count = max((int(lengths.max()) - 1).bit_length(), 1)
    return count if count * len(lengths) < lengths.sum() else 0


def countdown(m: Module, coded: Coded, width: int, name: str) -> Value:
    """Return whether a symbol is the last of those that a head, their number less one, counts."""
    left = Signal(width, name=f"{name}_left", reset_less=True)
    last = Signal(name=f"{name}_last")
    m.d.comb += last.eq(left == 0)
    with m.If(coded.load | coded.step):
        m.d.sync += left.eq(Mux(coded.load | last, coded.head, left - 1))
    return last


NO = Const(0, 1)
"""Symbols of codes without heads never advance them."""
