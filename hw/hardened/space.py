"""Sums of inputs that a constant matrix asks for, and all that can be had on the way to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.hw.family import Family
from bittern.hw.hardened.graph import ZERO, Range, reach
from bittern.hw.ints import width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints

__all__ = ["Affine", "Space", "Term", "digits_of", "signed_digits"]

Term = tuple[int, int, int]
"""A node, the shift by which a row takes it, and its sign there."""


def signed_digits(c: int) -> list[tuple[int, int]]:
    """Return the canonical signed digits of `c` that are not 0: shift and sign of each."""
    digits, shift, sign = [], 0, 1 if c > 0 else -1
    c = abs(c)
    while c:
        if c & 1:
            digit = 2 - (c & 3)
            digits.append((shift, digit * sign))
            c -= digit
        c >>= 1
        shift += 1
    return digits


def digits_of(values: Ints) -> Ints:
    """Return how many signed digits of each integer are not 0."""
    magnitudes = np.abs(values)
    digits: Ints = np.bitwise_count(magnitudes ^ 3 * magnitudes).astype(np.int64)
    return digits


@dataclass(frozen=True, eq=False)
class Affine:
    """``matrix @ x``, where the last `constants` of the inputs are constants.

    Parameters
    ----------
    matrix : array ``(outputs, inputs)``
    inputs : lowest and highest value of each input
    constants : int
    inverted : which results are those of the matrix, inverted
    """

    matrix: Ints
    inputs: tuple[Range, ...]
    constants: int = 0
    inverted: frozenset[int] = frozenset()

    @classmethod
    def of(cls, matrix: Ints, bias: Ints, inputs: Sequence[Range],
           inverted: frozenset[int] = frozenset()) -> Self:
        """Return ``matrix @ x + bias``, with a constant for each odd factor of the bias."""
        turned = np.isin(np.arange(len(matrix)), list(inverted))
        matrix, bias = np.where(turned[:, None], -matrix, matrix), np.where(turned, ~bias, bias)
        odd = [abs(int(b)) // (int(b) & -int(b)) if b else 0 for b in bias]
        constants = sorted({b for b in odd if b})
        columns = [[int(b) // c if o == c else 0 for c in constants]
                   for o, b in zip(odd, bias, strict=True)]
        more = np.array(columns, np.int64).reshape(len(matrix), len(constants))
        return cls(np.concatenate([matrix, more], axis=1),
                   (*inputs, *((c, c) for c in constants)), len(constants), inverted)


class Space:
    """The nodes there can be: each sum of inputs has one, with all its shifts and both signs."""

    def __init__(self, wanted: Affine, family: Family) -> None:
        self.inputs, self.constants, self.family = wanted.inputs, wanted.constants, family
        self.inverted = wanted.inverted
        self.pair = family is Family.ECP5
        """Whether carry cells come in pairs."""
        self.forms: list[Ints] = []
        self.ranges: list[Range] = []
        self.ids: dict[bytes, int] = {}
        for row in np.eye(len(self.inputs), dtype=np.int64):
            self.find(row)
        self.results = [self.find(row) for row in wanted.matrix]
        """Node, shift and sign of each row of the matrix."""
        self.fixed = {node for node, _, _ in self.results if node >= len(self.inputs)}
        """Nodes that are results: always there."""
        self.positive = {node for node, _, sign in self.results if sign > 0}

    def find(self, form: Ints) -> Term:
        """Return the node of a sum of inputs, with the shift and sign that make it `form`."""
        low = int(np.bitwise_or.reduce(form)) if len(form) else 0
        if not low:
            return ZERO, 0, 1
        shift = (low & -low).bit_length() - 1
        odd = form >> shift
        for sign in (1, -1):
            node = self.ids.get((sign * odd).tobytes())
            if node is not None:
                return node, shift, sign
        node = self.ids[odd.tobytes()] = len(self.forms)
        self.forms.append(odd)
        self.ranges.append(reach(odd, self.inputs))
        return node, shift, 1

    def sum(self, a: int, b: int, apart: int, minus: bool) -> Term:
        """Return the node of ``a + (b << apart)``, or of the difference."""
        x, y = self.forms[a] << max(-apart, 0), self.forms[b] << max(apart, 0)
        return self.find(x - y if minus else x + y)

    def bits(self, a: int, b: int, apart: int, minus: bool) -> int:
        """Return the carry sites of that adder, as if `a` and `b` did not depend on each other."""
        (alo, ahi), (blo, bhi) = self.ranges[a], self.ranges[b]
        if alo == ahi and blo == bhi:
            return 0
        if minus:
            blo, bhi = -bhi, -blo
        if apart >= 0:
            lo, hi = alo + (blo << apart), ahi + (bhi << apart)
            if not minus and alo >= 0 and ahi >> apart == 0:
                return 0
            bits = width_of(lo, hi) - apart
        else:
            lo, hi = (alo << -apart) + blo, (ahi << -apart) + bhi
            if not minus and blo >= 0 and bhi >> -apart == 0:
                return 0
            if minus: # of b - (a << n), the node with the other sign
                lo, hi = -hi, -lo
            bits = width_of(lo, hi) + apart
        return bits + (bits & self.pair)
