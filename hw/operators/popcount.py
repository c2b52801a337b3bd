"""Population count: how many bits differ from constants."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Shape, Signal, Value, unsigned

from bittern.hw.adder_tree import Gate, Tree
from bittern.hw.family import Family
from bittern.hw.operators.operator import Operator
from bittern.hw.term import Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth.lib import wiring

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["MOST", "BitCount", "Popcount", "check_bits"]

MOST = 4096


def check_bits(bits: int) -> None:
    """Raise :exc:`ValueError` unless an operator may have so many bits."""
    if not 1 <= bits <= MOST:
        raise ValueError(f"bits must be 1 to {MOST}, not {bits}")


class BitCount(Operator):
    """An operator that counts how many of its bits, each a function of operands, are 1."""

    tree: Tree

    @abstractmethod
    def terms(self, *operands: Value) -> list[Term]:
        """Return the bits."""

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        return (self.tree.count(stages, self.terms(*operands), "count"),)

    def lut4(self, family: Family) -> float:
        return self.tree.cost(self._fresh()).lut4(family)

    def lemmas(self) -> list[tuple[str, wiring.Component, wiring.Component]]:
        """Return pairs of components that, each proven to be equal, prove the count.

        Their inputs are the bits and the sums of these, in place of the operands.
        """
        return [*self.tree.lemmas(self._fresh())]

    def _fresh(self) -> list[Term]:
        return self.terms(*(Signal(shape) for shape in self.inputs))


@dataclass(frozen=True)
class Popcount(BitCount):
    """How many of `bits` one-bit operands differ from `weights`: the plain count for 0.

    Weights only invert: counts of ``x ^ w`` take no more than those of `x`. The dot product of
    vectors of -1 and 1 is ``bits - 2 * count``.

    256 bits take 350 4-input LUTs on the ECP5, 375 on the iCE40 and 390 on Gowin; ``sum`` about
    500 on each. Latency and interval: that of the registers of `tree`, and 1.

    Source: the segmented carry chains are those of :func:`bittern.hw.adder_tree.add_tree`; XNOR and
    popcount as a product, Courbariaux et al. 2016 (arXiv:1602.02830).

    Parameters
    ----------
    bits : int
        1 to 4096.
    weights : int
        Bit `k` is the weight of operand `k`.
    tree : Tree
        :meth:`Tree.of` returns the best one.
    """

    bits: int
    weights: int = 0
    tree: Tree = field(default_factory=Tree)

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if not 0 <= self.weights < 1 << self.bits:
            raise ValueError(f"weights must be 0 to 2**{self.bits} - 1, not {self.weights}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (unsigned(1),) * self.bits

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (unsigned(self.bits.bit_length()),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        weights = [self.weights >> k & 1 for k in range(self.bits)]
        return (sum((x != w for x, w in zip(operands, weights, strict=True)),
                    np.zeros_like(operands[0])),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        weights = [self.weights >> k & 1 for k in range(self.bits)]
        return (sum((x ^ w for x, w in zip(operands, weights, strict=True)), Value.cast(0)),)

    def terms(self, *operands: Value) -> list[Term]:
        plain = [Term(0, x, 1) for k, x in enumerate(operands) if not self.weights >> k & 1]
        inverted: list[Term] = [Gate.of(lambda x: ~x, x) for k, x in enumerate(operands)
                                if self.weights >> k & 1]
        return order(plain, inverted, self.tree)

    def bound(self, family: Family) -> tuple[float, str]:
        return (self.bits - 1) / 3, "the top bit depends on all, and a LUT4 joins four signals"

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(1), cls(2, 3), cls(3, 5, Tree("halves")), cls(7, 0x29, Tree("chain")),
                cls(12, 0x5A6), cls(17, 0x15A63, Tree("halves")), cls(13, 0x1FFF, Tree("halves")),
                cls(14, 0x1234, Tree(words=False)), cls(12, 0x35A, Tree(every=1)),
                cls(16, 0, Tree("halves", every=2, chain=8)),
                cls(11, 0x555, Tree(words=False, every=2))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(n, 0, tree) for n in (32, 256)
                for tree in (Tree(), Tree("halves"), Tree(words=False, every=1))]


def order(plain: list[Term], inverted: list[Term], tree: Tree) -> list[Term]:
    """Return bits as a tree takes them, from the last on, so that all are absorbed.

    An inverter in front of a LUT is free, and so it is in front of a carry chain of the ECP5, but
    where both words are half adders of inverted bits.
    """
    if tree.first != "halves" or not tree.words:
        return plain + inverted
    groups: list[Term] = []
    for _ in range((len(plain) + len(inverted) + 1) // 6):
        if len(plain) < 2:
            break
        pair = [plain.pop(), plain.pop()]
        rest = plain if len(plain) > len(inverted) else inverted
        if len(rest) < 3:
            plain += pair
            break
        groups += [rest.pop(), rest.pop(), rest.pop(), *pair]
    return plain + inverted + groups
