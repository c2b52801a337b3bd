"""Graph of adders: what a constant matrix times a vector is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bittern.hw.family import Family
from bittern.hw.ints import shape_of, width_of
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Shape

    from bittern.hw.ints import Ints

__all__ = ["ZERO", "Add", "Graph", "Range", "chain", "reach"]

ZERO = -1
"""The node that is 0: a negation subtracts from it."""

Range = tuple[int, int]
"""The lowest and the highest value of a node."""


@dataclass(frozen=True)
class Add:
    """The sum ``a + (b << shift)``, or the difference if `minus`.

    A negative `shift` is that of `a`, to the left: ``(a << -shift) + b``.
    """

    a: int
    b: int
    shift: int
    minus: bool

    @property
    def passes(self) -> int:
        """How many low bits of one operand become bits of the result, without an adder.

        Those of a subtrahend do not: a borrow begins at its lowest bit.
        """
        return max(self.shift, 0 if self.minus else -self.shift)


@dataclass(frozen=True)
class Graph:
    """Adders in topological order, and which of their sums are the results.

    Nodes are numbered: the inputs, then the adders. Every node is a word of the bits that its
    range needs, in two's complement if that is below 0; the ranges are exact for inputs that do
    not depend on each other.

    Parameters
    ----------
    inputs : ranges of the inputs
    adds : adders, each of nodes before it
    outputs : node and shift to the left of each result; ``(ZERO, 0)`` for one that is always 0
    constants : how many of the inputs, the last ones, are constants
    inverted : which results are to be inverted, bit by bit
    """

    inputs: tuple[Range, ...]
    adds: tuple[Add, ...]
    outputs: tuple[tuple[int, int], ...]
    constants: int = 0
    inverted: frozenset[int] = frozenset()

    @property
    def operands(self) -> int:
        """How many of the inputs are not constants."""
        return len(self.inputs) - self.constants

    @cached_property
    def rows(self) -> Ints:
        """What each node is a sum of: its weight of each input, ``(nodes, inputs)``."""
        count = len(self.inputs)
        rows = np.zeros((count + len(self.adds) + 1, count), np.int64) # the last one is ZERO
        rows[:count] = np.eye(count, dtype=np.int64)
        for k, add in enumerate(self.adds, count):
            a, b = rows[add.a] << max(-add.shift, 0), rows[add.b] << max(add.shift, 0)
            rows[k] = a - b if add.minus else a + b
        return rows[:-1]

    @cached_property
    def matrix(self) -> Ints:
        """The matrix that the results are of before some are inverted, ``(outputs, inputs)``."""
        zero = np.zeros(len(self.inputs), np.int64)
        return np.array([zero if node == ZERO else self.rows[node] << shift
                         for node, shift in self.outputs]).reshape(-1, len(self.inputs))

    @property
    def affine(self) -> tuple[Ints, Ints]:
        """The matrix and the bias that the results are of."""
        given = np.array([lo for lo, _ in self.inputs[self.operands:]], np.int64)
        matrix, bias = self.matrix[:, :self.operands], self.matrix[:, self.operands:] @ given
        turned = np.isin(np.arange(len(matrix)), list(self.inverted))
        return np.where(turned[:, None], -matrix, matrix), np.where(turned, ~bias, bias)

    @property
    def negations(self) -> list[int]:
        """Results that end in a negation."""
        return [k for k, (node, _) in enumerate(self.outputs) if node >= len(self.inputs)
                and self.adds[node - len(self.inputs)].a == ZERO]

    @cached_property
    def ranges(self) -> tuple[Range, ...]:
        """The range of each node."""
        return tuple(reach(row, self.inputs) for row in self.rows)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of each node."""
        return tuple(shape_of(*ends) for ends in self.ranges)

    @cached_property
    def changing(self) -> tuple[tuple[int, int], ...]:
        """The bits of each node that are not the same for all inputs: the first, and one more."""
        any_bit = np.bitwise_or.reduce(self.rows[:, :self.operands], axis=1)
        found = []
        for bits, (lo, hi), shape in zip(any_bit, self.ranges, self.shapes, strict=True):
            first = (int(bits) & -int(bits)).bit_length() - 1 # what all weights are multiples of
            end = shape.width if lo < 0 <= hi else (lo ^ hi).bit_length()
            found.append((first, end) if lo < hi else (0, 0))
        return tuple(found)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """The bits of each node that a register holds."""
        return tuple(end - first for first, end in self.changing)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """The most adders on the way to each node."""
        depths = [0] * len(self.inputs)
        for add in self.adds:
            depths.append(1 + max(depths[node] for node in (add.a, add.b) if node != ZERO))
        return tuple(depths)

    @property
    def depth(self) -> int:
        """The most adders on the way to a result."""
        return max((self.depths[node] for node, _ in self.outputs if node != ZERO), default=0)

    def chain(self, k: int) -> int:
        """Return the bits of the carry chain of adder `k`, 0 if it is none."""
        add = self.adds[k]
        lower = add.b if add.shift < 0 else add.a
        return chain(add, self.ranges[lower] if lower != ZERO else (0, 0),
                     self.ranges[len(self.inputs) + k])

    def lut4(self, family: Family) -> int:
        """Estimate the 4-input LUT sites, carry cells included."""
        total = 0
        for k, add in enumerate(self.adds):
            total += adder_lut4(self.chain(k), family)
            if add.minus and family is Family.ICE40:
                total += self.shapes[add.b].width # its carries do not invert
        return total


def reach(row: Ints, inputs: Sequence[Range]) -> Range:
    """Return the range of the sum of `inputs` weighted by `row`."""
    ends = np.array(inputs, np.int64).T * row
    return int(ends.min(axis=0).sum()), int(ends.max(axis=0).sum())


def chain(add: Add, lower: Range, result: Range) -> int:
    """Return the bits of the carry chain of an adder, 0 if it is only wires, or a constant.

    `lower` is the range of the operand that is not shifted, of `a` if none is.
    """
    if result[0] == result[1] or (
            not add.minus and lower[0] >= 0 and lower[1] >> add.passes == 0):
        return 0
    return max(width_of(*result) - add.passes, 0)
