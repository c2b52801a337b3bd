"""Dot product of integers of few bits, by planes of bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Shape, Signal, Value, signed, unsigned

from bittern.hw.adder_tree import Cost, Gate, Tree
from bittern.hw.family import Family
from bittern.hw.ints import shape_of
from bittern.hw.operators.operator import Operator
from bittern.hw.pipeline import draft
from bittern.hw.term import Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["BitPlanes", "Planes"]


@dataclass(frozen=True)
class Planes:
    """Integers as sums of planes: ``sum(scale[k] * bit[k])``.

    Parameters
    ----------
    scales : tuple of int
        ``(1, 2, 4)`` are unsigned integers of three bits, ``(1, 2, -4)`` signed ones.
    signs : bool
        Whether a bit stands for 1 (if 0) and -1 (if 1), and not for itself.
    """

    scales: tuple[int, ...]
    signs: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.scales) <= 8:
            raise ValueError(f"scales must be 1 to 8, not {len(self.scales)}")
        for scale in self.scales:
            if not 1 <= abs(scale) <= 1 << 15:
                raise ValueError(f"scales must be 1 to 2**15 or their negatives, not {scale}")

    @classmethod
    def of(cls, shape: Shape) -> Self:
        """Return the planes of an integer type."""
        scales = [1 << k for k in range(shape.width)]
        if shape.signed:
            scales[-1] *= -1
        return cls(tuple(scales))

    def decode(self, codes: Ints) -> Ints:
        """Return the integers of codes, whose bit `k` is that of plane `k`."""
        bits = np.asarray(codes)[..., None] >> np.arange(len(self.scales)) & 1
        values: Ints = (1 - 2 * bits if self.signs else bits) @ np.array(self.scales)
        return values

    @property
    def bounds(self) -> tuple[int, int]:
        """The least integer and the greatest."""
        values = [[-s, s] if self.signs else [0, s] for s in self.scales]
        return sum(map(min, values)), sum(map(max, values))


@dataclass(frozen=True)
class BitPlanes(Operator):
    """``sum(x[k] * w[k])`` of `count` pairs of codes ``x0, …, w0, …``, by counting bits.

    For each plane of `x` and plane of `w` the bits are multiplied and counted: AND where both are
    bits, XOR (mismatches) where both are signs; a bit times a sign is the bit, less twice
    its AND with the sign. Each count is multiplied by the product of its scales, in
    constant shifts. What signs add is a constant and is added with them.

    Latency and interval: that of the registers of `tree`, and 1.

    Source: dot products by bit planes, DoReFa-Net (Zhou et al. 2016, arXiv:1606.06160); planes of
    signs with scales, ABC-Net (Lin et al. 2017, arXiv:1711.11294) and ReBNet (Ghasemzadeh et al.
    2018, arXiv:1711.01243), here with integer scales.

    Parameters
    ----------
    count : int
        1 to 1024.
    x, w : Planes
    tree : Tree
        What counts, and how often there are registers.
    """

    count: int
    x: Planes
    w: Planes
    tree: Tree = field(default_factory=Tree)

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1024:
            raise ValueError(f"count must be 1 to 1024, not {self.count}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return ((unsigned(len(self.x.scales)),) * self.count
                + (unsigned(len(self.w.scales)),) * self.count)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        products = [a * b for a in self.x.bounds for b in self.w.bounds]
        return (shape_of(min(0, self.count * min(products)), max(0, self.count * max(products))),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        x, w = np.array(operands[:self.count]), np.array(operands[self.count:])
        return ((self.x.decode(x) * self.w.decode(w)).sum(axis=0),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        def integer(planes: Planes, code: Value) -> Value:
            # a sign bit b is worth scale * (1 - 2 * b)
            return sum((Const(s) * ((1 - 2 * bit) if planes.signs else bit)
                        for s, bit in zip(planes.scales, code, strict=True)), Const(0))

        pairs = zip(operands[:self.count], operands[self.count:], strict=True)
        return (sum((integer(self.x, x) * integer(self.w, w) for x, w in pairs), Const(0)),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        return (self._sum(stages, operands, Cost()),)

    def _sum(self, stages: Stages, operands: Sequence[Value], cost: Cost) -> Value:
        constant, groups = self._groups(operands)
        groups = {factor: bits for factor, bits in groups.items() if factor and bits}
        counts = self.tree.add(stages, [*groups.values()], "count", cost=cost)
        shape, = self.outputs
        terms: list[Term] = []
        for (factor, bits), count in zip(groups.items(), counts, strict=True):
            for shift, negative in digits(factor):
                if negative: # -count == ~count - (2**n - 1)
                    ones = (1 << len(count)) - 1
                    terms.append(Term(shift, ~count, ones))
                    constant -= ones << shift
                else:
                    terms.append(Term(shift, count, len(bits)))
        constant %= 1 << shape.width
        if constant:
            terms.append(Term(0, Const(constant, constant.bit_length()), constant))
        total, = self.tree.add(stages, [terms], "sum", width=shape.width, cost=cost)
        total = Cat(total, Const(0, max(shape.width - len(total), 0)))[:shape.width]
        return total.as_signed() if shape.signed else total

    def _groups(self, operands: Sequence[Value]) -> tuple[int, dict[int, list[Term]]]:
        """Return a constant, and bits by what each of them is worth."""
        constant = 0
        groups: dict[int, list[Term]] = {}
        pairs = list(zip(operands[:self.count], operands[self.count:], strict=True))
        function = _xor if self.x.signs and self.w.signs else _and
        for i, a in enumerate(self.x.scales):
            for j, b in enumerate(self.w.scales):
                factor = -2 * a * b if self.x.signs or self.w.signs else a * b
                constant += a * b * self.count * (self.x.signs and self.w.signs)
                groups.setdefault(factor, []).extend(
                    Gate.of(function, x[i], w[j]) for x, w in pairs)
        if self.x.signs != self.w.signs:
            plain, other, k = (self.w, self.x, 1) if self.x.signs else (self.x, self.w, 0)
            for i, a in enumerate(plain.scales):
                groups.setdefault(a * sum(other.scales), []).extend(
                    Term(0, pair[k][i], 1) for pair in pairs)
        return constant, groups

    def lut4(self, family: Family) -> float:
        cost = Cost()
        signals = [Signal(shape) for shape in self.inputs]
        draft(lambda stages: self._sum(stages, signals, cost))
        return cost.lut4(family)

    def bound(self, family: Family) -> tuple[float, str]:
        bits = self.count * (len(self.x.scales) + len(self.w.scales))
        return ((bits - 1) / 3, "the top bit depends on all, and a LUT4 joins four signals")

    @classmethod
    def examples(cls) -> list[Self]:
        two, three = Planes.of(unsigned(2)), Planes.of(signed(3))
        signs, scaled = Planes((1,), signs=True), Planes((5, 3), signs=True)
        return [cls(1, two, two), cls(3, two, three), cls(2, three, three), cls(7, signs, signs),
                cls(4, two, scaled), cls(2, scaled, three), cls(3, Planes((1, 6)), Planes((3, -5))),
                cls(4, two, two, Tree("chain", every=1)), cls(1, scaled, signs),
                cls(3, scaled, scaled, Tree(words=False, every=2))]

    @classmethod
    def points(cls) -> list[Self]:
        two, signs = Planes.of(unsigned(2)), Planes((2, 1), signs=True)
        return [cls(32, a, b, tree) for a, b in ((two, two), (signs, signs), (two, signs))
                for tree in (Tree(), Tree("chain"))]


def _and(x: Value, w: Value) -> Value:
    return x & w


def _xor(x: Value, w: Value) -> Value:
    return x ^ w


def digits(factor: int) -> list[tuple[int, bool]]:
    """Return exponents and signs of the fewest powers of two that sum to `factor`.

    Source: the canonical signed digits of G. W. Reitwiesner, "Binary Arithmetic", 1960.
    """
    found = []
    shift = 0
    while factor:
        if factor & 1:
            digit = 2 - (factor & 3) # 1, or -1 before another 1
            found.append((shift, digit < 0))
            factor -= digit
        factor >>= 1
        shift += 1
    return found
