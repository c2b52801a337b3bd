"""Binary dot product: how many bits of two vectors differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Shape, Value, unsigned

from bittern.hw.adder_tree import Gate, Tree
from bittern.hw.family import Family
from bittern.hw.operators.popcount import BitCount, check_bits
from bittern.hw.term import Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints

__all__ = ["BinaryDot"]


@dataclass(frozen=True)
class BinaryDot(BitCount):
    """How many of `bits` pairs of one-bit operands differ: ``x0, …, w0, …``.

    The dot product of vectors of -1 and 1 is ``bits - 2 * count``: the constant belongs to a bias,
    the factor to a threshold. Mismatches are counted and not matches because the carry chains of
    the ECP5 absorb XOR and not XNOR.

    256 pairs take 400 4-input LUTs on the ECP5, 567 on the iCE40 and 581 on Gowin; ``sum`` about
    700 on each. Latency and interval: that of the registers of `tree`, and 1.

    Source: Courbariaux et al. 2016 (arXiv:1602.02830).

    Parameters
    ----------
    bits : int
        1 to 4096.
    tree : Tree
        :meth:`Tree.of` returns the best one.
    """

    bits: int
    tree: Tree = field(default_factory=Tree)

    def __post_init__(self) -> None:
        check_bits(self.bits)

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (unsigned(1),) * (2 * self.bits)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (unsigned(self.bits.bit_length()),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        x, w = np.array(operands[:self.bits]), np.array(operands[self.bits:])
        return ((x != w).sum(axis=0),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        pairs = zip(operands[:self.bits], operands[self.bits:], strict=True)
        return (sum((x ^ w for x, w in pairs), Value.cast(0)),)

    def terms(self, *operands: Value) -> list[Term]:
        pairs = zip(operands[:self.bits], operands[self.bits:], strict=True)
        return [Gate.of(lambda x, w: x ^ w, x, w) for x, w in pairs]

    def bound(self, family: Family) -> tuple[float, str]:
        return ((2 * self.bits - 1) / 3,
                "the top bit depends on all, and a LUT4 joins four signals")

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(1), cls(3), cls(10), cls(8, Tree("chain")), cls(9, Tree(words=False)),
                cls(6, Tree(every=1)), cls(10, Tree("chain", every=1)),
                cls(7, Tree("chain", every=2, chain=8))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(n, tree) for n in (32, 256)
                for tree in (Tree(), Tree("chain"), Tree(words=False, every=1))]
