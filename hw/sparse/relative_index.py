"""Relative indices of compressed columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bittern.hw.sparse.listed import Listed

if TYPE_CHECKING:
    from bittern.hw.sparse.code import Pattern

__all__ = ["RelativeIndex"]


class RelativeIndex(Listed):
    """As zero-run tuples, but a pointer for each row (stored as its length) says where it ends.

    Source: EIE (Han et al. 2016, arXiv:1602.01528) and ESE (arXiv:1612.00694), which store so the
    part of a column that a lane has, with relative indices of 4 bits. Here a lane has whole rows,
    since all inputs are at hand, and needs one accumulator.
    """

    name = "relative-index"
    relative = True

    @classmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self | None: # noqa: ARG003
        inputs = nonzero.shape[1]
        codes = []
        for field in range((inputs - 1).bit_length() + 1):
            most = int(cls(inputs, value, field).lengths(nonzero).max())
            codes.append(cls(inputs, value, field, max((most - 1).bit_length(), 1)))
        return min(codes, key=lambda code: code.bits(nonzero))

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(1, 1, 0, 1), cls(13, 3, 1, 4), cls(100, 4, 4, 7)]
