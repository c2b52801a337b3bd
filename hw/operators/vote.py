"""Votes: what all, any or most of several bits say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np
from amaranth import Cat, Shape, Value, unsigned

from bittern.hw.adder_tree import Tree
from bittern.hw.operators.popcount import BitCount, check_bits
from bittern.hw.term import Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["Kind", "Vote"]

Kind = Literal["and", "or", "majority"]


@dataclass(frozen=True)
class Vote(BitCount):
    """Pooling of `bits` one-bit operands: 1 if all of them are, any, or at least half.

    Of activations of -1 and 1 as bits, max pooling is "or", min pooling "and"; "majority" is the
    sign of average pooling, which is 1 for a sum of zero.

    Latency: the registers of `tree` for a majority, else 0. Interval 1.

    Source: max pooling as OR, Umuroglu et al. 2017 (arXiv:1612.07119).

    Parameters
    ----------
    bits : int
        1 to 4096.
    kind : str
        "and", "or" or "majority".
    tree : Tree
        What counts for a majority.
    """

    bits: int
    kind: Kind
    tree: Tree = field(default_factory=Tree)

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, not {self.kind!r}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (unsigned(1),) * self.bits

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (unsigned(1),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        x = np.array(operands)
        if self.kind == "majority":
            return ((2 * x.sum(axis=0) >= self.bits).astype(np.int64),)
        return (x.max(axis=0) if self.kind == "or" else x.min(axis=0),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        if self.kind == "majority":
            return (2 * sum(operands, Value.cast(0)) >= self.bits,)
        return (Cat(operands).any() if self.kind == "or" else Cat(operands).all(),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        if self.kind != "majority":
            return self.naive(*operands)
        count, = super().gates(stages, *operands)
        return (count >= (self.bits + 1) // 2,)

    def terms(self, *operands: Value) -> list[Term]:
        return [Term(0, x, 1) for x in operands]

    def lut4(self, family: Family) -> float:
        if self.kind != "majority":
            return -(-(self.bits - 1) // 3)
        return super().lut4(family) + self.bits.bit_length() / 2

    @classmethod
    def examples(cls) -> list[Self]:
        return [*(cls(n, kind) for n in (1, 9) for kind in get_args(Kind)),
                cls(4, "majority"), cls(16, "majority", Tree("halves")),
                cls(7, "majority", Tree(every=1))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(n, kind) for n in (4, 9, 64) for kind in get_args(Kind)
                if n < 64 or kind == "majority"]

    def bound(self, family: Family) -> tuple[float, str]:
        return (-(-(self.bits - 1) // 3), "the vote depends on all, and a LUT4 joins four signals")
