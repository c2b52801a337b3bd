"""Zero-run tuples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bittern.hw.sparse.listed import Listed

if TYPE_CHECKING:
    from bittern.hw.sparse.code import Pattern

__all__ = ["ZeroRun"]


class ZeroRun(Listed):
    """Tuples of the zeros before a non-zero, the non-zero, and whether it is the last of its row.

    Source: the weight tuples of T. Posewsky and D. Ziener, "Throughput optimizations for FPGA-based
    deep neural network inference" (Microprocessors and Microsystems, 2018).
    """

    name = "zero-run"
    relative = True

    @classmethod
    def find(cls, nonzero: Pattern, value: int, lanes: int = 1) -> Self | None: # noqa: ARG003
        inputs = nonzero.shape[1]
        codes = [cls(inputs, value, field) for field in range((inputs - 1).bit_length() + 1)]
        return min(codes, key=lambda code: code.bits(nonzero))

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(1, 1, 0), cls(13, 3, 1), cls(20, 2, 5), cls(32, 4, 0), cls(100, 4, 3)]
