"""Compressed rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bittern.hw.sparse.code import end_bits
from bittern.hw.sparse.listed import Listed

if TYPE_CHECKING:
    from bittern.hw.sparse.code import Pattern

__all__ = ["CompressedRow"]


class CompressedRow(Listed):
    """Column and value of each non-zero, and where rows end: pointers or flags, what is less.

    A pointer is stored as the length of its row. There is no padding but in rows of zeros, and
    columns need not ascend.

    Source: compressed sparse rows, e.g. Y. Saad, "SPARSKIT" (1994).
    """

    name = "compressed-row"
    relative = False

    @classmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self | None: # noqa: ARG003
        inputs = nonzero.shape[1]
        code = cls(inputs, value, max((inputs - 1).bit_length(), 1))
        return cls(inputs, value, code.field, end_bits(code.lengths(nonzero)))

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(1, 1, 1), cls(13, 3, 4, 4), cls(13, 3, 4), cls(100, 4, 7, 7)]
