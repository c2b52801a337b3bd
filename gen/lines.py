"""Lines that are rounded down to given functions of integers: which there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from bittern.hw.ints import Ints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bittern.hw.thresholds import Thresholds

__all__ = ["INFINITE", "Corners", "Domain", "Slopes"]

INFINITE = 1 << 62


@dataclass(frozen=True, eq=False)
class Domain:
    """The integers for which functions are to be equal.

    Parameters
    ----------
    lo, hi : int
        The least and the greatest.
    some : array, optional
        All of them, in ascending order, where these are not all in ``lo..hi``.
    """

    lo: int
    hi: int
    some: Ints | None = None

    def first(self, x: Ints) -> Ints:
        """Return the least of at least `x`; beyond all, ``hi + 1``."""
        if self.some is None:
            return x.clip(self.lo, self.hi + 1)
        return np.append(self.some, self.hi + 1)[np.searchsorted(self.some, x)]

    def last(self, x: Ints) -> Ints:
        """Return the greatest below `x`; before all, ``lo - 1``."""
        if self.some is None:
            return x.clip(self.lo, self.hi + 1) - 1
        return np.append(self.lo - 1, self.some)[np.searchsorted(self.some, x)]

    def roundest(self, lo: int, hi: int) -> int:
        """Return the one in ``lo..hi``, where there is one, that has the most zeros at its end."""
        if self.some is not None:
            x = self.some[np.searchsorted(self.some, lo):np.searchsorted(self.some, hi + 1)]
            return int(x[np.where(x, x & -x, INFINITE).argmax()])
        zeros = 0
        while (hi >> zeros + 1) << zeros + 1 >= lo and zeros < hi.bit_length():
            zeros += 1
        return (hi >> zeros) << zeros


class Slopes(NamedTuple):
    """An open interval of fractions for each row: numerators and denominators of its ends."""

    p0: Ints
    q0: Ints
    p1: Ints
    q1: Ints

    @property
    def exist(self) -> NDArray[np.bool_]:
        """Of which rows the interval is not empty."""
        return self.p0 * self.q1 < self.p1 * self.q0

    def meet(self, other: Slopes) -> Slopes:
        """Return what each row has in common."""
        low = self.p0 * other.q0 >= other.p0 * self.q0
        high = self.p1 * other.q1 <= other.p1 * self.q1
        return Slopes(*(np.where(own, a, b) for own, a, b in zip((low, low, high, high), self,
                                                               other, strict=True)))

    def have(self, p: int, q: int) -> bool:
        """Return whether ``p / q`` is in all intervals."""
        return bool((self.p0 * q < p * self.q0).all() and (p * self.q1 < self.p1 * q).all())


@dataclass(frozen=True, eq=False)
class Corners:
    """Where non-decreasing functions rise, one of them in each row.

    A line ``f`` is rounded down to the function of row r if ``f(first[r, k]) >= y[k]`` where
    `reached`, and ``f(last[r, k]) < y[k]`` where `missed`.
    """

    y: Ints
    first: Ints
    last: Ints
    reached: NDArray[np.bool_]
    missed: NDArray[np.bool_]

    @classmethod
    def of(cls, spec: Thresholds, domain: Domain) -> Self:
        """Return the corners of thresholds, in one row if all channels have the same."""
        first, last = domain.first(spec.values), domain.last(spec.values)
        if (first == first[0]).all():
            first, last = first[:1], last[:1]
        return cls(spec.lo + 1 + np.arange(first.shape[1]), first, last, first <= domain.hi,
                   last >= domain.lo)

    def split(self, pivot: int, before: int) -> tuple[Self, Self]:
        """Return the corners of the line up to `before`, and of that from `pivot` on."""
        return (replace(self, last=self.last.clip(max=before),
                        reached=self.reached & (self.first < pivot)),
                replace(self, first=self.first.clip(min=pivot),
                        missed=self.missed & (self.last >= pivot)))

    def biases(self, p: Ints, q: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Return the least and the greatest b of ``(p * x + b) / q``, and the corners that say so.

        There is none where the least is above the greatest. They are infinite where no corner says
        so.
        """
        p, q = p[:, np.newaxis], q[:, np.newaxis]
        low = np.where(self.reached, self.y * q - self.first * p, -INFINITE)
        high = np.where(self.missed, self.y * q - self.last * p - 1, INFINITE)
        i, j = low.argmax(axis=1), high.argmin(axis=1)
        rows = np.arange(len(p))
        return low[rows, i], high[rows, j], i, j

    def slopes(self) -> Slopes:
        """Return the slopes of all lines that do.

        The least bias less the greatest is a convex function of the slope, whose zeros are found by
        Newton's method: each step ends at a fraction, where two corners meet, so that there are few
        and they are exact.
        """
        rows = np.arange(len(self.first))
        ends: list[Ints] = []
        for start, side in ((0, -1), (len(self.y) + 1, 1)):
            p, q = np.full(len(rows), start), np.ones(len(rows), dtype=np.int64)
            moves = np.ones(len(rows), dtype=bool)
            while moves.any():
                low, high, i, j = self.biases(p, q)
                rise, run = self.y[j] - self.y[i], self.last[rows, j] - self.first[rows, i]
                moves = (low > high) & (run * side > 0) & (rise * q != run * p)
                p, q = np.where(moves, rise * side, p), np.where(moves, run * side, q)
            level = (low <= high) & (side < 0)
            none = low > high + 1
            ends += [np.where(none, -side, np.where(level, -1, p)), q]
        return Slopes(*ends)
